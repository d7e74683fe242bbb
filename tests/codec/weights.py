"""Bytes for blocks of every kind: what weights look like, and what they may look like."""

import random
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from outlast.codec import kernels
from outlast.codec.format import BF16, F8_E4M3, F8_E5M2, F16, F32, SHAPES

KINDS: Final = tuple(SHAPES)
FLOATS: Final = (BF16, F16, F32, F8_E4M3, F8_E5M2)
# The lowest bit of the exponent, and its bits.
_EXPONENTS: Final = {BF16: (7, 8), F16: (10, 5), F32: (23, 8), F8_E4M3: (3, 4), F8_E5M2: (2, 5)}


@contextmanager
def path(name: str) -> Iterator[None]:
    """Has the kernels take this path."""
    before = kernels.use(name)
    try:
        yield
    finally:
        kernels.use(before)


def _elements(rng: random.Random, size: int, number: Callable[[random.Random], int]) -> bytes:
    """Elements of 1, 2, 4 or 8 bytes; of others, bytes."""
    width = size if size in {2, 4, 8} else 1
    ones = (1 << 8 * width) - 1
    count = size // width if size not in {1, 2, 4, 8} else 1
    return b"".join((number(rng) & ones).to_bytes(width, "little") for _ in range(count))


def _random(rng: random.Random, kind: int, count: int) -> bytes:
    return rng.randbytes(SHAPES[kind][0] * count)


def _constant(rng: random.Random, kind: int, count: int) -> bytes:
    return rng.randbytes(SHAPES[kind][0]) * count


def _special(
    fraction: Callable[[random.Random, int], int], *, full: bool, sign: int | None = None
) -> Callable[[random.Random, int, int], bytes]:
    """Floats with all bits of the exponent set, or none; what is no float is bytes of that."""

    def make(rng: random.Random, kind: int, count: int) -> bytes:
        size = SHAPES[kind][0]
        shift, bits = _EXPONENTS.get(kind, (4, 3))
        exponent = ((1 << bits) - 1 if full else 0) << shift

        def number(rng: random.Random) -> int:
            top = rng.randrange(2) if sign is None else sign
            return top << (shift + bits) | exponent | fraction(rng, (1 << shift) - 1)

        return b"".join(_elements(rng, size, number) for _ in range(count))

    return make


def _skewed(rng: random.Random, kind: int, count: int) -> bytes:
    """Gaussian weights of floats; of others, bytes that are mostly small."""
    size = SHAPES[kind][0]
    if kind in {BF16, F32}:
        numbers = (struct.pack("<f", rng.gauss(0, 0.05)) for _ in range(count))
        return b"".join(number[4 - size :] for number in numbers)
    if kind == F16:
        return b"".join(struct.pack("<e", rng.gauss(0, 0.05)) for _ in range(count))
    return bytes(min(255, int(rng.expovariate(0.3))) for _ in range(size * count))


def _few(rng: random.Random, kind: int, count: int) -> bytes:
    symbols = rng.randbytes(rng.randrange(2, 5))
    return bytes(rng.choice(symbols) for _ in range(SHAPES[kind][0] * count))


def _short(rng: random.Random, kind: int, count: int) -> bytes:
    """Runs of 128 elements with and without their lowest byte, and runs that repeat."""
    size = SHAPES[kind][0]
    data = bytearray(_skewed(rng, kind, count))
    for at in range(0, len(data), 128 * size):
        if rng.randrange(3):
            end = min(at + 128 * size, len(data))
            data[at:end:size] = bytes(len(range(at, end, size)))
    return bytes(data)


STYLES: Final[dict[str, Callable[[random.Random, int, int], bytes]]] = {
    "random": _random,
    "constant": _constant,
    "nan": _special(lambda rng, most: rng.randint(1, most), full=True),
    "infinite": _special(lambda _, __: 0, full=True),
    "negative zero": _special(lambda _, __: 0, full=False, sign=1),
    "zeros": _special(lambda _, __: 0, full=False),
    "denormal": _special(lambda rng, most: rng.randint(1, most), full=False),
    "skewed": _skewed,
    "few symbols": _few,
    "short leaves": _short,
}
"""What the elements of a block look like: (rng, kind, count) -> bytes."""


def _equal(_: random.Random, __: int, data: bytes) -> bytes:
    return data


def _few_changed(rng: random.Random, _: int, data: bytes) -> bytes:
    base = bytearray(data)
    for _ in range(1 + len(base) // 300):
        base[rng.randrange(len(base))] ^= rng.randrange(256)
    return bytes(base)


def _leaves_changed(rng: random.Random, kind: int, data: bytes) -> bytes:
    """Every third run of 128 elements is another."""
    base, step = bytearray(data), 128 * SHAPES[kind][0]
    for at in range(0, len(base), step):
        if not rng.randrange(3):
            end = min(at + step, len(base))
            base[at:end] = rng.randbytes(end - at)
    return bytes(base)


def _far(rng: random.Random, _: int, data: bytes) -> bytes:
    return rng.randbytes(len(data))


def _moved(rng: random.Random, kind: int, data: bytes, steps: Callable[[], int]) -> bytes:
    """Numbers moved up or down as integers: by as many units in the last place."""
    size = SHAPES[kind][0]
    width = size if size in {1, 2, 4, 8} else 2
    ones, base = (1 << 8 * width) - 1, bytearray(data)
    for at in range(0, len(base) - width + 1, width):
        number = int.from_bytes(base[at : at + width], "little")
        number = number + steps() * rng.choice((-1, 1)) & ones
        base[at : at + width] = number.to_bytes(width, "little")
    return bytes(base)


def _near(rng: random.Random, kind: int, data: bytes) -> bytes:
    return _moved(rng, kind, data, lambda: int(rng.expovariate(0.2)))


def _boundary(rng: random.Random, kind: int, data: bytes) -> bytes:
    """Around 127 and 255, the differences that just fit and just do not, and the largest."""
    steps = (0, 1, 126, 127, 128, 129, 254, 255, 256, 32767, 32768)
    return _moved(rng, kind, data, lambda: rng.choice(steps))


def _other_sign(rng: random.Random, kind: int, data: bytes) -> bytes:
    base, size = bytearray(data), SHAPES[kind][0]
    for at in range(size - 1, len(base), size):
        base[at] ^= 0x80 * rng.randrange(2)
    return bytes(base)


BASES: Final[dict[str, Callable[[random.Random, int, bytes], bytes | None]]] = {
    "none": lambda *_: None,
    "equal": _equal,
    "few changed": _few_changed,
    "leaves changed": _leaves_changed,
    "far": _far,
    "near": _near,
    "boundary": _boundary,
    "other sign": _other_sign,
}
"""How a base differs from the data: (rng, kind, data) -> base."""


def encode(kind: int, data: bytes, base: bytes | None = None) -> tuple[int, bytes]:
    """The tag and payload of a block."""
    out = bytearray(len(data))
    tag, length = kernels.encode_block(kernels.Workspace(), kind, data, base, out)
    return tag, bytes(out[:length])


def decode(kind: int, tag: int, payload: bytes, base: bytes | None, size: int) -> bytes:
    out = bytearray(size)
    kernels.decode_block(kernels.Workspace(), kind, tag, payload, base, out)
    return bytes(out)
