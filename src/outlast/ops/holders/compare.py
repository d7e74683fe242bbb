"""Which files of a revision a holder has, by their digests: pure functions; no name decides."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from outlast.core.digest import Digest, GitOid
from outlast.core.manifest import FileEntry
from outlast.ops.holders.values import HolderState
from outlast.store.records.equals import MOST_DIGESTS


@dataclass(frozen=True, slots=True)
class Match:
    """`files`: the numbers of the wanted files that are there. `more`: how many files are there
    that are not wanted. `changed`: how many wanted files are there by their path, with other bytes.
    `unsure`: how many of those cannot be told, as each side gives another kind of digest.
    """

    files: frozenset[int]
    more: int = 0
    changed: int = 0
    unsure: int = 0

    def state(self, wanted: int) -> HolderState:
        """The state of a holder of whom this is so, where `wanted` files are looked for."""
        if len(self.files) == wanted:
            return HolderState.COMPLETE
        if self.files:
            return HolderState.PARTIAL
        return HolderState.OTHER_BYTES if self.more else HolderState.ABSENT

    @property
    def note(self) -> str:
        """What a person should know of it; may be empty."""
        told = [
            f"{count} {'file' if count == 1 else 'files'} {what}"
            for count, what in (
                (self.changed, "with other bytes"),
                (self.unsure, "cannot be compared: another kind of digest"),
            )
            if count
        ]
        return "; ".join(told)


def compare(wanted: Sequence[FileEntry], there: Iterable[FileEntry]) -> Match:
    """Compares two lists of files. Files of the same bytes are one, whatever their paths are."""
    listed = list(there)
    blobs = {entry.sha256 for entry in listed if entry.sha256 is not None}
    gits = {entry.git_sha1 for entry in listed if entry.git_sha1 is not None}
    files = _with_empty(wanted, lambda entry: entry.sha256 in blobs or entry.git_sha1 in gits)
    paths = {entry.path: entry for entry in listed}
    others = [
        (entry, paths[entry.path])
        for number, entry in enumerate(wanted)
        if number not in files and entry.path in paths
    ]
    unsure = sum(_may_be_same(one, other) for one, other in others)
    ours = {entry.sha256 for entry in wanted if entry.sha256 is not None}
    our_gits = {entry.git_sha1 for entry in wanted if entry.git_sha1 is not None}
    more = sum(not (one.sha256 in ours or one.git_sha1 in our_gits) for one in listed)
    return Match(files, more, len(others) - unsure, unsure)


def compare_blobs(wanted: Sequence[FileEntry], held: Mapping[Digest, int]) -> Match:
    """The same where a node says which blobs it has whole, and of how many bytes."""

    def is_held(entry: FileEntry) -> bool:
        return entry.sha256 is not None and held.get(entry.sha256) == entry.size

    return Match(_with_empty(wanted, is_held))


def shared(wanted: Sequence[FileEntry], there: Iterable[FileEntry]) -> tuple[Digest, ...]:
    """The sha256 of the largest files that are in both lists."""
    blobs = {entry.sha256 for entry in there if entry.sha256 is not None}
    sizes = {e.sha256: e.size for e in wanted if e.sha256 is not None and e.sha256 in blobs}
    return tuple(sorted(sizes, key=lambda blob: (-sizes[blob], blob.hex))[:MOST_DIGESTS])


def _with_empty(
    wanted: Sequence[FileEntry], is_there: Callable[[FileEntry], bool]
) -> frozenset[int]:
    """The numbers of the files that are there. An empty file is, where any other is: its bytes are
    known to everybody, and prove nothing.
    """
    full = {number for number, entry in enumerate(wanted) if entry.size}
    found = {number for number in full if is_there(wanted[number])}
    if found or not full:
        found |= {n for n in range(len(wanted)) if n not in full and (found or is_there(wanted[n]))}
    return frozenset(found)


def _may_be_same(one: FileEntry, other: FileEntry) -> bool:
    """Whether nothing tells two files of the same path apart."""
    both: tuple[tuple[Digest | GitOid | None, Digest | GitOid | None], ...] = (
        (one.sha256, other.sha256),
        (one.git_sha1, other.git_sha1),
    )
    compared = any(first is not None and second is not None for first, second in both)
    return not compared and one.size == other.size
