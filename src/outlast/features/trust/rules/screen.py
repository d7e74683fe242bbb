"""What rules ask of the screening of parties. Who screens is handed in; without lists nothing is
known.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol

from outlast.features.trust.rules.publishers import Publisher


class PartyMatch(StrEnum):
    """Whether a publisher is on a list, in the order of what rules should mind."""

    NONE = "none"
    UNKNOWN = "unknown"
    """No list was searched, or one of them is too old."""
    POSSIBLE = "possible"
    MATCH = "match"


@dataclass(frozen=True, slots=True)
class Screened:
    """The result for one publisher. `why`: the row that it came from, in one line."""

    match: PartyMatch
    why: str = ""


class PartyScreen(Protocol):
    """Compares a publisher, its legal entity and its parent with lists. Thread-safe."""

    def screen(self, publisher: Publisher) -> Screened: ...


class NoScreen:
    """Has no lists."""

    def screen(self, publisher: Publisher) -> Screened:
        del publisher
        return Screened(PartyMatch.UNKNOWN)


NO_SCREEN: Final[PartyScreen] = NoScreen()
_ORDER: Final = tuple(PartyMatch)


def worst(found: Iterable[PartyMatch]) -> PartyMatch:
    """What rules should mind most of several; NONE of none."""
    return max(found, key=_ORDER.index, default=PartyMatch.NONE)
