"""What a torrent of others has brought so far: a folder below ``partial/``, resumed after a crash.

Its files have numbers for names: the names that a torrent gives touch no disk.
"""

import contextlib
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from outlast.core.closing import Closing
from outlast.core.errors import BusyError
from outlast.store import disk, locks
from outlast.store.layout import Layout

PREFIX: Final = "link-"
KEPT: Final = 7 * 24 * 3600.0
"""Seconds that a folder stays after it was last worked on: nothing else says who wants it."""
_LOCK: Final = "lock"
_TORRENT: Final = "torrent"
_MOST: Final = 256 * 1024 * 1024


class LinkPartial(Closing):
    """The download of one torrent, by its infohash in hex. Raises :class:`BusyError` where
    another process is at it.
    """

    def __init__(self, layout: Layout, infohash: str) -> None:
        self._home: Final = layout.partial / f"{PREFIX}{infohash}"
        self.folder: Final = _folder_for(self._home, layout.lock)
        with disk.reporting(self.folder), disk.locked(layout.lock, exclusive=False):
            disk.make_dir(self.folder)
            self._lock = _lock(self.folder, layout.lock)
            if self._lock is None:
                raise BusyError(f"another download of {infohash[:16]}… is under way")
            disk.touch(self.folder)

    def close(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
            if self.folder != self._home:
                with contextlib.suppress(OSError):  # another process has left its own there
                    os.rename(self.folder, self._home)

    def torrent(self) -> bytes | None:
        """The .torrent file that was noted; it is not believed."""
        path = self.folder / _TORRENT
        with disk.reporting(path), contextlib.suppress(FileNotFoundError), open(path, "rb") as file:
            return file.read(_MOST)
        return None

    def note_torrent(self, data: bytes) -> None:
        """Keeps a .torrent file, so that no peer has to be asked again."""
        path = self.folder / _TORRENT
        temp = self.folder / f"{_TORRENT}.tmp"
        with disk.reporting(path):
            disk.remove(temp)
            disk.write_temp(temp, data, disk.PRIVATE)
            disk.publish(temp, path)

    def place(self, number: int) -> Path:
        """Where the file with this number goes."""
        return self.folder / f"{number:07}"

    def present(self) -> int:
        """Bytes that its files take on the disk: at least as many as are here."""
        total = 0
        with disk.reporting(self.folder):
            for entry in os.scandir(self.folder):
                with contextlib.suppress(FileNotFoundError):
                    total += entry.stat(follow_symlinks=False).st_blocks * 512
        return total

    def part(self, count: int) -> None:
        """Makes sure that none of the first `count` files is also a blob of the archive, as a
        crash may have left it: what is downloaded is written to.
        """
        for number in range(count):
            path = self.place(number)
            with disk.reporting(path), contextlib.suppress(FileNotFoundError):
                if os.lstat(path).st_nlink == 1:
                    continue
                temp = path.with_suffix(".tmp")
                shutil.copyfile(path, temp)
                disk.set_mode(temp, disk.PRIVATE)
                os.rename(temp, path)

    def discard(self) -> None:
        """Deletes all of it."""
        with disk.reporting(self.folder):
            shutil.rmtree(self.folder, ignore_errors=True)


def _folder_for(folder: Path, archive_lock: Path) -> Path:
    """The folder itself, or where locks keep no process out, a name that only this process has."""
    with disk.reporting(folder):
        return locks.own_name(folder) if locks.fault(archive_lock) else folder


def abandoned(layout: Layout, *, dry_run: bool) -> Iterator[tuple[str, int]]:
    """Deletes downloads that no process has worked on for long; yields name and bytes of each. Call
    with the archive's lock held exclusively.
    """
    for folder in disk.matching(layout.partial, f"{PREFIX}*"):
        with contextlib.suppress(FileNotFoundError):  # its download ended meanwhile
            yield from _abandoned(folder, layout.lock, dry_run=dry_run)


def _abandoned(folder: Path, archive_lock: Path, *, dry_run: bool) -> Iterator[tuple[str, int]]:
    lock = _lock(folder, archive_lock)
    if lock is not None:
        try:
            stats = [entry.stat(follow_symlinks=False) for entry in os.scandir(folder)]
            newest = max(folder.stat().st_mtime, *(stat.st_mtime for stat in stats))
            if time.time() - newest < KEPT:
                return
            if not dry_run:
                shutil.rmtree(folder, ignore_errors=True)
            yield folder.name, sum(stat.st_blocks for stat in stats) * 512
        finally:
            os.close(lock)


def _lock(folder: Path, archive_lock: Path) -> int | None:
    """An open, locked file; None where another has it."""
    fd = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, disk.PRIVATE)
    if locks.try_lock(fd, archive_lock):
        return fd
    os.close(fd)
    return None
