"""What an export writes, block by block: the stream of a bundle as it is, or in encrypted cells."""

from typing import Final, Protocol

from outlast.codec.bundle.documents import Outer
from outlast.codec.bundle.geometry import BlockPlace
from outlast.codec.bundle.sealed import Cells
from outlast.core.closing import Closing
from outlast.features.bundle.archive_stream import ArchiveStream
from outlast.features.bundle.planning import ExportPlan
from outlast.sources.bundle.age import PairedKey
from outlast.store.archive import Archive


class Outgoing(Protocol):
    """The outer stream. `repeatable`: whether it gives the same bytes for a place each time."""

    outer: Outer
    repeatable: bool

    def fill(self, place: BlockPlace, block: memoryview) -> None:
        """A block of a data part, from the archive."""

    def plain(self, place: BlockPlace, block: memoryview) -> tuple[int, memoryview] | None:
        """What a block has of the stream of the bundle, and where that lies there; None for one
        that has nothing of it. Raises :class:`CorruptError` for an encrypted one that is wrong.
        """

    def part_of(self, offset: int) -> int:
        """The part that has a byte of the stream of the bundle."""

    def close(self) -> None: ...


class PlainOutgoing(Closing):
    """An :class:`Outgoing`."""

    repeatable = True

    def __init__(self, archive: Archive, plan: ExportPlan) -> None:
        self.outer: Outer = plan.contents
        self._cut = plan.contents.geometry
        self._stream = ArchiveStream(archive, plan.contents, plan.records)

    def fill(self, place: BlockPlace, block: memoryview) -> None:
        self._stream.readinto(self._cut.offset(place), block)

    def plain(self, place: BlockPlace, block: memoryview) -> tuple[int, memoryview] | None:
        return self._cut.offset(place), block

    def part_of(self, offset: int) -> int:
        return self._cut.place(offset).part

    def close(self) -> None:
        self._stream.close()


class SealedOutgoing(Closing):
    """An :class:`Outgoing`. Every cell is opened again before it counts as written: what the
    recipients will read is what was checked.
    """

    repeatable = False

    def __init__(self, archive: Archive, plan: ExportPlan) -> None:
        assert plan.seal is not None
        self._sealed: Final = plan.seal.contents
        self.outer: Outer = self._sealed
        self._cells = Cells(self._sealed, PairedKey(plan.seal.envelope.key))
        self._stream = ArchiveStream(archive, plan.contents, plan.records)

    def fill(self, place: BlockPlace, block: memoryview) -> None:
        number = self._number(place)
        if number < 0:
            at = self._sealed.geometry.offset(place)
            block[:] = self._sealed.encoded[at : at + len(block)].ljust(len(block), b"\0")
            return
        room = self._sealed.room
        data = bytearray(room)
        self._stream.readinto(number * room, memoryview(data))
        block[:] = self._cells.seal(number, bytes(data))

    def plain(self, place: BlockPlace, block: memoryview) -> tuple[int, memoryview] | None:
        number = self._number(place)
        if number < 0:
            return None
        return number * self._sealed.room, self._cells.open(number, block)

    def part_of(self, offset: int) -> int:
        sealed = self._sealed
        cell = offset // sealed.room
        return sealed.geometry.place(sealed.base + cell * sealed.layout.block).part

    def close(self) -> None:
        self._stream.close()

    def _number(self, place: BlockPlace) -> int:
        """Of the cell in a block; below 0 in the clear blocks before them."""
        sealed = self._sealed
        return (sealed.geometry.offset(place) - sealed.base) // sealed.layout.block
