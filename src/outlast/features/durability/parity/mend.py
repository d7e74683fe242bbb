"""Restores damaged pieces of a payload from its file of parity."""

import itertools
import struct
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from outlast.codec import kernels
from outlast.codec.erasure import Repair
from outlast.codec.memory import Readable, scratch
from outlast.codec.merkle import PIECE
from outlast.core.errors import BeyondRepairError, CorruptError, MalformedError, StorageError
from outlast.features.durability.parity.encode import sums_of
from outlast.features.durability.parity.geometry import (
    BLOCK,
    HEADER,
    SUMS,
    ParityHead,
    ParitySection,
)
from outlast.store.forms import StoredFile

_TOGETHER: Final = 16
"""Codewords that are restored at once, where neighbours are damaged: 16 MB of memory."""
_SECTIONS: Final = 2
"""Of so many sections the sums stay in memory, about 2 MB each."""
_PAGE: Final = struct.Struct(f"<{SUMS}IQ")


def read_head(parity: Readable) -> ParityHead:
    """What a file of parity says of itself, by either of its headers. Raises
    :class:`MalformedError` where both are damaged, or the file has another length.
    """
    for at in (0, parity.size - HEADER):
        block = bytearray(HEADER)
        if 0 <= at <= parity.size - HEADER and _read(parity, at, memoryview(block)):
            head = ParityHead.unpack(bytes(block))
            if head is not None and head.file_size == parity.size:
                return head
    raise MalformedError("a file of parity has no intact header, or another length than it should")


@dataclass(frozen=True, slots=True)
class _Damaged:
    """A piece that was read: `bad` are its damaged blocks, by their number in the section, where
    `first` is its own; `rows` the runs of codewords that have them.
    """

    number: int
    size: int
    section: ParitySection
    first: int
    out: bytearray
    bad: frozenset[int]
    rows: tuple[tuple[int, int], ...]


class ParityMender:
    """The pieces of one payload, restored. Not for two threads at once.

    What it returns is as right as sums of 32 bits say: compare it with the payload's tree before it
    is used.
    """

    def __init__(self, payload: Readable, parity: Readable) -> None:
        """Raises :class:`MalformedError` if `parity` is none of a payload of this size."""
        self._payload = payload
        self._parity = parity
        self.head: Final = read_head(parity)
        if self.head.size != payload.size:
            raise MalformedError("a file of parity is that of a payload of another size")
        self._known: dict[int, list[int | None]] = {}

    def piece(self, number: int) -> bytearray:
        """Piece `number` (1 MiB; the last may be shorter), with its damaged blocks restored. Raises
        :class:`BeyondRepairError`.
        """
        begun = self._begin(number)
        self._expect_codewords(begun)
        return self._finish(begun)

    def pieces(self, numbers: Iterable[int]) -> Iterator[tuple[int, bytearray | None]]:
        """The same of several, by number; None for one that is beyond repair. The disk reads what
        the next one needs while one is computed.
        """
        todo = sorted(set(numbers))
        last: _Damaged | None = None
        for number, following in itertools.zip_longest(todo, todo[1:]):
            if following is not None:
                _expect(self._payload, following * PIECE, PIECE)
            begun = self._begin(number)
            self._expect_codewords(begun)
            if last is not None:
                yield last.number, self._finished(last)
            last = begun
        if last is not None:
            yield last.number, self._finished(last)

    def differing(
        self, is_right: Callable[[int, memoryview], bool]
    ) -> Iterator[tuple[int, bytearray | None]]:
        """Reads all of the payload, and gives the pieces that are not right as `pieces` does. It is
        read once: what a section's codewords need is in the system's memory from before.
        """
        with scratch(PIECE) as memory:
            for section in self.head.sections():
                bad = []
                for offset in range(section.start, section.start + section.size, PIECE):
                    piece = memory[: min(PIECE, self.head.size - offset)]
                    number = offset // PIECE
                    if not _read(self._payload, offset, piece) or not is_right(number, piece):
                        bad.append(number)
                for number in bad:
                    yield number, self._finished(self._begin(number))

    def _begin(self, number: int) -> "_Damaged":
        """Reads a piece, and finds its damaged blocks."""
        offset = number * PIECE
        size = min(PIECE, self.head.size - offset)
        if number < 0 or size <= 0:
            raise ValueError("no such piece in the payload")
        section = self.head.section_of(offset)
        out = bytearray(-(-size // BLOCK) * BLOCK)
        first = (offset - section.start) // BLOCK
        with memoryview(out) as view:
            intact = self._read_blocks(section, first, view)
        bad = frozenset(first + i for i, good in enumerate(intact) if not good)
        rows = tuple(_runs(sorted({block % section.rows for block in bad})))
        return _Damaged(number, size, section, first, out, bad, rows)

    def _finish(self, piece: "_Damaged") -> bytearray:
        """Raises :class:`BeyondRepairError`."""
        for row, count in piece.rows:
            restored = self._solve(piece.section, row, count, piece.bad)
            for block in piece.bad & restored.keys():
                at = (block - piece.first) * BLOCK
                piece.out[at : at + BLOCK] = restored[block]
        del piece.out[piece.size :]
        return piece.out

    def _finished(self, piece: "_Damaged") -> bytearray | None:
        try:
            return self._finish(piece)
        except BeyondRepairError:
            return None

    def _expect_codewords(self, piece: "_Damaged") -> None:
        """Has the disk read, all at once, what the damaged blocks of a piece are restored from."""
        section = piece.section
        for row, count in piece.rows:
            for column in range(section.data):
                at = section.start + (column * section.rows + row) * BLOCK
                _expect(self._payload, at, count * BLOCK)
            for column in range(section.parity):
                at = section.parity_at + (column * section.rows + row) * BLOCK
                _expect(self._parity, at, count * BLOCK)

    def _read_blocks(self, section: ParitySection, first: int, out: memoryview) -> list[bool]:
        """Reads data blocks from `first` on; which of them are proved by their sums."""
        self._read_payload(section, first, out)
        known = self._sums(section)[first : first + len(out) // BLOCK]
        return [one == other for one, other in zip(known, sums_of(out), strict=True)]

    def _read_payload(self, section: ParitySection, first: int, out: memoryview) -> Collection[int]:
        """Fills `out` with data blocks, those that cannot be read and those behind the end with
        zeros; which of them, counted from 0, could not be read.
        """
        start, inside = first * BLOCK, len(out)
        if start + inside > section.size:
            inside = max(0, section.size - start)
            out[inside:] = bytes(len(out) - inside)
        return _unreadable(self._payload, section.start + start, out[:inside])

    def _sums(self, section: ParitySection) -> Sequence[int | None]:
        """The sums of the blocks of a section, parity behind data; None for those of which both
        copies of their page are damaged.
        """
        found = self._known.get(section.start)
        if found is None:
            found = []
            for page in range(section.pages):
                places = (section.at + page * BLOCK, section.copy_at + page * BLOCK)
                found += next(filter(None, map(self._page, places)), [None] * SUMS)
            if len(self._known) >= _SECTIONS:
                self._known.clear()
            self._known[section.start] = found
        return found

    def _page(self, at: int) -> tuple[int, ...]:
        """The sums of a page; none where it is damaged."""
        page = memoryview(bytearray(BLOCK))
        good = _read(self._parity, at, page)
        *sums, check = _PAGE.unpack(page)
        return tuple(sums) if good and kernels.xxh3(page[:-8]) == check else ()

    def _solve(
        self, section: ParitySection, row: int, count: int, bad: frozenset[int]
    ) -> dict[int, memoryview]:
        """The lost data blocks of codewords `row` to `row + count`, by their number in the section.
        `bad` are blocks that are known to be damaged, whatever can be said of their sums.
        """
        size, restored = count * BLOCK, dict[int, memoryview]()
        with scratch((section.data + section.parity) * size) as memory:
            lost = self._codewords(section, row, memory, bad)
            columns = [memory[at : at + size] for at in range(0, len(memory), size)]
            for gone, group in itertools.groupby(range(count), lambda i: frozenset(lost[i])):
                rows = list(group)
                start, end = rows[0] * BLOCK, (rows[-1] + 1) * BLOCK
                repair = Repair(section.data, section.parity, gone)
                blocks = {number: columns[number][start:end] for number in repair.needed}
                for column, found in repair.restore_data(blocks).items():
                    for i in rows:
                        at = i * BLOCK - start
                        block = column * section.rows + row + i
                        restored[block] = memoryview(found)[at : at + BLOCK]
                        self._require(section, block, restored[block])
        return restored

    def _codewords(
        self, section: ParitySection, row: int, memory: memoryview, bad: frozenset[int]
    ) -> list[set[int]]:
        """Fills `memory` with the blocks of the codewords from `row` on, a run of bytes for each
        column; which are lost of each.
        """
        size = len(memory) // (section.data + section.parity)
        count = size // BLOCK
        lost: list[set[int]] = [set() for _ in range(count)]
        for column in range(section.data + section.parity):
            run = memory[column * size : (column + 1) * size]
            if column < section.data:
                gone = self._read_payload(section, column * section.rows + row, run)
            else:
                at = ((column - section.data) * section.rows + row) * BLOCK
                gone = _unreadable(self._parity, section.parity_at + at, run)
            for i in gone:
                lost[i].add(column)
        values = list(sums_of(memory))
        known, blocks, step = self._sums(section), section.blocks, section.rows
        for i in range(count):
            right = [*known[row + i : blocks : step]]
            right += [None] * (section.data - len(right))  # behind the end, zeros as they should be
            parity = blocks + row + i
            right += known[parity : parity + section.parity * step : step]
            found = enumerate(zip(right, values[i::count], strict=True))
            lost[i] |= {
                column for column, (one, other) in found if one is not None and one != other
            }
        for block in bad:
            column, at = divmod(block, step)
            if row <= at < row + count:
                lost[at - row].add(column)
        return lost

    def _require(self, section: ParitySection, block: int, found: memoryview) -> None:
        known = self._sums(section)[block]
        if known is not None and [known] != list(sums_of(found)):
            raise BeyondRepairError("parity restores other bytes than it was made of")


def _runs(rows: list[int]) -> Iterator[tuple[int, int]]:
    """Runs of neighbours among sorted numbers: the first of each, and how many."""
    start = 0
    for i in range(1, len(rows) + 1):
        if i == len(rows) or rows[i] != rows[i - 1] + 1 or i - start == _TOGETHER:
            yield rows[start], i - start
            start = i


def _unreadable(source: Readable, offset: int, out: memoryview) -> Collection[int]:
    """Fills `out`; which of its blocks cannot be read, counted from 0. They become zeros."""
    if _read(source, offset, out):
        return ()
    gone = []
    for at in range(0, len(out), BLOCK):
        block = out[at : at + BLOCK]
        if not _read(source, offset + at, block):
            block[:] = bytes(len(block))
            gone.append(at // BLOCK)
    return gone


def _expect(source: Readable, offset: int, length: int) -> None:
    if isinstance(source, StoredFile):
        source.expect(offset, length)


def _read(source: Readable, offset: int, out: memoryview) -> bool:
    """Fills `out`; False where the disk cannot."""
    if not out:
        return True
    try:
        source.readinto(offset, out)
    except (StorageError, CorruptError):
        return False
    return True
