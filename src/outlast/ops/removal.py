"""Remove and collect: refs and revisions by name, then the bytes that no revision needs."""

import contextlib
import logging
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from outlast.core.control import Control
from outlast.core.digest import Digest, GitOid
from outlast.core.errors import CorruptError, IntegrityError, OutlastError
from outlast.core.events import Note, Planned, Progress, Removed
from outlast.core.names import RepoId, Target
from outlast.node import shared_torrents as shares
from outlast.store.archive import Archive, BlobInfo
from outlast.store.collect import Garbage, Spared, collect, undo
from outlast.store.garbage.trash import Trash
from outlast.store.garbage.tuning import GRACE
from outlast.store.layout import Layout

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Collected:
    """What a garbage collection took away (or would): how many items and bytes, and how many bytes
    of the disk are free now; what waits in the trash afterwards, in bytes; what was kept
    only because delta capsules depend on it; and what because a record cannot be read.
    """

    count: int
    size: int
    freed: int
    trash: int
    kept: "KeptBases"
    spared: tuple[Spared, ...]


@dataclass(frozen=True, slots=True)
class Undone:
    """What came back from the trash: how many files and bytes; `left` stayed there, because the
    archive has such a file again.
    """

    count: int
    size: int
    left: int


@dataclass(frozen=True, slots=True)
class KeptBases:
    """Blobs that no revision refers to, but that delta capsules depend on: how many, and their
    bytes on the disk.
    """

    count: int = 0
    size: int = 0

    @classmethod
    def of(cls, sizes: Iterable[int]) -> "KeptBases":
        found = list(sizes)
        return cls(len(found), sum(found))


def remove(archive: Archive, target: Target, *, dry_run: bool, control: Control) -> list[Removed]:
    """Removes what `target` names: a model with all its revisions; a commit with its refs; or a
    ref, with its revision unless another ref names it.

    Refs are deleted first: a crash in between leaves a revision without a ref, never a ref without
    a revision.
    """
    repo = target.repo
    names, commits = named(archive, target)
    if not dry_run:
        archive.layout.require_marker()
    removed = [Removed("ref", f"{repo}@{name}", 0) for name in names]
    removed += [Removed("revision", f"{repo}@{c}", _size(archive, repo, c)) for c in commits]
    if not dry_run:
        for name in names:
            archive.refs.delete(repo, name)
        shares.stop(archive, repo, commits)
        for commit in commits:
            archive.delete_revision(repo, commit)
        if not archive.commits(repo):
            archive.equals.delete(repo)
            archive.holders.delete(repo)
            archive.seen.delete(repo)
    for event in removed:
        control.emit(event)
    return removed


def _size(archive: Archive, repo: RepoId, commit: GitOid) -> int:
    """The bytes of a revision; 0 where that is not known."""
    try:
        revision = archive.load(repo, commit)
    except CorruptError:  # what is damaged can go as well
        return 0
    return revision.size if revision is not None else 0


def named(archive: Archive, target: Target) -> tuple[list[str], list[GitOid]]:
    """The refs and revisions that go with `target`. A ref that is damaged goes alone. While there
    is one, no revision goes with another ref: the damaged one may name it.
    """
    repo, ref = target.repo, target.ref
    found = archive.refs.read(repo)
    if ref is None:
        commits = archive.commits(repo)
        names = sorted([*(each.name for each in found.refs), *found.damaged])
        if not commits and not names:
            archive.revision(repo)  # raises what is wrong
        return names, commits
    if ref in found.damaged:
        return [ref], []
    its = next((each for each in found.refs if each.name == ref), None)
    if its is not None:
        others = [r for r in found.refs if r.commit == its.commit and r.name != ref]
        return [ref], [] if others or found.damaged else [its.commit]
    commit = archive.find_commit(repo, ref)
    if commit is None:
        commit = archive.revision(repo, ref).id  # raises what is wrong
    return [r.name for r in found.refs if r.commit == commit], [commit]


def collect_garbage(
    archive: Archive,
    *,
    dry_run: bool,
    control: Control,
    grace: float = GRACE,
    discard: Iterable[str] = (),
    alone: bool = False,
) -> Collected:
    """Moves blobs that neither a revision nor a delta capsule needs to the trash, and deletes what
    has been there for `grace` seconds; with 0, all at once. Interrupted downloads that nothing
    waits for are deleted. Records that cannot be read, and that `discard` names, are given up.
    `alone`: no other process uses the archive, whatever its locks say.
    """
    if not dry_run:
        archive.layout.require_marker()
    count = size = freed = moved = 0
    kept: list[BlobInfo] = []
    spared: list[Spared] = []
    before = Trash(archive.layout).size()

    def plan(files: int, total: int) -> None:
        control.emit(Planned("gc", "archive", files, total))

    collection = collect(
        archive,
        dry_run=dry_run,
        grace=grace,
        discard=discard,
        alone=alone,
        kept=kept.append,
        spared=spared.append,
        found=plan,
    )
    for garbage in _ending(collection, control):
        count += 1
        size += garbage.size
        moved += garbage.size if garbage.waits else 0
        freed += 0 if garbage.waits else garbage.size
        before -= garbage.size if garbage.what == "trash" else 0
        control.emit(Removed(garbage.what, garbage.name, garbage.size))
        if garbage.what in {"blob", "capsule"}:
            control.emit(Progress(garbage.name, garbage.size))
    trash = before + moved if dry_run else Trash(archive.layout).size()
    bases = KeptBases.of(blob.size for blob in kept)
    return Collected(count, size, freed, trash, bases, tuple(spared))


def _ending(collection: Generator[Garbage], control: Control) -> Iterator[Garbage]:
    """The same, until it is cancelled: between two pieces, and with the archive's lock given up."""
    with contextlib.closing(collection):
        for garbage in collection:
            yield garbage
            control.cancel.check()


def restore_trash(archive: Archive, control: Control) -> Undone:
    """Puts back what collections moved to the trash."""
    count = size = left = 0
    for file, back in undo(archive):
        if not back:
            left += 1
            continue
        count += 1
        size += file.size
        control.emit(Note(f"restored {file.original}"))
    return Undone(count, size, left)


def reclaimable(home: Path) -> int:
    """The bytes that wait in the trash of the archive at `home`; 0 where that cannot be read."""
    with contextlib.suppress(OutlastError):
        return Trash(Layout(home)).size()
    return 0


def bases_kept(archive: Archive, removed: Iterable[tuple[RepoId, GitOid]]) -> KeptBases:
    """Which blobs a collection would keep only because delta capsules depend on them, after these
    revisions were removed.
    """
    held = archive.forms.held()
    if not any(form.bases for form in held.values()):
        return KeptBases()
    try:
        used = _used(archive, set(removed))
    except IntegrityError as error:  # a collection would delete nothing
        _log.info("not looking for bases that stay: %s", error)
        return KeptBases()
    needed, todo = set(used), list(used)
    while todo:
        form = held.get(todo.pop())
        for base in form.bases if form is not None else ():
            if base.sha256 not in needed:
                needed.add(base.sha256)
                todo.append(base.sha256)
    forms = [archive.forms.of(digest) for digest in needed - used]
    return KeptBases.of(form.stored_bytes for form in forms if form is not None)


def _used(archive: Archive, gone: set[tuple[RepoId, GitOid]]) -> set[Digest]:
    """The blobs of all revisions but those that are gone."""
    used: set[Digest] = set()
    for summary in archive.summaries():
        if (summary.repo, summary.revision) not in gone:
            revision = archive.load(summary.repo, summary.revision)
            used.update(e.sha256 for e in (revision.files if revision else ()) if e.sha256)
    return used
