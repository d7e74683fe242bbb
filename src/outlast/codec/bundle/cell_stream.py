"""The inner stream of an encrypted bundle, decrypted cell by cell as it is read."""

import threading
from collections import OrderedDict
from typing import Final

from outlast.codec.bundle.sealed import CellKey, Cells, Envelope, SealedContents
from outlast.codec.memory import Readable, scratch
from outlast.core.errors import CorruptError, MalformedError

_MOST_KEPT: Final = 16
"""Decrypted cells that are kept: they and the pieces that are read of them do not line up."""


class CellStream:
    """A :class:`~outlast.codec.memory.Readable`, thread-safe as the outer stream is."""

    def __init__(
        self, outer: Readable, contents: SealedContents, envelope: Envelope, key: CellKey
    ) -> None:
        """Raises :class:`MalformedError` where envelope and contents do not agree."""
        if contents.cells != cells_of(envelope.stream, contents.room):
            raise MalformedError("an encrypted bundle does not have as many cells as its stream")
        self.size: Final = envelope.stream
        self._outer = outer
        self._cells = Cells(contents, key)
        self._lock = threading.Lock()
        self._kept: OrderedDict[int, memoryview] = OrderedDict()

    def readinto(self, offset: int, buffer: memoryview) -> None:
        """Fills `buffer`, which must lie within the stream. Raises :class:`CorruptError`."""
        if offset < 0 or offset + len(buffer) > self.size:
            raise CorruptError("a bundle ends before it should")
        while buffer:
            number, skip = divmod(offset, self._cells.contents.room)
            data = self._cell(number)[skip : skip + len(buffer)]
            buffer[: len(data)] = data
            offset += len(data)
            buffer = buffer[len(data) :]

    def _cell(self, number: int) -> memoryview:
        with self._lock:
            found = self._kept.get(number)
        if found is not None:
            return found
        contents = self._cells.contents
        block = contents.layout.block
        with scratch(block) as cell:
            self._outer.readinto(contents.base + number * block, cell)
            found = self._cells.open(number, cell)
        with self._lock:
            self._kept[number] = found
            while len(self._kept) > _MOST_KEPT:
                self._kept.popitem(last=False)
        return found


def cells_of(stream: int, room: int) -> int:
    """How many cells a stream of so many bytes takes."""
    return -(-stream // room)
