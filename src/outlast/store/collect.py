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
    with disk.locked(archive.layout.lock, exclusive=True):
        used = {entry.key for entry in archive.entries()}
        keep = used | claimed(archive.layout)
        for blob in list(archive.blobs()):
            if blob.digest.hex not in keep:
                path = archive.layout.blob(blob.digest)
                with disk.reporting(path):
                    if not dry_run:
                        disk.remove(path)
                yield Garbage("blob", blob.digest.hex, blob.size)
        yield from _partials(archive, used, dry_run=dry_run)
        dead = orphans(archive.layout) if dry_run else sweep(archive.layout)
        if dead:
            yield Garbage("tmp", f"{dead} folders of dead processes", 0)


def _partials(archive: Archive, used: set[str], *, dry_run: bool) -> Iterator[Garbage]:
    """Downloads that no draft waits for any more. One in progress is locked and stays."""
    wanted = {entry.key for draft in archive.drafts.all() for entry in draft.missing} - used
    for path in sorted(archive.layout.partial.glob("*.data")):
        if path.stem in wanted or _is_locked(path):
            continue
        size = path.stat().st_blocks * 512
        if not dry_run:
            disk.remove(path.with_suffix(".have"))
            disk.remove(path)
        yield Garbage("partial", path.stem, size)


def _is_locked(path: Path) -> bool:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return not disk.try_lock(fd)
    finally:
        os.close(fd)
