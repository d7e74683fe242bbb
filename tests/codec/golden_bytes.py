"""Bytes for golden capsules, from integers alone: no float and no library decides a byte."""

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Final

from outlast.codec.claims import BLOCKS


def integers(seed: int) -> Iterator[int]:
    """32 bits each: xorshift, G. Marsaglia, 2003."""
    x = seed * 2654435761 % (1 << 32) or 1
    while True:
        x ^= x << 13 & 0xFFFFFFFF
        x ^= x >> 17
        x ^= x << 5 & 0xFFFFFFFF
        yield x


def noise(seed: int, size: int) -> bytes:
    return bytes(x >> 24 for x in islice(integers(seed), size))


def skewed(seed: int, size: int) -> bytes:
    """Small bytes are likelier: the number of leading zeros of two random numbers, joined."""
    source = integers(seed)
    return bytes(
        (32 - x.bit_length()) * 3 ^ (y & 3)
        for x, y in islice(zip(source, source, strict=False), size)
    )


def floats(seed: int, count: int, *, width: int, shift: int, top: int) -> bytes:
    """Any fraction and sign; exponents that fall off from `top` downwards, as those of weights."""
    ones, out = (1 << 8 * width) - 1, []
    for x, y in islice(zip(integers(seed), integers(seed + 1), strict=False), count):
        exponent = max(0, top - (33 - x.bit_length()) // 2)
        fraction = y & (1 << shift) - 1
        out.append((x & 1) << (8 * width - 1) | exponent << shift | fraction & ones)
    return b"".join(number.to_bytes(width, "little") for number in out)


_FLOATS: Final[dict[str, Callable[[int, int], bytes]]] = {
    "BF16": lambda seed, count: floats(seed, count, width=2, shift=7, top=123),
    "F16": lambda seed, count: floats(seed, count, width=2, shift=10, top=11),
    "F32": lambda seed, count: floats(seed, count, width=4, shift=23, top=123),
    "F8_E4M3": lambda seed, count: floats(seed, count, width=1, shift=3, top=9),
    "F8_E5M2": lambda seed, count: floats(seed, count, width=1, shift=2, top=15),
}


def filled(dtype: str, shape: tuple[int, ...], seed: int) -> bytes:
    count = 1
    for length in shape:
        count *= length
    block, size = BLOCKS[dtype]
    if dtype in _FLOATS:
        return _FLOATS[dtype](seed, count)
    return skewed(seed, count // block * size)


def tuned(raw: bytes, width: int, seed: int, every: int = 1) -> bytes:
    """Numbers moved by a few steps as integers, now and then by many; one in `every` only."""
    out, source = bytearray(raw), integers(seed)
    for at in range(0, len(raw) - width + 1, width * every):
        x = next(source)
        steps = x >> 8 if x % 61 == 0 else (32 - x.bit_length()) * 2
        moved = int.from_bytes(out[at : at + width], "little") + (steps if x & 2 else -steps)
        out[at : at + width] = (moved % (1 << 8 * width)).to_bytes(width, "little")
    return bytes(out)


def edited(raw: bytes, width: int, seed: int) -> bytes:
    """Every fourth leaf of 128 elements is moved."""
    out, leaf = bytearray(raw), 128 * width
    for at in range(0, len(raw), 4 * leaf):
        out[at : at + leaf] = tuned(raw[at : at + leaf], width, seed + at)
    return bytes(out)
