"""The stream of a bundle, read from its parts: every block is compared with its sum before a byte
of it is given out, and restored from parity where that fails.
"""

import threading
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from outlast.codec.bundle.geometry import SUM_BYTES, Geometry, Place
from outlast.codec.bundle.part import PartHeader, Sums
from outlast.codec.memory import scratch
from outlast.core.digest import Digest
from outlast.core.errors import CorruptError


class Frames(Protocol):
    """The frames of the parts of one bundle, wherever they lie. Thread-safe."""

    def read(self, place: Place, block: memoryview, check: memoryview) -> bool:
        """Fills `block` and the sum that follows it, `check`; False where they are not there."""


Restore = Callable[[Sequence[memoryview | None], int], Sequence[memoryview]]
"""From the blocks of a codeword, first those of the data (None: lost), then of as many parity
parts, the lost blocks of the data, in their order. Raises :class:`CorruptError` if too many are.
"""


class Blocks:
    """The blocks of one bundle, each proved by its sum."""

    def __init__(self, frames: Frames, head: PartHeader, restore: Restore | None = None) -> None:
        self._frames = frames
        self.head: Final = head
        self.geometry: Final[Geometry] = head.geometry
        self._restore = restore
        self._sums: dict[int, Sums] = {}
        self._lock = threading.Lock()
        self._repaired: set[Place] = set()

    @property
    def repaired(self) -> int:
        """Blocks that were restored from parity so far, each counted once."""
        return len(self._repaired)

    def read(self, place: Place, out: memoryview) -> None:
        """Fills `out` with a block. Raises :class:`CorruptError` where it is lost for good."""
        if not self.intact(place, out):
            self._mend(place, out)

    def intact(self, place: Place, out: memoryview) -> bool:
        """Reads a block; False where it is not there, or is not what its sum says."""
        check = bytearray(SUM_BYTES)
        if not self._frames.read(place, out, memoryview(check)):
            return False
        return self._sums_of(place.part).of(place.row, out) == bytes(check)

    def _sums_of(self, part: int) -> Sums:
        found = self._sums.get(part)
        if found is None:
            found = self._sums[part] = Sums(self.head.bundle, part)
        return found

    def _mend(self, place: Place, out: memoryview) -> None:
        """Restores a block of a data part from the others of its row."""
        cut = self.geometry
        if self._restore is None or not cut.layout.parity:
            raise _lost(cut, place)
        group = cut.group_of(place.part)
        data = cut.data_of(group)
        needed, row = len(data), place.row
        found: list[memoryview | None] = []
        have = 0
        for part in (*data, *cut.parity_of(group)):
            block = memoryview(bytearray(cut.layout.block))
            is_short = row >= cut.rows_of(part)  # its block is zeros, by definition
            if part == place.part or (
                not is_short and (have == needed or not self.intact(Place(part, row), block))
            ):
                found.append(None)
                continue
            found.append(block)
            have += 1
        if have < needed:
            raise _lost(cut, place)
        lost = [part for part, block in zip(data, found, strict=False) if block is None]
        restored = self._restore(found, needed)
        out[:] = restored[lost.index(place.part)]
        with self._lock:
            self._repaired.add(place)


class StreamReader:
    """The stream as bytes at any offset: a :class:`~outlast.codec.memory.Readable`."""

    def __init__(self, blocks: Blocks) -> None:
        self.blocks: Final = blocks
        self._cut = blocks.geometry

    @property
    def size(self) -> int:
        return self._cut.stream

    def readinto(self, offset: int, buffer: memoryview) -> None:
        """Fills `buffer`, which must lie within the stream. Raises :class:`CorruptError`."""
        if offset < 0 or offset + len(buffer) > self.size:
            raise CorruptError("a bundle ends before it should")
        length = self._cut.layout.block
        while buffer:
            skip = offset % length
            take = min(length - skip, len(buffer))
            if take == length:
                self.blocks.read(self._cut.place(offset), buffer[:take])
            else:
                with scratch(length) as whole:
                    self.blocks.read(self._cut.place(offset), whole)
                    buffer[:take] = whole[skip : skip + take]
            offset += take
            buffer = buffer[take:]


class Span:
    """Some bytes of a :class:`StreamReader`: a record or a payload."""

    def __init__(self, stream: StreamReader, start: int, size: int) -> None:
        self._stream = stream
        self._start = start
        self.size: Final = size

    def readinto(self, offset: int, buffer: memoryview) -> None:
        if offset + len(buffer) > self.size:
            raise CorruptError("a payload of a bundle ends before it should")
        self._stream.readinto(self._start + offset, buffer)


def read_contents(stream: StreamReader, head: PartHeader, limit: int) -> bytes:
    """The contents, from the start of the stream, if their sha256 is the bundle's id."""
    if head.contents > limit:
        raise CorruptError(f"the contents of a bundle have {head.contents} bytes, over {limit}")
    data = bytearray(head.contents)
    stream.readinto(0, memoryview(data))
    if Digest.of(bytes(data)) != head.bundle:
        raise CorruptError("the contents of a bundle do not have the sha256 that is its id")
    return bytes(data)


def _lost(cut: Geometry, place: Place) -> CorruptError:
    return CorruptError(
        f"block {place.row} of {cut.name(place.part)} is damaged or missing, and parity does not "
        "restore it",
        hint="give all media of the bundle, or another copy of that part",
    )
