"""What use cases report while they work. The core never prints: the edges render these."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Event:
    """Root of all events; the class name is the event's type in JSON."""


@dataclass(frozen=True, slots=True)
class Planned(Event):
    """A job knows its size: of `total_bytes`, `present_bytes` are in the archive already."""

    job: str
    subject: str
    files: int
    total_bytes: int
    present_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Progress(Event):
    """`count` more bytes of `path` were processed; `source` sent them, or is empty."""

    path: str
    count: int
    source: str = ""


@dataclass(frozen=True, slots=True)
class Again(Event):
    """`count` bytes of `path` that were processed have to be processed once more."""

    path: str
    count: int


@dataclass(frozen=True, slots=True)
class Loading(Event):
    """An `engine` has been loading a model of `size` bytes for so many `seconds`. No engine says
    how much of it is loaded.
    """

    engine: str
    size: int
    seconds: float


@dataclass(frozen=True, slots=True)
class FileDone(Event):
    """A file is verified and durable (acknowledged)."""

    path: str
    size: int
    sha256: str
    already: bool = False


@dataclass(frozen=True, slots=True)
class FileProblem(Event):
    """A file is damaged, refused or missing."""

    path: str
    problem: str
    code: str


@dataclass(frozen=True, slots=True)
class SuspectContent(Event):
    """A file is not what its name says; `kind` is a word for programs, `reason` says how."""

    path: str
    kind: str
    reason: str


@dataclass(frozen=True, slots=True)
class SourceBanned(Event):
    """A source sent wrong bytes and is not asked again in this run."""

    source: str
    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class SourceWithdrew(Event):
    """A source no longer gives out the file `path`, or if that is empty, the whole model."""

    source: str
    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class SourceWaiting(Event):
    """A source rate-limits us or failed; it is asked again after `seconds`."""

    source: str
    seconds: float
    reason: str


@dataclass(frozen=True, slots=True)
class FileWaiting(Event):
    """Nothing has come for a while: file `path` waits for what `waits_for` says, and so many
    `others` wait too.
    """

    path: str
    waits_for: str
    others: int = 0


@dataclass(frozen=True, slots=True)
class PeerPassedOver(Event):
    """`peer` (an address), and so many `others`, say that they fetch or have file `path`, and
    nothing came: the hub or mirror is asked instead. `claim`: ``fetches`` or ``has``.
    """

    path: str
    peer: str
    claim: str
    others: int = 0


@dataclass(frozen=True, slots=True)
class PiecesMissing(Event):
    """No connected peer has `count` pieces (1 MiB) of a file; `pieces` lists 0-based ranges."""

    path: str
    count: int
    pieces: str


@dataclass(frozen=True, slots=True)
class Removed(Event):
    """Something was deleted (or would be, in a dry run)."""

    what: str
    name: str
    size: int


@dataclass(frozen=True, slots=True)
class Reformed(Event):
    """A blob is stored in another form (or would be, in a dry run) that takes `stored_bytes`."""

    path: str
    sha256: str
    form: str
    size: int
    stored_bytes: int


@dataclass(frozen=True, slots=True)
class Note(Event):
    """A sentence for a person."""

    text: str


Emit = Callable[[Event], None]
"""Receives events; called from several threads at once, must not block."""


def ignore(_event: Event) -> None:
    """An `Emit` that drops every event."""
