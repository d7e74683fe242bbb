"""A file that is written in order: the disk works on what came while more comes."""

from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final

from outlast.core.closing import Closing
from outlast.store import disk

_EVERY: Final = 32 << 20
"""Bytes after which the disk is asked to begin. Twice as many may be in memory, however slow the
disk is. Guess: the disk is busy all the time, and a sync of so many costs little beside them."""


class WriteBehind(Closing):
    """Appends to an open file, and syncs it in the background. Not thread-safe; close it before the
    file. What a sync that failed says is raised by the next call: after it nothing counts as
    written.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="sync")
        self._unsynced = 0
        self._syncing: Future[None] | None = None

    def append(self, data: bytes | memoryview) -> None:
        disk.append_long(self._fd, data)
        self._unsynced += len(data)
        if self._unsynced >= _EVERY:
            self._settle()
            self._unsynced = 0
            self._syncing = self._pool.submit(disk.fsync, self._fd)

    def sync(self) -> None:
        """Waits until all that was appended is on the disk itself."""
        self._settle()
        disk.fsync(self._fd)

    def close(self) -> None:
        """Waits for the sync that is under way, whatever comes of it."""
        self._pool.shutdown()

    def _settle(self) -> None:
        if self._syncing is not None:
            self._syncing.result()
            self._syncing = None
