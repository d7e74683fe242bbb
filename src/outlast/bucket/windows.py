"""Stored bytes at any offset: one request reads more than it is asked for, because what follows is
asked for next.
"""

import threading
from collections import OrderedDict
from typing import Final

from outlast.bucket.objects import Objects
from outlast.bucket.tuning import TUNING, BucketTuning
from outlast.core.errors import CorruptError


class Windows:
    """What was read last of the files of a store, by each thread for itself: two connections that
    read different parts of a file would else read everything several times. Thread-safe.
    """

    def __init__(self, objects: Objects, tuning: BucketTuning = TUNING) -> None:
        self.objects: Final = objects
        self._tuning = tuning
        self._local = threading.local()

    def read(self, name: str, offset: int, length: int, stop: int) -> memoryview:
        """`length` bytes from `offset`; a request goes to `stop` at most."""
        held = self._held()
        begin, data = held.get(name, (0, b""))
        if offset < begin or offset + length > begin + len(data):
            wanted = max(length, min(self._tuning.window, stop - offset))
            fresh = bytearray(wanted)
            self.objects.readinto(name, offset, memoryview(fresh))
            begin, data = offset, fresh
            held[name] = (begin, data)
            while len(held) > self._tuning.windows:
                held.popitem(last=False)
        held.move_to_end(name)
        return memoryview(data)[offset - begin : offset - begin + length]

    def _held(self) -> "OrderedDict[str, tuple[int, bytes | bytearray]]":
        found: OrderedDict[str, tuple[int, bytes | bytearray]] | None
        found = getattr(self._local, "held", None)
        if found is None:
            found = self._local.held = OrderedDict()
        return found

    def forget(self, name: str) -> None:
        """The file was written anew: this thread reads it again."""
        self._held().pop(name, None)


class StoredBytes:
    """A file of a store of `size` bytes. Nothing from `stop` on is read ahead."""

    def __init__(self, windows: Windows, name: str, size: int, stop: int | None = None) -> None:
        self._windows = windows
        self._name = name
        self._size = size
        self._stop = size if stop is None else min(stop, size)

    @property
    def size(self) -> int:
        return self._size

    def readinto(self, offset: int, buffer: memoryview) -> None:
        """Raises :class:`CorruptError` beyond the end."""
        end = offset + len(buffer)
        if end > self._size:
            raise CorruptError(f"{self._windows.objects.name}/{self._name} ends before it should")
        buffer[:] = self._windows.read(self._name, offset, len(buffer), max(end, self._stop))
