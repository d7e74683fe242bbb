"""Garbage collection: deletes the blobs that no manifest, draft or live write session refers to."""

import logging
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from outlast.core.digest import Digest
from outlast.store import copies, disk, linkpartials
from outlast.store.archive import Archive, BlobInfo
from outlast.store.forms import StoredForm
from outlast.store.partials import CAPSULE
from outlast.store.writer import leased, orphans, sweep

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Garbage:
    """Something that can go: a ``blob``, a ``capsule``, a working ``copy``, a ``partial``
    download, or ``tmp`` of a dead process. `size` is in bytes.
    """

    what: str
    name: str
    size: int


def collect(
    archive: Archive, *, dry_run: bool, kept: Callable[[BlobInfo], object] = bool
) -> Iterator[Garbage]:
    """Finds garbage and, unless `dry_run`, deletes it; yields each piece once it is gone. `kept`
    is told of each blob that nothing refers to, but that a delta capsule depends on.

    What is in use is read from the manifests and drafts themselves, never from the index; if one
    of them is damaged nothing is deleted, because what it refers to is not known.
    """
    layout = archive.layout
    gone: set[Digest] = set()
    with disk.reporting(layout.home), disk.locked(layout.lock, exclusive=True):
        used = {entry.key for entry in archive.entries()}
        # A finished blob may wait for its line in a draft, as its partial did before.
        awaited = {entry.key for draft in archive.drafts.all() for entry in draft.missing}
        keep = used | awaited | leased(archive.layout)
        for garbage in _blobs(archive, keep, kept, dry_run=dry_run):
            gone.add(Digest(garbage.name))
            yield garbage
        wanted = awaited - used
        wanted |= {key + CAPSULE for key in wanted}
        yield from _partials(archive, wanted, dry_run=dry_run)
        for name, size in linkpartials.abandoned(layout, dry_run=dry_run):
            yield Garbage("partial", name, size)
        for name, size in copies.garbage(layout, keep, dry_run=dry_run):
            yield Garbage("copy", name, size)
        dead = orphans(archive.layout) if dry_run else sweep(archive.layout)
        if dead:
            yield Garbage("tmp", f"{dead} folders of dead processes", 0)
    if not dry_run:
        archive.index.forget_trees(digest for digest in gone if archive.forms.of(digest) is None)


def _blobs(
    archive: Archive, keep: set[str], kept: Callable[[BlobInfo], object], *, dry_run: bool
) -> Iterator[Garbage]:
    """Capsules go first, so that none is left whose base went before it."""
    capsules = archive.forms.capsules()
    plain = {blob.digest: blob.size for blob in archive.plain_blobs()}
    doubled = {d for d, form in capsules.items() if form is not None and plain.get(d) == form.size}
    needed = _closure(keep, {d: form for d, form in capsules.items() if d not in doubled})
    for digest, form in capsules.items():
        if digest.hex in needed and digest not in doubled:
            continue
        path = archive.layout.capsule(digest)
        size = form.stored_bytes if form is not None else path.stat().st_size
        yield _drop("capsule", digest, path, size, dry_run=dry_run)
    for digest, size in plain.items():
        if digest.hex not in needed:
            yield _drop("blob", digest, archive.layout.blob(digest), size, dry_run=dry_run)
    for name in sorted(needed - keep):
        held = archive.forms.of(Digest(name))
        if held is not None:
            _log.debug("%s stays: a delta capsule depends on it", name)
            kept(BlobInfo(Digest(name), held.stored_bytes))


def _closure(keep: set[str], capsules: Mapping[Digest, StoredForm | None]) -> set[str]:
    """`keep` with all bases of its capsules."""
    needed, todo = set(keep), [digest for digest in capsules if digest.hex in keep]
    while todo:
        form = capsules.get(todo.pop())
        for base in form.bases if form is not None else ():
            if base.sha256.hex not in needed:
                needed.add(base.sha256.hex)
                todo.append(base.sha256)
    return needed


def _drop(what: str, digest: Digest, path: Path, size: int, *, dry_run: bool) -> Garbage:
    with disk.reporting(path):
        if not dry_run:
            disk.remove(path)
    return Garbage(what, digest.hex, size)


def _partials(archive: Archive, wanted: set[str], *, dry_run: bool) -> Iterator[Garbage]:
    """Downloads that no draft waits for any more. One in progress is locked and stays."""
    stems = {p.stem for p in archive.layout.partial.iterdir() if p.suffix in {".data", ".have"}}
    for stem in sorted(stems - wanted):
        size = _drop_partial(archive.layout.partial / f"{stem}.data", dry_run=dry_run)
        if size is not None:
            yield Garbage("partial", stem, size)


def _drop_partial(path: Path, *, dry_run: bool) -> int | None:
    """Deletes a download that is not in progress; its size, or None where it is. The lock is held
    until both files are gone, so that no process begins with half of them.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:  # its process died between the rename and the journal's removal
        if not dry_run:
            disk.remove(path.with_suffix(".have"))
        return 0
    try:
        if not disk.try_lock(fd):
            return None
        size = os.fstat(fd).st_blocks * 512
        if not dry_run:
            disk.remove(path.with_suffix(".have"))
            disk.remove(path)
        return size
    finally:
        os.close(fd)
