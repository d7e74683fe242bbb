"""Reed-Solomon: parity blocks from which lost blocks of a codeword are computed again.

A *codeword* is up to 255 blocks of one length: `data` blocks, numbered from 0, and `parity` blocks
behind them. Any `data` of its blocks give the others. The code is systematic (data blocks stay as
they are) with a Cauchy matrix over GF(2^8); docs/format/parity.md has its definition and test
vectors. It repairs what is known to be lost: finding out which blocks are damaged needs sums of
them.

Source of the method: J. Blömer et al., "An XOR-based erasure-resilient coding scheme", 1995; the
inverse of a Cauchy matrix after D. Knuth, The Art of Computer Programming, vol. 1, 1.2.3, ex. 41.
"""

from collections.abc import Collection, Mapping, Sequence
from functools import reduce
from typing import Final

from typing_extensions import Buffer

from outlast.codec import kernels
from outlast.core.errors import BeyondRepairError

MAX_BLOCKS: Final = 255
"""Blocks of a codeword, data and parity together."""

TOGETHER: Final = 8
"""So many blocks at once are encoded fastest: parity is read and written once for all of them."""

_POLYNOMIAL: Final = 0x11B


def _powers() -> bytes:
    """Those of the generator 3, twice over, so that sums of two logarithms need no modulo."""
    powers, x = bytearray(), 1
    for _ in range(255):
        powers.append(x)
        x ^= x << 1
        if x > 255:
            x ^= _POLYNOMIAL
    return bytes(powers + powers)


_POWER: Final = _powers()
_LOG: Final = bytes([0, *(_POWER.index(x) for x in range(1, 256))])


def _product(factors: Sequence[int]) -> int:
    """Of numbers that are not 0."""
    return reduce(lambda x, y: _POWER[_LOG[x] + _LOG[y]], factors, 1)


def _inverse(x: int) -> int:
    return _POWER[255 - _LOG[x]]


def factor(parity: int, data: int) -> int:
    """What data block `data` is multiplied with on its way into parity block `parity`, both counted
    from 0. It depends on neither how many there are of them.
    """
    return _inverse((255 - parity) ^ data)


def _inverse_matrix(rows: Sequence[int], columns: Sequence[int]) -> bytes:
    """Of the Cauchy matrix 1/(x + y); `rows` are its x, `columns` its y. Row-major."""
    above = [_product([x ^ y for y in columns]) for x in rows]
    beside = [_product([x ^ y for x in rows]) for y in columns]
    own_row = [_product([x ^ other for other in rows if other != x]) for x in rows]
    own_column = [_product([y ^ other for other in columns if other != y]) for y in columns]
    return bytes(
        _product(
            [
                above[i],
                beside[j],
                _inverse(_product([rows[i] ^ columns[j], own_row[i], own_column[j]])),
            ]
        )
        for j in range(len(columns))
        for i in range(len(rows))
    )


def check_shape(data: int, parity: int) -> None:
    """Raises ValueError unless there is a codeword of `data` and `parity` blocks."""
    if data < 1 or parity < 0 or data + parity > MAX_BLOCKS:
        raise ValueError(f"no codeword has {data} data and {parity} parity blocks")


class Encoder:
    """The parity of one codeword, from its data blocks in any order, one at a time or several.

    `blocks` are the parity blocks: zeros at first, right when every data block was added once. How
    many data blocks there will be need not be known. Memory: parity times length bytes. Not for two
    threads at once; the GIL is free while it computes.
    """

    def __init__(self, parity: int, length: int) -> None:
        check_shape(1, parity)
        self.blocks = [bytearray(length) for _ in range(parity)]

    def add(self, first: int, blocks: Sequence[Buffer], at: int = 0) -> None:
        """Adds data blocks `first`, `first + 1`, …; or what they have from byte `at` on.

        `blocks` are of one length each. What of a data block is never added counts as zeros.
        Raises ValueError if a block has no place in the codeword.
        """
        if not blocks or not self.blocks:
            return
        check_shape(first + len(blocks), len(self.blocks))
        end = at + memoryview(blocks[0]).nbytes
        if at < 0 or end > len(self.blocks[0]):
            raise ValueError("a data block is longer than its codeword")
        numbers = range(first, first + len(blocks))
        factors = bytes(factor(i, j) for i in range(len(self.blocks)) for j in numbers)
        parts: list[Buffer] = [memoryview(block)[at:end] for block in self.blocks]
        kernels.combine(factors, list(blocks), parts)

    def clear(self) -> None:
        """Begins the next codeword, in the same memory."""
        zeros = bytes(len(self.blocks[0])) if self.blocks else b""
        for block in self.blocks:
            block[:] = zeros


class Repair:
    """Computes lost blocks of codewords that all lost the same ones.

    `lost` are numbers of blocks: below `data` those of data, from there on those of parity.
    `needed` are the numbers of those that :meth:`restore` asks for: all data that is there, and as
    many parity blocks as data was lost. Raises :class:`BeyondRepairError` where more blocks are
    lost than there is parity, ValueError for numbers that no block has.
    """

    def __init__(self, data: int, parity: int, lost: Collection[int]) -> None:
        check_shape(data, parity)
        gone = frozenset(lost)
        if any(not 0 <= number < data + parity for number in gone):
            raise ValueError("no such block in the codeword")
        if len(gone) > parity:
            raise BeyondRepairError(f"{len(gone)} blocks are lost, and {parity} can be repaired")
        self._data = [number for number in range(data) if number in gone]
        self._parity = [number - data for number in range(data, data + parity) if number in gone]
        self._present = [number for number in range(data) if number not in gone]
        there = [i for i in range(parity) if data + i not in gone]
        self._used = there[: len(self._data)]
        self._first_parity = data
        self._inverse = _inverse_matrix([255 - i for i in self._used], self._data)
        self.needed = (*self._present, *(data + i for i in self._used))

    def restore(self, blocks: Mapping[int, Buffer]) -> dict[int, bytearray]:
        """The lost blocks by number. `blocks` has at least the needed ones, all of one length,
        and they are right: a wrong one makes all that is restored wrong.
        """
        restored = self.restore_data(blocks)
        present = [*(blocks[number] for number in self._present), *restored.values()]
        length = memoryview(blocks[self.needed[0]]).nbytes
        parity = [bytearray(length) for _ in self._parity]
        _combine(self._parity, [*self._present, *self._data], present, parity)
        for i, block in zip(self._parity, parity, strict=True):
            restored[self._first_parity + i] = block
        return restored

    def restore_data(self, blocks: Mapping[int, Buffer]) -> dict[int, bytearray]:
        """:meth:`restore` of the lost data blocks alone."""
        length = memoryview(blocks[self.needed[0]]).nbytes
        present = [blocks[number] for number in self._present]
        # What the lost data added to the parity: the parity without what the others added.
        rest = [bytearray(blocks[self._first_parity + i]) for i in self._used]
        _combine(self._used, self._present, present, rest)
        data = [bytearray(length) for _ in self._data]
        kernels.combine(self._inverse, list(rest), list(data))
        return dict(zip(self._data, data, strict=True))


def _combine(
    rows: Sequence[int],
    columns: Sequence[int],
    sources: Sequence[Buffer],
    targets: Sequence[bytearray],
) -> None:
    """Adds the data blocks `columns` to the parity blocks `rows`."""
    factors = bytes(factor(i, j) for i in rows for j in columns)
    kernels.combine(factors, list(sources), list(targets))
