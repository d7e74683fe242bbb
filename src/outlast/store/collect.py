"""Garbage collection: deletes the blobs that no manifest, draft or live writer refers to."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from outlast.store import disk
from outlast.store.archive import Archive
from outlast.store.writer import claimed, orphans, sweep


@dataclass(frozen=True, slots=True)
class Garbage:
    """Something that can go: a ``blob``, a ``partial`` download, or ``tmp`` of a dead process.
    `size` is in bytes.
    """

    what: str
    name: str
    size: int


def collect(archive: Archive, *, dry_run: bool) -> Iterator[Garbage]:
    """Finds garbage and, unless `dry_run`, deletes it; yields each piece once it is gone.

    What is in use is read from the manifests and drafts themselves, never from the index; if one
    of them is damaged nothing is deleted, because what it refers to is not known.
    """
    layout = archive.layout
    with disk.reporting(layout.home), disk.locked(layout.lock, exclusive=True):
        used = {entry.key for entry in archive.entries()}
        # A finished blob may wait for its line in a draft, as its partial did before.
        awaited = {entry.key for draft in archive.drafts.all() for entry in draft.missing}
        keep = used | awaited | claimed(archive.layout)
        for blob in list(archive.blobs()):
            if blob.digest.hex not in keep:
                path = archive.layout.blob(blob.digest)
                with disk.reporting(path):
                    if not dry_run:
                        disk.remove(path)
                yield Garbage("blob", blob.digest.hex, blob.size)
        yield from _partials(archive, awaited - used, dry_run=dry_run)
        dead = orphans(archive.layout) if dry_run else sweep(archive.layout)
        if dead:
            yield Garbage("tmp", f"{dead} folders of dead processes", 0)


def _partials(archive: Archive, wanted: set[str], *, dry_run: bool) -> Iterator[Garbage]:
    """Downloads that no draft waits for any more. One in progress is locked and stays."""
    stems = {p.stem for p in archive.layout.partial.iterdir() if p.suffix in {".data", ".have"}}
    for stem in sorted(stems - wanted):
        size = _drop_partial(archive.layout.partial / f"{stem}.data", dry_run=dry_run)
        if size is not None:
            yield Garbage("partial", stem, size)


def _drop_partial(path: Path, *, dry_run: bool) -> int | None:
    """Deletes a download that is not in progress; its size, or None where it is. The lock is held
    until both files are gone, so that nobody can begin with half of them.
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
