"""How the stream of a bundle is cut into parts, blocks and groups (docs/format/bundle.md, §2)."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from outlast.core.errors import MalformedError

MIN_BLOCK: Final = 1 << 12
MAX_BLOCK: Final = 1 << 20
"""Bytes."""
MAX_CODEWORD: Final = 255
"""Parts of a group, with its parity: symbols of a codeword over GF(256)."""
MAX_PARTS: Final = 100_000
"""Five digits of their names."""
MAX_ROWS: Final = 1 << 24
MAX_STREAM: Final = 1 << 56
_LEAST_BLOCKS: Final = 256
"""Of a stream, where blocks can be that small: zeros that fill up the contents and the last block
are then less than 1 % of it.
"""
HEADER_BYTES: Final = 128
SUM_BYTES: Final = 8


@dataclass(frozen=True, slots=True)
class PartLayout:
    """Bytes of a block, blocks of a full part, data parts of a full group and parity parts of each
    group. Raises :class:`MalformedError` where that is impossible.
    """

    block: int
    rows: int
    group: int
    parity: int

    def __post_init__(self) -> None:
        if not MIN_BLOCK <= self.block <= MAX_BLOCK or self.block & (self.block - 1):
            raise MalformedError(f"impossible block size of a bundle: {self.block}")
        if not 1 <= self.rows <= MAX_ROWS:
            raise MalformedError(f"impossible number of blocks in a part: {self.rows}")
        if self.group < 1 or self.parity < 0 or self.group + self.parity > MAX_CODEWORD:
            raise MalformedError(f"impossible groups of parts: {self.group} and {self.parity}")


@dataclass(frozen=True, slots=True)
class BlockPlace:
    """Where a block lies: its part, and its number in it, both from 0."""

    part: int
    row: int


@dataclass(frozen=True, slots=True)
class Geometry:
    """The parts of a stream of `stream` bytes in a layout."""

    layout: PartLayout
    stream: int

    def __post_init__(self) -> None:
        if not 0 <= self.stream <= MAX_STREAM or self.parts > MAX_PARTS:
            raise MalformedError(f"a bundle of {self.stream} bytes does not fit its layout")

    @property
    def blocks(self) -> int:
        return max(1, -(-self.stream // self.layout.block))

    @property
    def data_parts(self) -> int:
        return -(-self.blocks // self.layout.rows)

    @property
    def groups(self) -> int:
        return -(-self.data_parts // self.layout.group)

    @property
    def parts(self) -> int:
        """Data and parity parts together."""
        return self.data_parts + self.groups * self.layout.parity

    def is_parity(self, part: int) -> bool:
        return part >= self.data_parts

    def group_of(self, part: int) -> int:
        if self.is_parity(part):
            return (part - self.data_parts) // self.layout.parity
        return part // self.layout.group

    def data_of(self, group: int) -> range:
        """The data parts of a group, in the order of its codewords."""
        first = group * self.layout.group
        return range(first, min(first + self.layout.group, self.data_parts))

    def parity_of(self, group: int) -> range:
        first = self.data_parts + group * self.layout.parity
        return range(first, first + self.layout.parity)

    def rows_of(self, part: int) -> int:
        """Blocks in a part; a parity part has those of the first data part of its group."""
        if self.is_parity(part):
            part = self.data_of(self.group_of(part)).start
        return min(self.layout.rows, self.blocks - part * self.layout.rows)

    def part_size(self, part: int) -> int:
        """Bytes of the file of a part."""
        return 2 * HEADER_BYTES + self.rows_of(part) * (self.layout.block + SUM_BYTES)

    def frame_at(self, row: int) -> int:
        """Where the frame of a block begins in the file of its part."""
        return HEADER_BYTES + row * (self.layout.block + SUM_BYTES)

    def place(self, offset: int) -> BlockPlace:
        """The block that has the byte at `offset` of the stream."""
        return BlockPlace(*divmod(offset // self.layout.block, self.layout.rows))

    def offset(self, place: BlockPlace) -> int:
        """Where a block of a data part begins in the stream."""
        return (place.part * self.layout.rows + place.row) * self.layout.block

    def names(self) -> Iterator[str]:
        """The paths of all parts in a bundle, by number."""
        return map(self.name, range(self.parts))

    def name(self, part: int) -> str:
        return f"{'parity' if self.is_parity(part) else 'parts'}/{part:05}.olb"


def choose_layout(
    stream: int, *, part_size: int, parity_percent: float, least: int, smallest: int = MIN_BLOCK
) -> PartLayout:
    """The layout of a stream of about `stream` bytes. Files of at most `part_size` bytes; parity of
    at least `parity_percent` of the data; with parity, at least `least` data parts, so that a
    damaged tenth of the parts is not a large piece of one; blocks of at least `smallest` bytes.

    Raises :class:`ValueError` where no layout holds that.
    """
    wanted = least if parity_percent else 1
    fewest = max(wanted, _LEAST_BLOCKS)
    block = MAX_BLOCK
    room = part_size - 2 * HEADER_BYTES
    while block > smallest and (stream < fewest * block or room < block + SUM_BYTES):
        block //= 2
    fit = room // (block + SUM_BYTES)
    if fit < 1:
        raise ValueError(f"a part must have at least {block + SUM_BYTES + 2 * HEADER_BYTES} bytes")
    blocks = max(1, -(-stream // block))
    rows = max(1, min(fit, MAX_ROWS, blocks // wanted if blocks >= wanted else 1))
    parts = -(-blocks // rows)
    if not parity_percent:
        return PartLayout(block, rows, min(parts, MAX_CODEWORD), 0)
    most = int(MAX_CODEWORD / (1 + parity_percent / 100))
    while most + _share(most, parity_percent) > MAX_CODEWORD:
        most -= 1
    if most < 1:
        raise ValueError("more parity than that has no room in a group of parts")
    groups = -(-parts // most)
    group = -(-parts // groups)
    return PartLayout(block, rows, group, _share(group, parity_percent))


def _share(parts: int, percent: float) -> int:
    """Parity parts for so many data parts: of all the parts together, that percentage may go."""
    return max(1, -int(-(parts * percent) // (100 - percent)))
