"""What is known of the holders of a model, as values."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from outlast.core.digest import GitOid
from outlast.core.manifest import FileEntry
from outlast.core.names import RepoId


class HolderKind(StrEnum):
    """What a holder is."""

    HERE = "here"
    HUB = "hub"
    MIRROR = "mirror"
    """It says which files it has itself, and would fetch others from a hub."""
    SOURCE = "source"
    """A source of another kind than a hub."""
    NODE = "node"
    """A static peer."""
    NEIGHBOUR = "neighbour"
    """A node on the LAN that no operator named."""
    SWARM = "swarm"
    """The peers that a tracker or the DHT names."""


class HolderState(StrEnum):
    """How a holder answered."""

    COMPLETE = "complete"
    PARTIAL = "partial"
    OTHER_BYTES = "other bytes"
    """It has a model of that name, and not one of the files."""
    ABSENT = "absent"
    WITHDRAWN = "withdrawn"
    REFUSED = "refused"
    MALFORMED = "malformed"
    UNREACHABLE = "unreachable"
    NO_ANSWER = "no answer in time"

    @property
    def has_answered(self) -> bool:
        """Whether asking again soon would give the same."""
        return self not in {HolderState.UNREACHABLE, HolderState.NO_ANSWER, HolderState.MALFORMED}


@dataclass(frozen=True, slots=True)
class WantedFiles:
    """The revision that holders are looked for: its files, and who said so. `closed`: it is private
    or gated, or the operator does not share it, so that only hubs and static peers are asked.
    `unlisted`: it may have more files.
    """

    repo: RepoId
    commit: GitOid
    entries: tuple[FileEntry, ...]
    told_by: str
    closed: bool
    unlisted: bool = False

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(entry.size for entry in self.entries)

    def size_of(self, files: Iterable[int]) -> int:
        """Bytes of the files with these numbers."""
        return sum(self.entries[number].size for number in files)


@dataclass(frozen=True, slots=True)
class Holder:
    """A place that was asked: which of the wanted `files` it says it has (by number), `size`
    bytes in all, of which `commit`. Those of one `group` may be one and the same (see
    :mod:`outlast.ops.holders.independence`).
    """

    name: str
    kind: HolderKind
    group: str
    state: HolderState
    files: frozenset[int] = frozenset()
    size: int = 0
    commit: GitOid | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Located:
    """Who has what of a revision. `here` is this archive, `silent` counts nodes on the LAN that
    have nothing of it.
    """

    wanted: WantedFiles
    here: Holder
    others: Sequence[Holder]
    silent: int = 0

    @property
    def is_safe(self) -> bool:
        """Whether the others together have every file."""
        held = frozenset[int]().union(*(holder.files for holder in self.others))
        together = bool(held) and len(held) == len(self.wanted.entries)
        return together or bool(self.whole_groups)

    @property
    def whole_groups(self) -> frozenset[str]:
        """The independent others of whom each has every file."""
        complete = (one for one in self.others if one.state is HolderState.COMPLETE)
        return frozenset(one.group for one in complete)

    @property
    def is_sure(self) -> bool:
        """Whether everybody has answered."""
        return all(holder.state.has_answered for holder in self.others)
