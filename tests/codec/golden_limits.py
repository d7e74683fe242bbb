"""The blobs of golden capsules that stand on both sides of what decides a form."""

from collections.abc import Callable, Sequence
from itertools import cycle, islice
from typing import Final

from outlast.codec import format as fmt
from tests.codec import files
from tests.codec.golden_bytes import filled, integers, noise, tuned
from tests.codec.reference.kinds import KINDS

_ONE = b"\x80\x3f"
_MANY = 262_144 + 300

_PLANES_AT_LIMIT: Final = ((1114, 2014), (1104, 2000))
"""Noisy bytes and all bytes of planes whose estimate just pays, and is one byte too long."""
_DIFFERENCES_AT_LIMIT: Final = ((434, 1662), (388, 1515))
"""Far numbers and all numbers of differences of n / 2 bytes, and of n / 2 + 1."""


def rare(seed: int, size: int, one_in: int) -> bytes:
    """Bytes of which one in so many is not 0."""
    out = bytearray(size)
    for i, x in enumerate(islice(integers(seed), size)):
        if x % one_in == 0:
            out[i] = x >> 24
    return bytes(out)


def numbers(source: Sequence[int], width: int) -> bytes:
    return b"".join(number.to_bytes(width, "little") for number in source)


# ---------------------------------------------------------------- number of states, of blocks


def lanes() -> bytes:
    """Planes of the most symbols that have 64 states, and of one more."""
    tensors = {}
    for count in (32_767, 32_768):
        tensors[f"F8_E4M3.{count}"] = ("F8_E4M3", (count,), rare(count, count, 50))
        words = bytes(2 * count - 2) + b"\x01\x02"
        tensors[f"U16.{count}"] = ("U16", (count,), words)
    return files.of_safetensors(tensors)


def long_numbers() -> bytes:
    """A block of bf16 numbers and a part of one."""
    low = rare(20, _MANY, 300)
    return b"".join(bytes((low[i], 0x3F if i % 7000 else 0xBE)) for i in range(_MANY))


def two_blocks() -> bytes:
    return files.of_safetensors({"w": ("BF16", (_MANY,), long_numbers())}, [b"gap"], pad=1)


def thin_two_blocks() -> bytes:
    """A run in each block is moved, and in the first nothing else."""
    raw = bytearray(long_numbers())
    for at in (200_000, 524_288 + 256):
        raw[at : at + 256] = tuned(bytes(raw[at : at + 256]), 2, at)
    return files.of_safetensors({"w": ("BF16", (_MANY + 4,), bytes(raw) + 4 * _ONE)})


# ---------------------------------------------------------------- what is compared with what


def aligned(*, fine: bool) -> bytes:
    """GGUF tensors of two dimensions, in leaves; `fine` ones have a row more."""
    tensors = {}
    for i, (dtype, columns, width) in enumerate((("Q8_0", 256, 34), ("Q4_K", 512, 144)), 30):
        rows = 12 + fine
        raw = bytearray(filled(dtype, (rows, columns), i))
        for at in range(0, len(raw) if fine else 0, 8 * width):
            raw[at + width - 1] ^= 1
        tensors[dtype] = (dtype, (rows, columns), bytes(raw))
    tensors["F16"] = ("F16", (9, 7), filled("F16", (9, 7), 32))
    tensors["empty in one base"] = ("I8", (4, 40), noise(33, 160))
    return files.of_gguf(tensors, b"end", alignment=64)


def matched(*, fine: bool) -> bytes:
    """Tensors with the bytes of the base's; the names say how else they differ."""
    raw = noise(34, 480)
    tensors = {
        "as it was": ("BF16", (4, 60), raw),
        "dtype of one kind": ("I16" if fine else "U16", (4, 60), raw),
        "dtype": ("F16" if fine else "BF16", (4, 60), raw),
        "inner dimension": ("F16", (8, 30) if fine else (4, 60), raw),
        "dimensions": ("F16", (240,) if fine else (4, 60), raw),
        "fewer rows": ("I16", (3, 60) if fine else (4, 60), raw[:360] if fine else raw),
        "more rows": ("I16", (5, 60) if fine else (4, 60), raw + raw[:120] if fine else raw),
        "unknown dtypes": ("F8_E8M0" if fine else "Q8_0", (7, 5), raw[:400] if fine else raw),
        "unknown, of other shapes": ("Q8_0", (7, 6) if fine else (7, 5), raw),
        "empty in one base": ("I8", (4, 40), noise(33, 160)) if fine else ("I8", (0, 40), b""),
    }
    return files.of_safetensors(tensors)


# ---------------------------------------------------------------- contexts


def _around_mean(windows: int, rest: int) -> tuple[bytes, bytes]:
    """Planes of high and low bytes of scales that differ from the mean by about a limit."""
    steps = cycle((-257, 257, -256, 256, -129, 129, -128, 128, -127, 127, -1, 1, 0, 255, -255, 0))
    found = [0x2E00 + step for step in islice(steps, 16 * windows + rest)]
    return bytes(number >> 8 for number in found), bytes(number & 255 for number in found)


def _logarithm(a: int) -> int:
    whole = a.bit_length() - 1
    return 1024 * whole + ((a << 10) >> whole) - 1024


def _around_zero(count: int, centre: int) -> list[bytes]:
    """Planes 0 to 5 of Q4_K or Q5_K: the first pair of each element stands at a limit."""
    halves: list[list[int]] = [[], [], [], []]
    scales, minima, source = bytearray(), bytearray(), integers(centre)
    limits = cycle((-257, -256, -129, -128, -1, 0, 127, 128, 255, 256))
    for limit in islice(limits, count):
        pairs = [(next(source) % 63 + 1, next(source) % 63 + 1) for _ in range(8)]
        scales += bytes(s for s, _ in pairs)
        minima += bytes(m for _, m in pairs)
        s, m = pairs[0]
        least = 0x1800 + limit + centre - _logarithm(m) + _logarithm(s)
        for plane, byte in zip(halves, (0x18, 0, least >> 8, least & 255), strict=True):
            plane.append(byte)
    return [*map(bytes, halves), bytes(scales), bytes(minima)]


def _in_contexts(number: int, planes: list[bytes], count: int) -> bytes:
    """Weights are all the same in a context, but in context 3: parts are short."""
    kind, source = KINDS[number], integers(number)
    assert kind.contexts is not None
    weights = bytearray()
    for context in kind.contexts(planes, count):
        for x in islice(source, kind.planes[-1].run):
            weights.append((0, 5, 9, x >> 28)[context])
    return kind.merge([*planes, bytes(weights)], count)


def contexts() -> bytes:
    count = 20
    scales = bytes(islice(cycle((0, 31, 32, 63, 64, 95, 96, 127, 128, 160, 161, 225)), 16 * count))
    planes = {
        "Q4_0": (fmt.Q4_0, 32, 51, [*_around_mean(3, 3)]),
        "Q4_K": (fmt.Q4_K, 256, count, _around_zero(count, 2977)),
        "Q5_K": (fmt.Q5_K, 256, count, _around_zero(count, 4048)),
        "Q6_K": (fmt.Q6_K, 256, count, [bytes(count), bytes(count), scales]),
    }
    return files.of_gguf(
        {
            dtype: (dtype, (elements, weights), _in_contexts(kind, found, elements))
            for dtype, (kind, weights, elements, found) in planes.items()
        }
    )


def eights(*, fine: bool) -> bytes:
    """fp8 numbers that move the more the smaller they are, and the largest not at all."""
    tensors = {}
    for dtype, shift, mask, top in (("F8_E4M3", 3, 15, 9), ("F8_E5M2", 2, 31, 15)):
        raw = bytearray(filled(dtype, (4001,), 41))
        for i, x in enumerate(islice(integers(42), len(raw) if fine else 0)):
            context = top - (raw[i] >> shift & mask)
            raw[i] = (raw[i] + (0, 1, x >> 30, x >> 28)[min(3, context)]) % 256
        tensors[dtype] = (dtype, (4001,), bytes(raw))
    return files.of_safetensors(tensors)


# ---------------------------------------------------------------- limits of section 15 and 16


def in_leaves(count: int) -> bytes:
    """So many leaves of fp32 numbers, of which two have no lowest byte."""
    raw = bytearray(b"\x01\x00\x80\x3f" * 128 * count)
    for leaf in (5, count - 1):
        raw[512 * leaf : 512 * (leaf + 1)] = b"\x00\x00\x80\x3f" * 128
    return bytes(raw)


def noisy(some: int, size: int) -> bytes:
    return noise(some, some) + bytes(size - some)


def limits() -> bytes:
    tensors: dict[str, tuple[str, tuple[int, ...], bytes]] = {}
    for leaves in (128, 129):
        tensors[f"one leaf in 64 of {leaves}"] = ("F32", (leaves, 128), in_leaves(leaves))
    for some, size in _PLANES_AT_LIMIT:
        words = b"".join(bytes((0, byte)) for byte in noisy(some, size))
        tensors[f"plane {some}"] = ("U16", (size,), words)
    tensors.update(with_bases(fine=False))
    return files.of_safetensors(tensors)


def with_bases(*, fine: bool) -> files.Tensors:
    tensors: dict[str, tuple[str, tuple[int, ...], bytes]] = {}
    for leaves in (16, 17):
        raw = bytearray(_ONE * 128 * leaves)
        if fine:
            raw[512:] = tuned(bytes(raw[512:]), 2, leaves)
        tensors[f"one leaf in 8 of {leaves}"] = ("BF16", (leaves, 128), bytes(raw))
    for large in (9, 10):
        raw = bytearray(_ONE * 640)
        raw[: 2 * large] = b"\x80\x40" * large
        if fine:
            raw[::2] = b"\x81" * 640
        tensors[f"{large} large of 640"] = ("BF16", (640,), bytes(raw))
    for far, size in _DIFFERENCES_AT_LIMIT:
        raw = bytearray((b"\x81\x3f" if fine else _ONE) * size)
        if not fine:
            raw[: 2 * far] = b"".join(
                numbers([0x4000 + (x >> 20)], 2) for x in islice(integers(far), far)
            )
        tensors[f"half {far}"] = ("BF16", (size,), bytes(raw))
    return tensors


BLOBS: Final[dict[str, Callable[[], bytes]]] = {
    "lanes": lanes,
    "bf16-two-blocks": two_blocks,
    "thin-two-blocks": thin_two_blocks,
    "aligned": lambda: aligned(fine=False),
    "thin-aligned": lambda: aligned(fine=True),
    "matched": lambda: matched(fine=False),
    "thin-matched": lambda: matched(fine=True),
    "contexts": contexts,
    "f8-parts": lambda: eights(fine=False),
    "thin-f8-parts": lambda: eights(fine=True),
    "limits": limits,
    "thin-limits": lambda: files.of_safetensors(with_bases(fine=True)),
}

BASES: Final = {
    "thin-two-blocks": ("bf16-two-blocks",),
    "thin-aligned": ("aligned",),
    "thin-matched": ("matched", "aligned", "matched"),
    "thin-f8-parts": ("f8-parts",),
    "thin-limits": ("limits",),
}
