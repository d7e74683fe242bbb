"""The kinds of elements in a capsule and how their planes are put together, in plain Python."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Plane:
    """`symbols` an element; a plane of `whole` bytes may be raw; `run` symbols share a context, or
    0 where there are none.
    """

    symbols: int = 1
    whole: bool = True
    run: int = 0


Merge = Callable[[Sequence[bytes], int], bytes]
Contexts = Callable[[Sequence[bytes], int], list[int]]


@dataclass(frozen=True, slots=True)
class Kind:
    """`element` in bytes, `leaf` and `block` in elements. `exponent` is (lowest bit, bits) of a
    float's exponent, for the kinds that have differences.
    """

    element: int
    leaf: int
    block: int
    planes: tuple[Plane, ...]
    merge: Merge
    contexts: Contexts | None = None
    exponent: tuple[int, int] | None = None


# ---------------------------------------------------------------- elements from planes


def _merge_words(planes: Sequence[bytes], count: int) -> bytes:
    """The most significant byte first."""
    width = len(planes)
    out = bytearray(width * count)
    for p, plane in enumerate(planes):
        out[width - 1 - p :: width] = plane
    return bytes(out)


def _merge_floats(planes: Sequence[bytes], count: int) -> bytes:
    """Exponent of 8 bits; sign and upper 7 bits of the fraction; what is left of it."""
    pairs = list(zip(planes[0], planes[1], strict=True))
    high = bytes(rest & 0x80 | exponent >> 1 for exponent, rest in pairs)
    second = bytes((exponent & 1) << 7 | rest & 0x7F for exponent, rest in pairs)
    return _merge_words([high, second, *planes[2:]], count)


def _halves(planes: Sequence[bytes], number: int, b: int) -> bytes:
    """fp16 numbers of element `b`: each has a plane of high and one of low bytes."""
    return b"".join(bytes((planes[2 * h + 1][b], planes[2 * h][b])) for h in range(number))


def _merge_legacy(halves: int, *, fifth: bool) -> Merge:
    def merge(planes: Sequence[bytes], count: int) -> bytes:
        out = bytearray()
        for b in range(count):
            q = planes[-1][32 * b : 32 * b + 32]
            out += _halves(planes, halves, b)
            if fifth:
                out += sum((q[i] >> 4 & 1) << i for i in range(32)).to_bytes(4, "little")
            out += bytes(q[i] & 15 | (q[i + 16] & 15) << 4 for i in range(16))
        return bytes(out)

    return merge


def _merge_q8_0(planes: Sequence[bytes], count: int) -> bytes:
    return b"".join(_halves(planes, 1, b) + planes[2][32 * b : 32 * b + 32] for b in range(count))


def _merge_k(*, fifth: bool) -> Merge:
    def merge(planes: Sequence[bytes], count: int) -> bytes:
        out = bytearray()
        for b in range(count):
            scales = [s & 63 for s in planes[4][8 * b : 8 * b + 8]]
            minima = [m & 63 for m in planes[5][8 * b : 8 * b + 8]]
            q = planes[6][256 * b : 256 * b + 256]
            out += _halves(planes, 2, b)
            out += bytes(scales[j] | scales[j + 4] >> 4 << 6 for j in range(4))
            out += bytes(minima[j] | minima[j + 4] >> 4 << 6 for j in range(4))
            out += bytes(scales[j + 4] & 15 | (minima[j + 4] & 15) << 4 for j in range(4))
            if fifth:
                out += bytes(
                    sum((q[32 * k + i] >> 4 & 1) << k for k in range(8)) for i in range(32)
                )
            for k in range(0, 256, 64):
                out += bytes(q[k + i] & 15 | (q[k + 32 + i] & 15) << 4 for i in range(32))
        return bytes(out)

    return merge


def _merge_q6_k(planes: Sequence[bytes], count: int) -> bytes:
    out = bytearray()
    for b in range(count):
        low, high = bytearray(), bytearray()
        for half in (256 * b, 256 * b + 128):
            q = planes[3][half : half + 128]
            low += bytes(q[i] & 15 | (q[64 + i] & 15) << 4 for i in range(64))
            high += bytes(
                sum((q[32 * k + i] >> 4 & 3) << (2 * k) for k in range(4)) for i in range(32)
            )
        out += low + high + planes[2][16 * b : 16 * b + 16] + _halves(planes, 1, b)
    return bytes(out)


# ---------------------------------------------------------------- contexts of quantised weights


def _half_bits(planes: Sequence[bytes], number: int, b: int) -> int:
    """A half without its sign, as an integer."""
    return (planes[2 * number][b] & 0x7F) << 8 | planes[2 * number + 1][b]


def _quarter(difference: int) -> int:
    return max(0, min(3, (difference + 256) // 128))


def _by_scale(planes: Sequence[bytes], count: int) -> list[int]:
    contexts = []
    for begin in range(0, count, 16):
        bits = [_half_bits(planes, 0, b) for b in range(begin, min(count, begin + 16))]
        mean = sum(bits) // len(bits)
        contexts += [_quarter(each - mean) for each in bits]
    return contexts


def _logarithm(value: int) -> int:
    whole = value.bit_length() - 1
    return (whole << 10) + (value << 10 >> whole) - 1024


def _by_zero(centre: int) -> Contexts:
    def contexts_of(planes: Sequence[bytes], count: int) -> list[int]:
        contexts = []
        for b in range(count):
            ratio = _half_bits(planes, 1, b) - _half_bits(planes, 0, b)
            for j in range(8 * b, 8 * b + 8):
                s, m = planes[4][j] & 63, planes[5][j] & 63
                zero = ratio + _logarithm(m) - _logarithm(s) if s and m else None
                contexts.append(0 if zero is None else _quarter(zero - centre))
        return contexts

    return contexts_of


def _by_magnitude(planes: Sequence[bytes], count: int) -> list[int]:
    return [min(3, (s if s < 128 else 256 - s) >> 5) for s in planes[2][: 16 * count]]


# ---------------------------------------------------------------- kinds


def _words(
    width: int, exponent: tuple[int, int] | None = None, merge: Merge = _merge_words
) -> Kind:
    return Kind(width, 128, 1 << 18, (Plane(),) * width, merge, None, exponent)


def _legacy(element: int, halves: int, *, fifth: bool = False) -> Kind:
    planes = (*(Plane(),) * 2 * halves, Plane(32, whole=False, run=32))
    return Kind(element, 4, 1 << 15, planes, _merge_legacy(halves, fifth=fifth), _by_scale)


def _k(element: int, centre: int, *, fifth: bool) -> Kind:
    small = Plane(8, whole=False)
    planes = (*(Plane(),) * 4, small, small, Plane(256, whole=False, run=32))
    return Kind(element, 1, 1 << 12, planes, _merge_k(fifth=fifth), _by_zero(centre))


_Q8_0 = (Plane(), Plane(), Plane(32, run=32))
_Q6_K = (Plane(), Plane(), Plane(16), Plane(256, whole=False, run=16))
KINDS: Final = {
    0: _words(1),
    1: _words(2, (7, 8), _merge_floats),
    2: _words(2, (10, 5)),
    3: _words(4, (23, 8), _merge_floats),
    4: _words(1, (3, 4)),
    5: _words(1, (2, 5)),
    6: _words(2),
    7: _words(4),
    8: _words(8),
    16: Kind(34, 4, 1 << 15, _Q8_0, _merge_q8_0, _by_scale),
    17: _legacy(18, 1),
    18: _legacy(20, 2),
    19: _legacy(22, 1, fifth=True),
    20: _legacy(24, 2, fifth=True),
    21: _k(144, 2977, fifth=False),
    22: _k(176, 4048, fifth=True),
    23: Kind(210, 1, 1 << 12, _Q6_K, _merge_q6_k, _by_magnitude),
}
