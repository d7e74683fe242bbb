"""docs/format/parity.md, part I, as a program: slow and clear, the standard library alone."""

from collections.abc import Mapping, Sequence


def product(x: int, y: int) -> int:
    """In GF(2^8) with the polynomial 0x11b: long multiplication without carries."""
    total = 0
    for bit in range(8):
        if y >> bit & 1:
            total ^= x << bit
    for bit in range(14, 7, -1):
        if total >> bit & 1:
            total ^= 0x11B << (bit - 8)
    return total


def inverse(x: int) -> int:
    return next(y for y in range(1, 256) if product(x, y) == 1)


PRODUCTS = [bytes(product(x, y) for y in range(256)) for x in range(256)]
INVERSES = [0, *(inverse(x) for x in range(1, 256))]


def factor(parity: int, data: int) -> int:
    return INVERSES[(255 - parity) ^ data]


def times(block: bytes, number: int) -> bytes:
    return bytes(block).translate(PRODUCTS[number])


def plus(one: bytes, other: bytes) -> bytes:
    total = int.from_bytes(one, "big") ^ int.from_bytes(other, "big")
    return total.to_bytes(len(one), "big")


def encode(data: Sequence[bytes], parity: int) -> list[bytes]:
    """The parity blocks of data blocks of one length."""
    blocks = []
    for i in range(parity):
        total = bytes(len(data[0]))
        for j, block in enumerate(data):
            total = plus(total, times(block, factor(i, j)))
        blocks.append(total)
    return blocks


def solve(data: int, blocks: Mapping[int, bytes]) -> list[bytes]:
    """All data blocks, from any `data` blocks by number: Gauss and Jordan's elimination."""
    rows = []
    for number, block in sorted(blocks.items())[:data]:
        if number < data:
            left = [int(number == j) for j in range(data)]
        else:
            left = [factor(number - data, j) for j in range(data)]
        rows.append((left, bytes(block)))
    for column in range(data):
        pivot = next(i for i in range(column, data) if rows[i][0][column])
        rows[column], rows[pivot] = rows[pivot], rows[column]
        by = INVERSES[rows[column][0][column]]
        left, block = rows[column]
        rows[column] = ([PRODUCTS[by][x] for x in left], times(block, by))
        for i, (other, rest) in enumerate(rows):
            if i != column and other[column]:
                by = other[column]
                taken = [PRODUCTS[by][x] for x in rows[column][0]]
                left = [x ^ y for x, y in zip(other, taken, strict=True)]
                rows[i] = (left, plus(rest, times(rows[column][1], by)))
    return [block for _, block in rows]
