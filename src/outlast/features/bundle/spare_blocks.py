"""Blocks that were restored before they are needed, in a temp file beside the archive.

A bundle is read part by part, and repaired row by row: where two of its parts are lost, every row
that is repaired for the first gives a block of the second.
"""

import logging
import os
import threading
from pathlib import Path

from outlast.codec.bundle.geometry import BlockPlace
from outlast.core.closing import Closing
from outlast.store import disk

_log = logging.getLogger(__name__)
_RESERVE = 1 << 30
"""Bytes of the disk that are left to what the import keeps for good."""


class SpareBlocks(Closing):
    """A :class:`~outlast.codec.bundle.stream.Spare`. Takes as much of the disk as the lost parts
    have, and nothing where nothing is lost; what does not fit is restored again when it is read.
    """

    def __init__(self, path: Path, block: int) -> None:
        self._path = path
        self._block = block
        self._fd = -1
        self._lock = threading.Lock()
        self._places: dict[BlockPlace, int] = {}
        self._free: list[int] = []
        self._end = 0

    def put(self, place: BlockPlace, block: memoryview) -> None:
        with self._lock:
            if place in self._places:
                return
            at = self._free.pop() if self._free else self._end
            try:
                if at == self._end and disk.free_bytes(self._path.parent) < _RESERVE:
                    return
                disk.write_all(self._file(), block, at)
            except OSError as error:
                _log.info("a restored block is not kept: %s", error)
                return
            self._end = max(self._end, at + self._block)
            self._places[place] = at

    def get(self, place: BlockPlace, out: memoryview) -> bool:
        with self._lock:
            at = self._places.pop(place, None)
            if at is None:
                return False
            self._free.append(at)
            with disk.reporting(self._path):
                return disk.read_exactly(self._fd, out, at)

    def _file(self) -> int:
        """The file, which has no name any more: it goes with the process."""
        if self._fd < 0:
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            self._fd = os.open(self._path, flags, disk.PRIVATE)
            disk.remove(self._path)
        return self._fd

    def close(self) -> None:
        with self._lock:
            if self._fd >= 0:
                os.close(self._fd)
                self._fd = -1
            self._places.clear()
