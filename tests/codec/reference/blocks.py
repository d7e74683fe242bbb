"""Blocks of a capsule, decoded in plain Python.

Follows docs/format/capsule.md section by section. Slow, and meant to be read.
"""

import struct
from collections.abc import Sequence
from typing import Final

from .kinds import Kind

LANES: Final = 64
LONG, LONG_LANES = 1 << 15, 128
LOW: Final = 1 << 16
SLOTS: Final = 1 << 12
STORED, PLANES, SAME, DIFFERENCE, LEAVES = range(5)
RAW, CONSTANT, RANS, PARTS = range(4)


class DamagedError(ValueError):
    """Bytes that no encoder makes."""


# ---------------------------------------------------------------- planes


class Cursor:
    """Walks through a payload; nothing is read before it is known to be there."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, length: int) -> bytes:
        if length > len(self._data) - self._at:
            raise DamagedError("the payload is cut short")
        self._at += length
        return self._data[self._at - length : self._at]

    def byte(self) -> int:
        return self.take(1)[0]

    def u32(self) -> int:
        return int.from_bytes(self.take(4), "little")

    def end(self) -> None:
        if self._at != len(self._data):
            raise DamagedError("the payload has bytes left")


def read_plane(cursor: Cursor, count: int, *, whole: bool = True) -> bytes:
    """`count` symbols of a plane or part that is raw, constant or coded."""
    return _read_coded(cursor, cursor.byte(), count, whole=whole)


def _read_coded(cursor: Cursor, coding: int, count: int, *, whole: bool) -> bytes:
    if coding == RAW and whole:
        return cursor.take(count)
    if coding == CONSTANT:
        return cursor.take(1) * count
    if coding == RANS:
        return _read_rans(cursor, count)
    raise DamagedError("a plane has a coding that it cannot have")


def read_in_contexts(
    cursor: Cursor, contexts: Sequence[int], run: int, *, whole: bool = True
) -> bytes:
    """A plane whose symbols i * run to (i + 1) * run have contexts[i]."""
    count = len(contexts) * run
    coding = cursor.byte()
    if coding != PARTS:
        return _read_coded(cursor, coding, count, whole=whole)
    parts = {}
    for context in sorted(set(contexts)):
        part = read_plane(cursor, contexts.count(context) * run, whole=whole)
        parts[context] = Cursor(part)
    return b"".join(parts[context].take(run) for context in contexts)


def _read_frequencies(cursor: Cursor) -> tuple[int, list[int]]:
    """The first symbol, and the frequencies from it on."""
    first, last = cursor.take(2)
    count = last - first + 1
    if count < 2:
        raise DamagedError("a frequency table has no range")
    packed = int.from_bytes(cursor.take((count * 12 + 7) // 8), "little")
    frequencies = [packed >> (12 * i) & 0xFFF for i in range(count)]
    if packed >> (12 * count) or sum(frequencies) != SLOTS:
        raise DamagedError("frequencies do not add up")
    if not frequencies[0] or not frequencies[-1]:
        raise DamagedError("a frequency table has an empty end")
    return first, frequencies


def _read_rans(cursor: Cursor, count: int) -> bytes:
    first, frequencies = _read_frequencies(cursor)
    slots = []  # (symbol, frequency, slot - start)
    for symbol, frequency in enumerate(frequencies, first):
        slots += [(symbol, frequency, offset) for offset in range(frequency)]
    length = cursor.u32()
    lanes = LANES if count < LONG else LONG_LANES
    states = list(struct.unpack(f"<{lanes}I", cursor.take(4 * lanes)))
    words = Cursor(cursor.take(2 * length))
    out = bytearray(count)
    for i in range(count):
        state = states[i % lanes]
        out[i], frequency, offset = slots[state % SLOTS]
        state = state // SLOTS * frequency + offset
        if state < LOW:
            state = state << 16 | int.from_bytes(words.take(2), "little")
        states[i % lanes] = state
    words.end()
    if any(state != LOW for state in states):
        raise DamagedError("a coded plane ends in a wrong state")
    return bytes(out)


# ---------------------------------------------------------------- forms of a block


def decode_block(kind: Kind, tag: int, payload: bytes, base: bytes | None, size: int) -> bytes:
    """The `size` bytes of a block; `base` has as many, or is None. Raises :class:`DamagedError`."""
    if tag == LEAVES:
        return _decode_leaves(kind, payload, base, size)
    return _decode_group(kind, tag, payload, base, size)


def _decode_group(kind: Kind, tag: int, payload: bytes, base: bytes | None, size: int) -> bytes:
    cursor = Cursor(payload)
    if tag == STORED:
        out = cursor.take(size)
    elif tag == PLANES:
        out = _decode_planes(kind, cursor, size // kind.element)
    elif tag == SAME and base is not None:
        out = base
    elif tag == DIFFERENCE and base is not None and kind.exponent:
        out = _decode_difference(kind, cursor, base, kind.exponent)
    else:
        raise DamagedError("a block has a form that it cannot have")
    cursor.end()
    return out


def _decode_planes(kind: Kind, cursor: Cursor, count: int) -> bytes:
    planes: list[bytes] = []
    for plane in kind.planes:
        if kind.contexts and plane.run:
            contexts = kind.contexts(planes, count)
            planes.append(read_in_contexts(cursor, contexts, plane.run, whole=plane.whole))
        else:
            planes.append(read_plane(cursor, plane.symbols * count, whole=plane.whole))
    return kind.merge(planes, count)


def _decode_difference(kind: Kind, cursor: Cursor, base: bytes, exponent: tuple[int, int]) -> bytes:
    width, (shift, bits) = kind.element, exponent
    numbers = [int.from_bytes(base[i : i + width], "little") for i in range(0, len(base), width)]
    top = cursor.byte()
    mask = (1 << bits) - 1
    contexts = [max(0, min(7, top - (number >> shift & mask))) for number in numbers]
    if width == 2:
        differences = _read_sixteen(cursor, contexts)
    else:
        planes = [
            read_in_contexts(cursor, contexts, 1) if p < 3 else read_plane(cursor, len(numbers))
            for p in range(width)
        ]
        differences = [int.from_bytes(z, "big") for z in zip(*planes, strict=True)]
    return b"".join(
        _moved(number, z, 8 * width).to_bytes(width, "little")
        for number, z in zip(numbers, differences, strict=True)
    )


def _read_sixteen(cursor: Cursor, contexts: list[int]) -> list[int]:
    """Differences up to 254 are bytes; 255 stands for one that is written in full behind them."""
    differences: list[int] = list(read_in_contexts(cursor, contexts, 1))
    far = [i for i, z in enumerate(differences) if z == 255]
    if cursor.u32() != len(far):
        raise DamagedError("a difference has a wrong number of large ones")
    if far:
        high, low = read_plane(cursor, len(far)), read_plane(cursor, len(far))
        for i, h, z in zip(far, high, low, strict=True):
            differences[i] = h << 8 | z
    return differences


def _moved(number: int, z: int, bits: int) -> int:
    """The float that is `z`, a zigzagged number of units in the last place, from `number`."""
    sign, ones = 1 << (bits - 1), (1 << bits) - 1
    ordered = number ^ ones if number & sign else number | sign
    ordered = (ordered + (z >> 1 ^ -(z & 1))) & ones
    return ordered ^ sign if ordered & sign else ordered ^ ones


def _decode_leaves(kind: Kind, payload: bytes, base: bytes | None, size: int) -> bytes:
    step = kind.leaf * kind.element
    leaves = [range(at, min(at + step, size)) for at in range(0, size, step)]
    cursor = Cursor(payload)
    tags = cursor.take(2)
    lengths = [cursor.u32()]
    marks = int.from_bytes(cursor.take((len(leaves) + 7) // 8), "little")
    if marks >> len(leaves):
        raise DamagedError("a map of leaves has stray bits")
    lengths.append(len(payload) - 6 - (len(leaves) + 7) // 8 - lengths[0])
    out = bytearray(size)
    for group in (0, 1):
        mine = [leaf for i, leaf in enumerate(leaves) if marks >> i & 1 == group]
        if not mine or lengths[group] < 0:
            raise DamagedError("a group of leaves is empty or cut short")
        part = b"".join(base[leaf.start : leaf.stop] for leaf in mine) if base is not None else None
        decoded = Cursor(
            _decode_group(kind, tags[group], cursor.take(lengths[group]), part, sum(map(len, mine)))
        )
        for leaf in mine:
            out[leaf.start : leaf.stop] = decoded.take(len(leaf))
    return bytes(out)
