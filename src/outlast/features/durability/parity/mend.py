"""Restores damaged pieces of a payload from its file of parity."""

import itertools
from collections.abc import Iterator
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
    SUM,
    SUMS,
    ParityHead,
    Section,
)

_TOGETHER: Final = 16
"""Codewords that are restored at once, where neighbours are damaged: 16 MB of memory."""
_PAGES: Final = 256
"""Pages of sums in memory: those of three sections."""


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


class Mender:
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
        self._pages: dict[tuple[int, int], memoryview | None] = {}

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

    def _read_blocks(self, section: Section, first: int, out: memoryview) -> list[bool]:
        """Reads data blocks from `first` on; which of them are proved by their sums."""
        self._read_payload(section, first, out)
        found = zip(itertools.count(first), sums_of(out), strict=False)
        return [self._sum(section, block) == value for block, value in found]

    def _read_payload(self, section: Section, first: int, out: memoryview) -> list[bool]:
        """Fills `out` with data blocks, those that cannot be read and those behind the end with
        zeros; which could be read.
        """
        start, end = first * BLOCK, min(first * BLOCK + len(out), section.size)
        inside = max(0, end - start)
        out[inside:] = bytes(len(out) - inside)
        if _read(self._payload, section.start + start, out[:inside]):
            return [True] * (len(out) // BLOCK)
        return [
            _read(self._payload, section.start + start + at, out[at : min(at + BLOCK, inside)])
            for at in range(0, len(out), BLOCK)
        ]

    def _sum(self, section: Section, block: int) -> int | None:
        """The sum of a block of a section, parity behind data; None where both copies of
        its page are damaged.
        """
        number, place = divmod(block, SUMS)
        key = section.start, number
        if key not in self._pages:
            if len(self._pages) > _PAGES:
                self._pages.clear()
            places = (section.at + number * BLOCK, section.copy_at + number * BLOCK)
            self._pages[key] = next(filter(None, map(self._page, places)), None)
        found = self._pages[key]
        if found is None:
            return None
        return int.from_bytes(found[place * SUM : (place + 1) * SUM], "little")

    def _page(self, at: int) -> memoryview | None:
        page = memoryview(bytearray(BLOCK))
        good = _read(self._parity, at, page)
        check = int.from_bytes(page[-8:], "little")
        return page if good and kernels.xxh3(page[:-8]) == check else None

    def _solve(
        self, section: Section, row: int, count: int, bad: frozenset[int]
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
        self, section: Section, row: int, count: int, bad: frozenset[int]
    ) -> tuple[list[memoryview], list[set[int]]]:
        """The blocks of some codewords, a run of bytes for each column; and which are lost."""
        columns: list[memoryview] = []
        lost: list[set[int]] = [set() for _ in range(count)]
        for column in range(section.data + section.parity):
            run = memoryview(bytearray(count * BLOCK))
            columns.append(run)
            if column < section.data:
                first = column * section.rows + row
                there = self._read_payload(section, first, run)
            else:
                place = (column - section.data) * section.rows + row
                first = section.blocks + place
                there = [_read(self._parity, section.parity_at + place * BLOCK, run)] * count
            for i, value in enumerate(sums_of(run)):
                if column < section.data and first + i >= section.blocks:
                    continue  # behind the end of the section: zeros, as they should be
                known = self._sum(section, first + i)
                if not there[i] or first + i in bad or known not in {None, value}:
                    lost[i].add(column)
        return columns, lost

    def _require(self, section: Section, block: int, found: memoryview) -> None:
        known = self._sum(section, block)
        if known is not None and [known] != list(sums_of(found)):
            raise BeyondRepairError("parity restores other bytes than it was made of")


def _runs(rows: list[int]) -> Iterator[tuple[int, int]]:
    """Runs of neighbours among sorted numbers: the first of each, and how many."""
    start = 0
    for i in range(1, len(rows) + 1):
        if i == len(rows) or rows[i] != rows[i - 1] + 1 or i - start == _TOGETHER:
            yield rows[start], i - start
            start = i


def _read(source: Readable, offset: int, out: memoryview) -> bool:
    """Fills `out`; False where the disk cannot."""
    if not out:
        return True
    try:
        source.readinto(offset, out)
    except (StorageError, CorruptError):
        return False
    return True
