"""What use cases report while they work. The core never prints: the edges render these."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated


@dataclass(frozen=True, slots=True)
class Event:
    """Root of all events; the class name is the event's type in JSON. What stands beside a type of
    a field is its meaning, for docs/json.md.
    """


@dataclass(frozen=True, slots=True)
class Planned(Event):
    """A job knows its size: of `total_bytes`, `present_bytes` are in the archive already."""

    job: Annotated[str, "what is done: `pull`, `add`, `verify` …"]
    subject: Annotated[str, "to what"]
    files: Annotated[int, "its files"]
    total_bytes: Annotated[int, "their bytes"]
    present_bytes: Annotated[int, "those of them that are in the archive already"] = 0


@dataclass(frozen=True, slots=True)
class Progress(Event):
    """`count` more bytes of `path` were processed; `source` sent them, or is empty."""

    path: Annotated[str, "the file"]
    count: Annotated[int, "bytes"]
    source: Annotated[str, "the source that sent them; empty if none did"] = ""


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

    engine: Annotated[str, "the engine"]
    size: Annotated[int, "bytes of the model"]
    seconds: Annotated[float, "for how long it has been loading"]


@dataclass(frozen=True, slots=True)
class TrainingStep(Event):
    """A tuning has done `step` of `steps` steps; `loss` is that of the last one."""

    step: Annotated[int, "steps that are done"]
    steps: Annotated[int, "all steps"]
    loss: Annotated[float, "of the last one, in nats per token"]
    seconds_left: Annotated[float, "about how long the rest takes, in seconds"]


@dataclass(frozen=True, slots=True)
class FileDone(Event):
    """A file is verified and durable (acknowledged)."""

    path: Annotated[str, "the file"]
    size: Annotated[int, "bytes"]
    sha256: Annotated[str, "of its bytes, in hex"]
    already: Annotated[bool, "whether it was in the archive before"] = False


@dataclass(frozen=True, slots=True)
class FileMended(Event):
    """A damaged file of the archive is right again; `fetched` bytes of it came, from `source`."""

    path: Annotated[str, "the file"]
    size: Annotated[int, "bytes"]
    sha256: Annotated[str, "of its bytes, in hex"]
    fetched: Annotated[int, "bytes that came from elsewhere; the rest was right here"]
    source: Annotated[str, "the source that sent most of them; empty if none did"] = ""


@dataclass(frozen=True, slots=True)
class FileProblem(Event):
    """A file is damaged, refused or missing."""

    path: Annotated[str, "the file"]
    problem: Annotated[str, "what is wrong, for a person"]
    code: Annotated[str, "which [error](errors.md) it is"]


@dataclass(frozen=True, slots=True)
class SuspectContent(Event):
    """A file is not what its name says; `kind` is a word for programs, `reason` says how."""

    path: Annotated[str, "the file"]
    kind: Annotated[str, "in which way, as in `warnings` of the results"]
    reason: Annotated[str, "how, for a person"]


@dataclass(frozen=True, slots=True)
class SourceBanned(Event):
    """A source sent wrong bytes and is not asked again in this run."""

    source: Annotated[str, "the source"]
    path: Annotated[str, "the file of which it sent wrong bytes"]
    reason: Annotated[str, "how they were wrong, for a person"]


@dataclass(frozen=True, slots=True)
class SourceWithdrew(Event):
    """A source no longer gives out the file `path`, or if that is empty, the whole model."""

    source: Annotated[str, "the source"]
    path: Annotated[str, "the file; empty: the whole model"]
    reason: Annotated[str, "for a person"]


@dataclass(frozen=True, slots=True)
class WatchNoticed(Event):
    """Something happened to a model that is followed, or (`repo` empty) to a hub or an account."""

    kind: Annotated[str, "what: `deleted`, `gated`, `moved` …"]
    hub: Annotated[str, "at which hub"]
    repo: Annotated[str, "to which model"]
    ref: Annotated[str, "to which ref of it; empty: to all of it"]
    before: Annotated[str, "the commit, name, licence or standing before"]
    after: Annotated[str, "that after"]
    reason: Annotated[str, "what the hub said"]
    when: Annotated[str, "when it was noticed (ISO 8601, UTC)"]


@dataclass(frozen=True, slots=True)
class SourceWaiting(Event):
    """A source rate-limits us or failed; it is asked again after `seconds`."""

    source: Annotated[str, "the source"]
    seconds: Annotated[float, "until it is asked again, in seconds"]
    reason: Annotated[str, "for a person"]


@dataclass(frozen=True, slots=True)
class FileWaiting(Event):
    """Nothing has come for a while: file `path` waits for what `waits_for` says, and so many
    `others` wait too.
    """

    path: Annotated[str, "the file"]
    waits_for: Annotated[str, "for what, for a person"]
    others: Annotated[int, "further files that wait"] = 0


@dataclass(frozen=True, slots=True)
class PeerPassedOver(Event):
    """`peer` (an address), and so many `others`, say that they fetch or have file `path`, and
    nothing came: the hub or mirror is asked instead. `claim`: ``fetches`` or ``has``.
    """

    path: Annotated[str, "the file"]
    peer: Annotated[str, "its address"]
    claim: Annotated[str, "`fetches` or `has`"]
    others: Annotated[int, "further peers that say so"] = 0


@dataclass(frozen=True, slots=True)
class PiecesMissing(Event):
    """No connected peer has `count` pieces (1 MiB) of a file; `pieces` lists 0-based ranges."""

    path: Annotated[str, "the file"]
    count: Annotated[int, "pieces of 1 MiB"]
    pieces: Annotated[str, "their 0-based numbers, as `3-5,7`"]


@dataclass(frozen=True, slots=True)
class Removed(Event):
    """Something was deleted (or would be, in a dry run)."""

    what: Annotated[str, "`ref`, `revision`, `blob` …"]
    name: Annotated[str, "its name"]
    size: Annotated[int, "bytes on the disk; 0 if they stay until `gc`"]


@dataclass(frozen=True, slots=True)
class CacheDropped(Event):
    """A mirror dropped revision `commit` of a model that came because a client asked, for its quota
    or because its disk is full. `freed` bytes of the disk are free by that; of several that went at
    once, the last one says so for all.
    """

    repo: Annotated[str, "the model"]
    commit: Annotated[str, "its commit"]
    why: Annotated[str, "`quota` or `disk`"]
    freed: Annotated[int, "bytes of the disk; of several that went at once, the last has the sum"]


@dataclass(frozen=True, slots=True)
class Reformed(Event):
    """A blob is stored in another form (or would be, in a dry run) that takes `stored_bytes`."""

    path: Annotated[str, "the file"]
    sha256: Annotated[str, "of its bytes, in hex"]
    form: Annotated[str, "the new representation"]
    size: Annotated[int, "bytes of the file"]
    stored_bytes: Annotated[int, "bytes on the disk now"]


@dataclass(frozen=True, slots=True)
class Note(Event):
    """A sentence for a person."""

    text: Annotated[str, "the sentence"]


Emit = Callable[[Event], None]
"""Receives events; called from several threads at once, must not block."""


def ignore(_event: Event) -> None:
    """An `Emit` that drops every event."""
