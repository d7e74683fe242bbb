"""Writers: who is changing an archive right now, and what garbage collection must leave alone.

A writer owns a folder below tmp/, with a lock that dies with its process. What it puts is claimed
there until a manifest or draft refers to it. Garbage collection takes the archive's lock
exclusively, writers take it shared and only for the instant of a rename: so neither ever waits
for the other's long work.
"""

import itertools
import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from outlast.model.digest import Digest
from outlast.model.errors import Cancelled
from outlast.store import disk
from outlast.store.layout import MARKER, Layout

_LOCK = "lock"
_CLAIMS = "claims"


class Writer:
    """A licence to write: gives out temp files, publishes them, claims blobs. Thread-safe."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._count = itertools.count()
        self._mutex = threading.Lock()
        self._closed = False
        self.folder = layout.tmp / f"{os.getpid()}-{os.urandom(8).hex()}"
        with disk.reporting(layout.home), disk.locked(layout.lock, exclusive=False):
            os.mkdir(self.folder)
            self._lock = os.open(self.folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            disk.try_lock(self._lock)
            self._claims = os.open(
                self.folder / _CLAIMS, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Gives up the claims and deletes what was not published. Nothing can be put any more."""
        with self._mutex:
            if self._closed:
                return
            self._closed = True
        with disk.locked(self._layout.lock, exclusive=False):
            shutil.rmtree(self.folder, ignore_errors=True)
        os.close(self._claims)
        os.close(self._lock)

    def _claim(self, digest: Digest) -> None:
        """Notes a claim; call with the archive's lock held. The leading newline ends a line that
        a full disk may have torn.
        """
        with self._mutex:
            if self._closed:
                raise Cancelled("the writer is closed")
            disk.append_all(self._claims, b"\n%s\n" % digest.hex.encode())

    def temp(self) -> Path:
        """The name of a temp file that does not exist yet."""
        return self.folder / f"{next(self._count)}.tmp"

    def claim(self, digest: Digest, size: int) -> bool:
        """Keeps a blob from garbage collection until this writer closes; whether it is here."""
        path = self._layout.blob(digest)
        with disk.reporting(path), disk.locked(self._layout.lock, exclusive=False):
            self._claim(digest)
            return is_blob(path, size)

    def publish_blob(self, temp: Path, digest: Digest, size: int) -> None:
        """Gives a synced, verified temp file the name of its blob, unless that is here already."""
        final = self._layout.blob(digest)
        with disk.reporting(final), disk.locked(self._layout.lock, exclusive=False):
            self._claim(digest)
            if is_blob(final, size):
                os.unlink(temp)
            else:
                disk.publish(temp, final)

    def write(self, final: Path, data: bytes, mode: int = disk.READ_ONLY) -> None:
        """Writes a whole small file durably and atomically."""
        with disk.reporting(final):
            temp = self.stage(data, mode)
            with disk.locked(self._layout.lock, exclusive=False):
                disk.publish(temp, final)

    def write_new(self, final: Path, data: bytes, mode: int = disk.READ_ONLY) -> bool:
        """Like `write`, but leaves a file alone that is there already; whether it was not."""
        with disk.reporting(final):
            temp = self.stage(data, mode)
            with disk.locked(self._layout.lock, exclusive=False):
                return disk.publish_new(temp, final)

    def stage(self, data: bytes, mode: int) -> Path:
        """A synced temp file with `data`, to be published under the archive's lock."""
        temp = self.temp()
        disk.write_temp(temp, data, mode)
        return temp


def is_blob(path: Path, size: int) -> bool:
    """Whether a blob of that size is at `path`. Its content was verified when it was put there."""
    try:
        return path.stat().st_size == size
    except FileNotFoundError:
        return False


def claimed(layout: Layout) -> set[str]:
    """The hex digests that live writers hold. Call with the archive's lock held exclusively."""
    held: set[str] = set()
    for folder in _folders(layout):
        if not _is_dead(folder):
            held.update((folder / _CLAIMS).read_text().split())
    return held


def create(layout: Layout) -> None:
    """Makes an empty archive; harmless where there is one."""
    with disk.reporting(layout.home):
        layout.make_folders()
        if not layout.marker.exists():
            with Writer(layout) as writer:
                writer.write_new(layout.marker, MARKER)


def sweep(layout: Layout) -> int:
    """Deletes what dead writers left below tmp/; returns how many. Call with the archive's lock
    held exclusively.
    """
    dead = [folder for folder in _folders(layout) if _is_dead(folder)]
    for folder in dead:
        shutil.rmtree(folder, ignore_errors=True)
    return len(dead)


def orphans(layout: Layout) -> int:
    """How many folders of dead writers there are."""
    return sum(_is_dead(folder) for folder in _folders(layout))


def _folders(layout: Layout) -> Iterator[Path]:
    return (entry for entry in sorted(layout.tmp.iterdir()) if entry.is_dir())


def _is_dead(folder: Path) -> bool:
    try:
        fd = os.open(folder / _LOCK, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return True
    try:
        return disk.try_lock(fd)
    finally:
        os.close(fd)
