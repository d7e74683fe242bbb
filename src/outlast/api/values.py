"""What the Python API returns: plain frozen values, which can be pickled. Sizes are in bytes;
digests and commits are hex digits.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from outlast.core.events import FileProblem, SuspectContent
from outlast.core.manifest import FileEntry
from outlast.intake.content import Suspect


@dataclass(frozen=True, slots=True)
class File:
    """One file of a revision: its path there, with forward slashes, and its `size`.

    `sha256` is None only where a hub lists a small file by its git id and it was not fetched yet.
    `archived`: its bytes are in the archive.
    """

    path: str
    size: int
    sha256: str | None
    archived: bool


@dataclass(frozen=True, slots=True)
class Revision:
    """An immutable state of a model: `repo` as ``org/name`` or ``datasets/org/name``, `commit` in
    40 hex digits, and the branches and tags (`refs`) that name it in the archive.

    `manifest` is the sha256 of the list of its files, None while files are still missing that a
    pull waits for. `complete`: all files of the commit are archived.
    """

    repo: str
    commit: str
    refs: tuple[str, ...]
    files: tuple[File, ...]
    manifest: str | None
    complete: bool

    @property
    def size(self) -> int:
        """Bytes of the archived files, as a reader sees them."""
        return sum(file.size for file in self.files if file.archived)


@dataclass(frozen=True, slots=True)
class PulledRevision(Revision):
    """What a pull archived. `fetched` are the bytes that came over the network, by source; `stored`
    those that the wanted files take on the disk. `warnings`: files that are not what their names
    say.
    """

    fetched: Mapping[str, int] = field(default_factory=dict, hash=False)
    stored: int = 0
    warnings: tuple[SuspectContent, ...] = ()


@dataclass(frozen=True, slots=True)
class AddedRevision(Revision):
    """What `add` archived. `new` are the bytes of files that the archive did not have; `stored`
    those that all of them take on the disk. `warnings` as of :class:`PulledRevision`.
    """

    new: int = 0
    stored: int = 0
    warnings: tuple[SuspectContent, ...] = ()


@dataclass(frozen=True, slots=True)
class RevisionSummary:
    """One revision in a list: how many `files` are archived, their `size` as a reader sees them,
    and the bytes that are `stored` on the disk for them.
    """

    repo: str
    commit: str
    refs: tuple[str, ...]
    files: int
    size: int
    stored: int
    complete: bool


@dataclass(frozen=True, slots=True)
class Plan:
    """What a pull would do: the `commit` that `ref` is, according to `source` (a URL or a node);
    the `files` that are wanted, and of these `to_fetch` with `fetch_bytes` left to transfer; and
    how many files of the commit are left out.

    `free_bytes` are free on the archive's disk; `fits`: that is enough. `warnings`: files that are
    not what their names say, as far as names and sizes tell.
    """

    repo: str
    ref: str
    commit: str
    source: str
    files: tuple[File, ...]
    to_fetch: tuple[File, ...]
    left_out: int
    fetch_bytes: int
    free_bytes: int
    fits: bool
    warnings: tuple[SuspectContent, ...] = ()


@dataclass(frozen=True, slots=True)
class Verification:
    """How many `blobs` (files by content, each once) of `size` bytes were read, and what was found:
    `problems` are damaged or missing files, `warnings` intact ones that are not what their names
    say.
    """

    blobs: int
    size: int
    problems: tuple[FileProblem, ...]
    warnings: tuple[SuspectContent, ...] = ()

    @property
    def ok(self) -> bool:
        """Nothing is damaged or missing."""
        return not self.problems


@dataclass(frozen=True, slots=True)
class FoundHere:
    """Damage that a scrub found: of what `kind` (as ``blob``, ``capsule``, ``manifest``), in which
    file of the archive's folder (`path`), and whether it is right again; else `why_not`.
    """

    kind: str
    path: str
    problem: str
    mended: bool
    why_not: str


@dataclass(frozen=True, slots=True)
class ScrubReport:
    """How many `files` of `size` bytes were read, and what was `found`; how many files of this pass
    are `left` to read, and their bytes.
    """

    files: int
    size: int
    found: tuple[FoundHere, ...]
    left: int
    left_size: int

    @property
    def ok(self) -> bool:
        """Nothing that was found is damaged still."""
        return all(one.mended for one in self.found)


@dataclass(frozen=True, slots=True)
class BundleExport:
    """A bundle that was written: its `id`, which its reader should get by another way too; the
    `revisions` as ``org/name@commit``; how many blobs it has, and of how many files it is assumed
    that they are there already; its `size` in bytes, its parts, and how many of them an earlier
    export had written (`kept`).
    """

    id: str
    revisions: tuple[str, ...]
    blobs: int
    assumed: int
    size: int
    parts: int
    parity_parts: int
    kept: int


@dataclass(frozen=True, slots=True)
class BundleImport:
    """What became of a bundle: its `revisions` that are whole in the archive now, those of them
    that are `new`, and those that are `unfinished`, as ``org/name@commit``; the refs that are new
    or moved, and those that stayed (`kept_refs`); what was `refused`, and why; and how many blocks
    were restored from parity.
    """

    id: str
    revisions: tuple[str, ...]
    new: tuple[str, ...]
    unfinished: tuple[str, ...]
    new_blobs: int
    new_bytes: int
    refs: tuple[str, ...]
    kept_refs: tuple[FileProblem, ...]
    refused: tuple[FileProblem, ...]
    repaired_blocks: int

    @property
    def ok(self) -> bool:
        """All of it is in the archive."""
        return not self.refused and not self.unfinished


def file_of(entry: FileEntry, *, archived: bool) -> File:
    """A file of a manifest or of a hub's listing."""
    sha256 = None if entry.sha256 is None else entry.sha256.hex
    return File(entry.path, entry.size, sha256, archived)


def told(suspects: Iterable[Suspect]) -> tuple[SuspectContent, ...]:
    """Warnings, as events tell them."""
    return tuple(SuspectContent(s.path, s.flaw.value, s.reason) for s in suspects)
