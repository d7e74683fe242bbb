"""What the core asks before it acts, and the answer. Who decides is handed in at the composition
root; without rules everything is allowed.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Protocol

from outlast.core.claims import Claims
from outlast.core.digest import Digest
from outlast.core.errors import RefusedByRulesError
from outlast.core.manifest import FileEntry
from outlast.core.names import RepoId


class Action(StrEnum):
    """What is about to be done with a model."""

    PULL = "pull"
    SERVE = "serve"
    SHARE = "share"
    EXPORT = "export"
    RUN = "run"
    TUNE = "tune"


@dataclass(frozen=True, slots=True)
class Subject:
    """What an action is about. What is not known is None or empty, and rules say what that means:
    `manifest` of a revision whose files are still to come, `licence` as the model's card names it,
    `source` where the bytes come from or go to. `files` are those that the action is about.
    """

    repo: RepoId
    manifest: Digest | None = None
    files: tuple[FileEntry, ...] = ()
    claims: Claims | None = None
    source: str = ""
    licence: str = ""
    base_models: tuple[str, ...] = ()
    gated: bool | None = None
    facts: Mapping[str, str] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Bytes of its files."""
        return sum(entry.size for entry in self.files)


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether an action may be done. `reason`: one line for a person; `rule`: the name of the rule
    that decided ("": none did).
    """

    allowed: bool
    reason: str = ""
    rule: str = ""


class Gate(Protocol):
    """Decides. Thread-safe. A gate that cannot decide refuses."""

    def judge(self, action: Action, subject: Subject) -> Verdict: ...


class OpenGate:
    """Allows everything: an archive without rules."""

    def judge(self, action: Action, subject: Subject) -> Verdict:
        del action, subject
        return Verdict(allowed=True)


OPEN: Final[Gate] = OpenGate()


def require(gate: Gate, action: Action, subject: Subject) -> None:
    """Raises :class:`RefusedByRulesError` where the gate does not allow it."""
    verdict = gate.judge(action, subject)
    if not verdict.allowed:
        rule = f" (rule {verdict.rule})" if verdict.rule else ""
        raise RefusedByRulesError(f"{action} of {subject.repo}: {verdict.reason}{rule}")
