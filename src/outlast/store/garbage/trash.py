"""The trash: what was collected waits here, on the archive's file system, before it is deleted.

Each collection has a folder, named by its time (Unix seconds). In it are ``blobs/<sha256>``,
``capsules/<sha256>.olc``, and records that were given up, at the path that they had. How long it
has been here says `store.garbage.ages`, and not its name: the date of a machine may jump.
"""

import contextlib
import os
import re
import stat
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from outlast.core.digest import Digest
from outlast.core.errors import OutlastError, StorageError
from outlast.store import disk
from outlast.store.garbage.ages import Ages
from outlast.store.layout import CAPSULE_SUFFIX, Layout

_BATCH: Final = re.compile(r"([0-9]{1,12})(-[0-9]{1,6})?\Z")
_RECORDS: Final = frozenset({"manifests", "drafts", "quarantine"})
_DEEPEST: Final = 8


@dataclass(frozen=True, slots=True)
class Discarded:
    """A file in the trash. `original` is where it was, relative to the archive's folder; `since`
    when it went (Unix seconds), `size` in bytes.
    """

    path: Path
    original: str
    since: int
    size: int


class Trash:
    """The trash of an archive; change it with the archive's lock held exclusively."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._ages = Ages(layout)
        self._folder: Path | None = None

    def put(self, path: Path) -> None:
        """Moves a file of the archive here."""
        top, *between, name = path.relative_to(self._layout.home).parts
        folder = self._batch() / top
        if top not in {self._layout.blobs.name, self._layout.capsules.name}:
            folder = folder.joinpath(*between)
        with disk.reporting(path):
            disk.move(path, folder / name)

    def files(self) -> Iterator[Discarded]:
        """What is here, the oldest first. Files of others are passed over."""
        for folder, since in self._batches():
            yield from self._files_of(folder, since)

    def _files_of(self, folder: Path, since: int) -> Iterator[Discarded]:
        for path, size in _files(folder):
            original = self._original(path.relative_to(folder).parts)
            if original is not None:
                yield Discarded(path, original, since, size)

    def size(self) -> int:
        """The bytes of all that is here."""
        return sum(file.size for file in self.files())

    def restore(self, file: Discarded) -> bool:
        """Puts a file back where it was; False where there is another one now, or it is gone."""
        final = self._layout.home / file.original
        with disk.reporting(final):
            if os.path.lexists(final):
                return False
            disk.publish(file.path, final)
            if file.original.startswith(f"{self._layout.manifests.name}/"):
                disk.touch(self._layout.manifests)
            self._tidy(file.path)
        return True

    def rescue(self, names: Collection[str]) -> list[Discarded]:
        """Puts back the blobs and capsules of these names (sha256 in hex)."""
        tops = (self._layout.blobs.name, self._layout.capsules.name)
        wanted = [
            file
            for file in self.files()
            if file.original.split("/")[0] in tops
            and file.path.name.removesuffix(CAPSULE_SUFFIX) in names
        ]
        return [file for file in wanted if self.restore(file)]

    def expire(self, grace: float, *, dry_run: bool) -> Iterator[Discarded]:
        """Deletes what has been here for `grace` seconds, and with 0 all; yields it."""
        batches = self._batches()
        ages = self._ages.look((folder.name for folder, _ in batches), grace)
        if not dry_run:  # a later batch may get the name of one that goes
            self._ages.write({name: age for name, age in ages.items() if age.seconds < grace})
        for folder, since in batches:
            if ages[folder.name].seconds < grace:
                continue
            expired = list(self._files_of(folder, since))
            if not dry_run:
                disk.remove_tree(folder)
            yield from expired

    def _batch(self) -> Path:
        """The folder of this collection. Versions that go by its name must not take it for old
        where the clock was set back: it is at least as late as the last change of the archive's
        manifests.
        """
        if self._folder is None:
            changed = os.stat(self._layout.manifests).st_mtime
            now, number = int(max(time.time(), changed)), 0
            folder = self._layout.trash / str(now)
            while folder.exists():
                number += 1
                folder = self._layout.trash / f"{now}-{number}"
            self._ages.begin(folder.name)
            self._folder = folder
        return self._folder

    def _batches(self) -> list[tuple[Path, int]]:
        names = filter(None, map(_BATCH.match, disk.listed(self._layout.trash)))
        found = sorted((int(match[1]), match[0]) for match in names)
        return [(self._layout.trash / name, since) for since, name in found]

    def _original(self, parts: tuple[str, ...]) -> str | None:
        """Where a file of a batch was; None for one that no collection has put there."""
        layout, name = self._layout, parts[-1]
        hexed = name.removesuffix(CAPSULE_SUFFIX)
        if len(parts) == 2 and Digest.is_valid(hexed):
            if parts[0] == layout.blobs.name and hexed == name:
                return layout.blob(Digest(hexed)).relative_to(layout.home).as_posix()
            if parts[0] == layout.capsules.name and hexed != name:
                return layout.capsule(Digest(hexed)).relative_to(layout.home).as_posix()
        return "/".join(parts) if len(parts) > 1 and parts[0] in _RECORDS else None

    def _tidy(self, path: Path) -> None:
        """Deletes the folders that a restored file leaves empty."""
        disk.remove_empty_parents(path, self._layout.trash)


def room_hint(layout: Layout) -> str:
    """What to do on a full disk, if the trash has bytes to give; else nothing."""
    with contextlib.suppress(OutlastError):
        size = Trash(layout).size()
        if size:
            return f"the trash holds {size} bytes: 'outlast gc --now' frees them"
    return ""


def _files(folder: Path, depth: int = 0) -> Iterator[tuple[Path, int]]:
    """The files below a folder, with their sizes; no link is followed."""
    for name in disk.listed(folder) if folder.is_dir() and not folder.is_symlink() else ():
        path = folder / name
        with contextlib.suppress(FileNotFoundError):
            found = os.lstat(path)
            if stat.S_ISDIR(found.st_mode):
                if depth == _DEEPEST:
                    raise StorageError(f"{path} is deeper than what is in the trash can be")
                yield from _files(path, depth + 1)
            elif stat.S_ISREG(found.st_mode):
                yield path, found.st_size
