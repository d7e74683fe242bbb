"""What was found of one thing that an endpoint's API promises."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from outlast.features.audit.asking.answers import UntestableError
from outlast.features.audit.asking.budget import AuditBudgetEndedError
from outlast.features.audit.asking.endpoint import RefusedRequestError


class ClauseState(StrEnum):
    """`REFUSED`: the endpoint says that it does not offer it, which is honest."""

    KEPT = "kept"
    BROKEN = "broken"
    REFUSED = "refused"
    UNTESTABLE = "untestable"


@dataclass(frozen=True, slots=True)
class Clause:
    """One thing that was checked: its name, what was found, and by what."""

    name: str
    state: ClauseState
    detail: str


Found: TypeAlias = tuple[ClauseState, str]


def kept(detail: str) -> Found:
    return ClauseState.KEPT, detail


def broken(detail: str) -> Found:
    return ClauseState.BROKEN, detail


def untestable(detail: str) -> Found:
    return ClauseState.UNTESTABLE, detail


def checked(name: str, check: Callable[[], Found]) -> Clause:
    """What `check` finds, or why it found nothing."""
    try:
        state, detail = check()
    except RefusedRequestError as error:
        state, detail = ClauseState.REFUSED, str(error)
    except AuditBudgetEndedError:
        state, detail = untestable("the budget ended before")
    except UntestableError as error:
        state, detail = untestable(str(error))
    return Clause(name, state, detail)
