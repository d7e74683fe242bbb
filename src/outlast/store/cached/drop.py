"""Dropping cached revisions: what only they needed is deleted at once, and not put to the trash.

First a note is written of what is to go, then the revision is forgotten, then its files are
collected by the rules of every collection, then the note goes. A crash in between leaves the note:
the next process that drops something finishes it. Who asked for the revision meanwhile by name
keeps it, and the files of it with it.
"""

import contextlib
import json
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from outlast.core.digest import GitOid
from outlast.core.errors import BadNameError, OutlastError
from outlast.core.manifest import MAX_MANIFEST_BYTES, load_json
from outlast.store import disk
from outlast.store.archive import Archive
from outlast.store.cached.marks import Key
from outlast.store.collect import collect
from outlast.store.layout import repo_of_folder

_DEPTH: Final = ("*",) * 4
_FILES: Final = "files"
_LOCK: Final = "lock"


@dataclass(frozen=True, slots=True)
class Dropped:
    """What went: the revisions, and the bytes of the disk that are free now."""

    revisions: tuple[Key, ...]
    freed: int


@contextlib.contextmanager
def turn(archive: Archive, wait: Callable[[float], object]) -> Iterator[None]:
    """One process after the other chooses and drops. `wait` as in `disk.turn`."""
    with disk.reporting(archive.layout.cached):
        disk.make_dir(archive.layout.cached)
    with disk.turn(archive.layout.cached / _LOCK, wait):
        yield


def drop(archive: Archive, chosen: Iterable[tuple[Key, Collection[str]]]) -> Dropped:
    """Drops revisions, each given with the keys of its files, but for those that a client or
    fetch uses now, in whatever process, or that were kept meanwhile. Call it in one's `turn`.
    Raises as `collect` does.
    """
    with archive.writer() as writer:
        gone = []
        for key, files in chosen:
            with archive.in_use.alone(key) as alone:
                if alone:
                    body = json.dumps({_FILES: sorted(files)}).encode() + b"\n"
                    archive.records.write(writer, _note(archive, key), body)
                    if archive.drop_cached(*key):
                        gone.append(key)
    return Dropped(tuple(gone), finish(archive))


def finish(archive: Archive) -> int:
    """Ends what a crash interrupted; how many bytes of the disk that freed. Call it in one's
    `turn`.
    """
    notes = dict(_notes(archive))
    if not notes:
        return 0
    for key in notes:
        with archive.in_use.alone(key) as alone:
            if alone:
                archive.drop_cached(*key)
    files = frozenset[str]().union(*notes.values())
    freed = sum(one.size for one in collect(archive, dry_run=False, only=files))
    for key in notes:
        path = _note(archive, key)
        with disk.reporting(path):
            disk.remove(path)
            disk.remove_empty_parents(path, archive.layout.dropping)
    return freed


def _notes(archive: Archive) -> Iterator[tuple[Key, frozenset[str]]]:
    """What was about to go. A note that is damaged says nothing: what it named is garbage, or not,
    as a collection by hand finds.
    """
    for path in disk.matching(archive.layout.dropping, *_DEPTH):
        with contextlib.suppress(BadNameError, FileNotFoundError):
            key = repo_of_folder(path.parent), GitOid(path.name)
            yield key, _read(archive, path)


def _read(archive: Archive, path: Path) -> frozenset[str]:
    try:
        document = load_json(archive.records.read(path, MAX_MANIFEST_BYTES), MAX_MANIFEST_BYTES)
    except OutlastError:
        return frozenset()
    files = document.get(_FILES) if isinstance(document, dict) else None
    return frozenset(map(str, files)) if isinstance(files, list) else frozenset()


def _note(archive: Archive, key: Key) -> Path:
    repo, commit = key
    return archive.layout.dropping / archive.layout.folder_of(repo) / commit.hex
