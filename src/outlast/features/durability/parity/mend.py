"""Restores damaged pieces of a payload from its file of parity."""

import itertools
import struct
from collections.abc import Collection, Iterator, Sequence
from typing import Final

from outlast.codec import kernels
from outlast.codec.erasure import Repair
from outlast.codec.memory import Readable
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
        offset = number * PIECE
        size = min(PIECE, self.head.size - offset)
        if number < 0 or size <= 0:
            raise ValueError("no such piece in the payload")
        section = self.head.section_of(offset)
        out = bytearray(-(-size // BLOCK) * BLOCK)
        view, first = memoryview(out), (offset - section.start) // BLOCK
        intact = self._read_blocks(section, first, view)
        bad = [first + i for i, good in enumerate(intact) if not good]
        for row, count in _runs(sorted({block % section.rows for block in bad})):
            restored = self._solve(section, row, count, frozenset(bad))
            for block in bad:
                if block in restored:
                    at = (block - first) * BLOCK
                    view[at : at + BLOCK] = restored[block]
        view.release()
        del out[size:]
        return out

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
        columns, lost = self._codewords(section, row, count, bad)
        restored: dict[int, memoryview] = {}
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
        self, section: ParitySection, row: int, count: int, bad: frozenset[int]
    ) -> tuple[list[memoryview], list[set[int]]]:
        """The blocks of some codewords, a run of bytes for each column; and which are lost."""
        size, known = count * BLOCK, self._sums(section)
        memory = memoryview(bytearray((section.data + section.parity) * size))
        columns = [memory[at : at + size] for at in range(0, len(memory), size)]
        lost: list[set[int]] = [set() for _ in range(count)]
        for column, run in enumerate(columns):
            if column < section.data:
                first = column * section.rows + row
                gone = self._read_payload(section, first, run)
                known_here = known[first : min(first + count, section.blocks)]
            else:
                place = (column - section.data) * section.rows + row
                first = section.blocks + place
                gone = _unreadable(self._parity, section.parity_at + place * BLOCK, run)
                known_here = known[first : first + count]
            # Behind the end of a section are zeros, as they should be.
            for i, (right, value) in enumerate(zip(known_here, sums_of(run), strict=False)):
                if right not in {None, value} or i in gone or first + i in bad:
                    lost[i].add(column)
        return columns, lost

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


def _read(source: Readable, offset: int, out: memoryview) -> bool:
    """Fills `out`; False where the disk cannot."""
    if not out:
        return True
    try:
        source.readinto(offset, out)
    except (StorageError, CorruptError):
        return False
    return True
