"""What the core asks before it acts, and the answer. Who decides is handed in at the composition
root; without rules everything is allowed.
"""

import logging
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Protocol

from outlast.core.claims import Assessor, Claims
from outlast.core.digest import Digest
from outlast.core.errors import RefusedByRulesError
from outlast.core.manifest import FileEntry, Revision
from outlast.core.names import RepoId
from outlast.core.status import RulesStatus

_log = logging.getLogger(__name__)
_MOST_LINES: Final = 1000
"""Lines that are told of rules that only report. Guess: a person reads fewer."""


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
    `source` where the bytes come from. `files` are those that the action is about; `revision` is
    the archive's record of them, where there is one. `facts`: what the hub says of the model beside
    that.
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
    revision: Revision | None = None

    @property
    def size(self) -> int:
        """Bytes of its files."""
        return sum(entry.size for entry in self.files)


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether an action may be done. `reason`: one line for a person; `rule`: the name of the rule
    that decided ("": none did). `reported`: the rules do not allow it, and are only reported: the
    action is done all the same. `weighs_claims`: the rules that are in force for this action ask
    for claims, so they take the place of what `run` asks for without rules.
    """

    allowed: bool
    reason: str = ""
    rule: str = ""
    reported: bool = False
    weighs_claims: bool = False


class Gate(Protocol):
    """Decides. Thread-safe. A gate that cannot decide refuses."""

    def judge(self, action: Action, subject: Subject) -> Verdict: ...


class OpenGate:
    """Allows everything: an archive without rules."""

    def judge(self, action: Action, subject: Subject) -> Verdict:
        del action, subject
        return Verdict(allowed=True)


OPEN: Final[Gate] = OpenGate()


class ArchiveRules:
    """What an archive asks: a gate, and how often it said what. Thread-safe."""

    def __init__(self, gate: Gate = OPEN) -> None:
        self._gate = gate
        self.assessor: Assessor | None = None
        """Says which claims hold of what is judged; None: those that the archive proves itself."""
        self.told: Callable[[str], None] | None = None
        """Gets what would be refused where rules only report, each line once; None: the log has it.
        """
        self._lock = threading.Lock()
        self._said: Counter[str] = Counter()
        self._lines: set[str] = set()

    @property
    def is_open(self) -> bool:
        """Whether there are no rules, so that nothing need be asked."""
        return self._gate is OPEN

    def judge(self, action: Action, subject: Subject) -> Verdict:
        """What the gate says. Raises what it raises: only an answer allows."""
        if self.is_open:
            return Verdict(allowed=True)
        verdict = self._gate.judge(action, subject)
        self.note(verdict)
        if verdict.reported:
            self._report(f"would be refused: {action} of {subject.repo}: {told(verdict)}")
        elif not verdict.allowed:
            _log.info("refused: %s of %s: %s", action, subject.repo, told(verdict))
        return verdict

    def _report(self, line: str) -> None:
        _log.warning("%s", line)
        with self._lock:
            is_new = line not in self._lines and len(self._lines) < _MOST_LINES
            if is_new:
                self._lines.add(line)
        if is_new and self.told is not None:
            self.told(line)

    def note(self, verdict: Verdict) -> None:
        """Counts a verdict that is given again without another judgement."""
        word = "reported" if verdict.reported else "allowed" if verdict.allowed else "refused"
        with self._lock:
            self._said[word] += 1

    def require(self, action: Action, subject: Subject) -> None:
        """Raises :class:`RefusedByRulesError` where the gate does not allow it."""
        enforce(action, subject.repo, self.judge(action, subject))

    def status(self) -> RulesStatus:
        """How often it said what, since the archive was opened."""
        with self._lock:
            return RulesStatus(
                asked=not self.is_open,
                allowed=self._said["allowed"],
                refused=self._said["refused"],
                reported=self._said["reported"],
            )


def told(verdict: Verdict) -> str:
    """The reason and the rule, in one line."""
    return verdict.reason + (f" (rule {verdict.rule})" if verdict.rule else "")


def enforce(action: Action, repo: RepoId, verdict: Verdict) -> None:
    """Raises :class:`RefusedByRulesError` where a verdict does not allow an action."""
    if not verdict.allowed:
        raise RefusedByRulesError(f"{action} of {repo}: {told(verdict)}")
