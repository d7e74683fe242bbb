"""The stream of a bundle, read from its parts: every block is compared with its sum before a byte
of it is given out, and restored from parity where that fails.
"""

import threading
from typing import Final, Protocol

from outlast.codec.bundle.geometry import SUM_BYTES, BlockPlace, Geometry
from outlast.codec.bundle.part import BlockSums, PartHeader
from outlast.codec.erasure import Repair
from outlast.codec.memory import Readable
from outlast.core.digest import Digest
from outlast.core.errors import CorruptError

_MOST_REPAIRS: Final = 64
"""Sets of lost blocks whose matrices are kept."""


class Frames(Protocol):
    """The frames of the parts of one bundle, wherever they lie. Thread-safe."""

    def read(self, place: BlockPlace, block: memoryview, check: memoryview) -> bool:
        """Fills `block` and the sum that follows it, `check`; False where they are not there."""


class Spare(Protocol):
    """Keeps restored blocks until they are read: a row that lost several blocks is then read once
    and not for each of them. Thread-safe; it may forget what it has no room for.
    """

    def put(self, place: BlockPlace, block: memoryview) -> None: ...

    def get(self, place: BlockPlace, out: memoryview) -> bool:
        """Fills `out`; False where it does not have the block."""


class BundleBlocks:
    """The blocks of one bundle, each proved by its sum. `spare`, where it is set, keeps those that
    were restored along with others.
    """

    def __init__(self, frames: Frames, head: PartHeader) -> None:
        self.spare: Spare | None = None
        self._frames = frames
        self.head: Final = head
        self.geometry: Final[Geometry] = head.geometry
        self._sums: dict[int, BlockSums] = {}
        self._lock = threading.Lock()
        self._repairs: dict[tuple[int, frozenset[int]], Repair] = {}
        self._repaired: set[BlockPlace] = set()

    @property
    def repaired(self) -> int:
        """Blocks that were restored from parity so far, each counted once."""
        return len(self._repaired)

    def read(self, place: BlockPlace, out: memoryview) -> None:
        """Fills `out` with a block. Raises :class:`CorruptError` where it is lost for good."""
        if self.intact(place, out):
            return
        if self.spare is None or not self.spare.get(place, out):
            self._mend(place, out)
        with self._lock:
            self._repaired.add(place)

    def intact(self, place: BlockPlace, out: memoryview) -> bool:
        """Reads a block; False where it is not there, or is not what its sum says."""
        check = bytearray(SUM_BYTES)
        if not self._frames.read(place, out, memoryview(check)):
            return False
        return self._sums_of(place.part).of(place.row, out) == bytes(check)

    def _sums_of(self, part: int) -> BlockSums:
        found = self._sums.get(part)
        if found is None:
            found = self._sums[part] = BlockSums(self.head.bundle, part)
        return found

    def _mend(self, place: BlockPlace, out: memoryview) -> None:
        """Restores a block of a data part, and all others that its row lost."""
        cut = self.geometry
        if not cut.layout.parity:
            raise _lost(cut, place)
        group = cut.group_of(place.part)
        data, parity = cut.data_of(group), cut.parity_of(group)
        found, lost = self._row(place, data)
        needed = len(lost)
        for number, part in enumerate(parity, len(data)):
            if needed and (block := self._block(BlockPlace(part, place.row))) is not None:
                found[number] = block
                needed -= 1
            else:
                lost.add(number)
        if needed:
            raise _lost(cut, place)
        repair = self._repair(len(data), len(parity), frozenset(lost))
        restored = repair.restore_data(found)
        out[:] = restored.pop(place.part - data.start)
        if self.spare is not None:
            for number, other in restored.items():
                self.spare.put(BlockPlace(data.start + number, place.row), memoryview(other))

    def _row(
        self, place: BlockPlace, data: range
    ) -> tuple[dict[int, bytes | memoryview], set[int]]:
        """The blocks of a row that are there, by number in the codeword, and what is lost of it;
        `place` is.
        """
        found: dict[int, bytes | memoryview] = {}
        lost = {place.part - data.start}
        for number, part in enumerate(data):
            if part == place.part:
                continue
            if place.row >= self.geometry.rows_of(part):
                found[number] = bytes(self.geometry.layout.block)  # zeros, by definition
            elif (block := self._block(BlockPlace(part, place.row))) is not None:
                found[number] = block
            else:
                lost.add(number)
        return found, lost

    def _block(self, place: BlockPlace) -> memoryview | None:
        block = memoryview(bytearray(self.geometry.layout.block))
        return block if self.intact(place, block) else None

    def _repair(self, data: int, parity: int, lost: frozenset[int]) -> Repair:
        """One serves all rows that lost the same blocks."""
        with self._lock:
            found = self._repairs.get((data, lost))
            if found is None:
                if len(self._repairs) >= _MOST_REPAIRS:
                    self._repairs.clear()
                found = self._repairs[data, lost] = Repair(data, parity, lost)
        return found


class StreamReader:
    """The stream as bytes at any offset: a :class:`~outlast.codec.memory.Readable`. Threads may
    share it. One block is kept: payloads begin anywhere, so that pieces of one end within blocks,
    whose rest is read next.
    """

    def __init__(self, blocks: BundleBlocks) -> None:
        self.blocks: Final = blocks
        self._cut = blocks.geometry
        self._lock = threading.Lock()
        self._kept: tuple[BlockPlace, memoryview] | None = None

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
                self._read_some(self._cut.place(offset), skip, buffer[:take])
            offset += take
            buffer = buffer[take:]

    def _read_some(self, place: BlockPlace, skip: int, out: memoryview) -> None:
        """Fills `out` from byte `skip` of a block on."""
        with self._lock:
            kept, self._kept = self._kept, None  # no other thread uses it meanwhile
        block = memoryview(bytearray(self._cut.layout.block)) if kept is None else kept[1]
        if kept is None or kept[0] != place:
            self.blocks.read(place, block)
        out[:] = block[skip : skip + len(out)]
        with self._lock:
            self._kept = place, block


class Span:
    """Some bytes of the stream: a record or a payload."""

    def __init__(self, stream: Readable, start: int, size: int) -> None:
        self._stream = stream
        self._start = start
        self.size: Final = size

    def readinto(self, offset: int, buffer: memoryview) -> None:
        if offset + len(buffer) > self.size:
            raise CorruptError("a payload of a bundle ends before it should")
        self._stream.readinto(self._start + offset, buffer)


def read_contents(stream: Readable, length: int, sha256: Digest, limit: int) -> bytes:
    """The contents, from the start of the stream, if they have their sha256."""
    if length > limit:
        raise CorruptError(f"the contents of a bundle have {length} bytes, over {limit}")
    data = bytearray(length)
    stream.readinto(0, memoryview(data))
    if Digest.of(bytes(data)) != sha256:
        raise CorruptError("the contents of a bundle do not have the sha256 that is its id")
    return bytes(data)


def _lost(cut: Geometry, place: BlockPlace) -> CorruptError:
    return CorruptError(
        f"block {place.row} of {cut.name(place.part)} is damaged or missing, and parity does not "
        "restore it",
        hint="give all media of the bundle, or another copy of that part",
    )
