#!/usr/bin/env python3
"""Checks a bundle of models, and restores plain files from it. It needs Python 3.8 or later, and
nothing else: no package, no network. It changes nothing on the medium.

    python3 verify.py                       check everything
    python3 verify.py --quick               the parts' sha256, the contents and the manifests alone
    python3 verify.py --list                what the bundle holds
    python3 verify.py --restore FOLDER      write the files of all models to FOLDER
    python3 verify.py --restore FOLDER org/name     those of one
    python3 verify.py --program FOLDER      write install.sh and its wheels to FOLDER, repaired
    python3 verify.py --media /mnt/2 --media /mnt/3 further media of the same bundle
    python3 verify.py --id SHA256           refuse a bundle that has another id

Every fault is a line. Exit status: 0 all is well; 1 something is damaged, missing or not what it
should be; 2 usage; 3 there is damage, and parity restores all of it; 130 interrupted.

What is proven: the contents are those that the bundle's id names (a sha256), manifests and files
are those that the contents name (sha256 again). Who made the bundle is not proven: compare the id
with one that reached you by another way. Nor does this program prove itself: a copy from elsewhere
is worth more than the one on the medium. MANIFEST.md and index.html are checked by no program.

Of an encrypted bundle it is checked that each part is what was written, and that parity restores
what is damaged. What is in it shows only with the key: 'outlast import --identity FILE'.

The formats are bundle.md, capsule.md, manifest.md, names.md and erasure.md of outlast's documents,
docs/format. Sections below are in the order in which bytes go: sums, planes, elements, capsules,
contents, parts, checks, files, and the command.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import functools
import hashlib
import itertools
import json
import operator
import os
import re
import shutil
import stat
import struct
import sys
import time
import unicodedata
from array import array
from collections import Counter, OrderedDict, deque
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Sequence, Set, Tuple

MAX_CONTENTS = 64 << 20
MAX_DOCUMENT = 96 << 20  # bundle.json: the contents, and the sums of the parts
MAX_MANIFEST = 512 << 20
MAX_PARSED = 2_500_000  # objects and arrays of one document
MAX_PARTS = 100_000
MAX_ROWS = 1 << 24
MAX_STREAM = 1 << 56
MAX_FILE = 1 << 50
MAX_DIRECTORY = 1 << 27
MAX_SPANS = 1_000_000
MIN_CELL = 1 << 14
MAX_CHAIN = 2  # links of delta capsules
MAX_LINES = 1000  # faults that are printed; the others are counted
CHUNK = 1 << 20


class Bad(Exception):
    """Bytes that are not what they should be."""


class Lost(Exception):
    """Bytes that are missing, or damaged beyond repair."""


# ------------------------------------------------------------------ sums: XXH3-64 (capsule.md, 27)

M64 = (1 << 64) - 1
P1, P2, P3 = 0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9
P4, P5 = 0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5
Q1, Q2, Q3 = 0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D
R1, R2 = 0x165667919E3779F9, 0x9FB21C651E98DF25
SECRET = bytes.fromhex(
    "b8fe6c3923a44bbe7c01812cf721ad1cded46de9839097db7240a4a4b7b3671f"
    "cb79e64eccc0e578825ad07dccff7221b8084674f743248ee03590e6813a264c"
    "3c2852bb91c300cb88d0658b1b532ea371644897a20df94e3819ef46a9deacd8"
    "a8fa763fe39c343ff9dcbbc7c70b4f1d8a51e04bcdb45931c89f7ec9d9787364"
    "eac5ac8334d3ebc3c581a0fffa1363eb170ddd51b7f0da49d316552629d4689e"
    "2b16be587d47a1fc8ff8b8d17ad031ce45cb3a8f95160428afd7fbcabb4b407e"
)


def number(data: bytes, at: int = 0, width: int = 8) -> int:
    return int.from_bytes(data[at : at + width], "little")


KEYS = [number(SECRET, at) for at in range(185)]
PATTERN = b"".join(SECRET[at : at + 64] for at in range(0, 128, 8))


def numbers(code: str, data: bytes) -> array[int]:
    """Little-endian numbers: "H" has 2 bytes, "I" 4, "Q" 8."""
    found = array(code, bytes(data))
    if sys.byteorder == "big":
        found.byteswap()
    return found


def fold(a: int, b: int) -> int:
    product = a * b
    return (product ^ product >> 64) & M64


def last(h: int) -> int:
    h = ((h ^ h >> 37) * R1) & M64
    return h ^ h >> 32


def short(h: int) -> int:
    h = ((h ^ h >> 33) * P2) & M64
    h = ((h ^ h >> 29) * P3) & M64
    return h ^ h >> 32


def xxh3(data: bytes) -> int:
    length = len(data)
    if length > 240:
        return xxh3_long(data)

    def mix(i: int, j: int) -> int:
        return fold(number(data, i) ^ KEYS[j], number(data, i + 8) ^ KEYS[j + 8])

    if length > 128:
        t = last((length * P1 + sum(mix(16 * i, 16 * i) for i in range(8))) & M64)
        t += sum(mix(16 * i, 16 * (i - 8) + 3) for i in range(8, length // 16))
        return last((t + mix(length - 16, 119)) & M64)
    if length > 16:
        t = length * P1
        for i in range((length - 1) // 32 + 1):
            t += mix(16 * i, 32 * i) + mix(length - 16 * (i + 1), 32 * i + 16)
        return last(t & M64)
    if length > 8:
        a = number(data) ^ KEYS[24] ^ KEYS[32]
        b = number(data, length - 8) ^ KEYS[40] ^ KEYS[48]
        swapped = int.from_bytes(a.to_bytes(8, "little"), "big")
        return last((length + swapped + b + fold(a, b)) & M64)
    if length >= 4:
        h = (number(data, 0, 4) << 32) + number(data, length - 4, 4)
        h ^= KEYS[8] ^ KEYS[16]
        h ^= (h << 49 | h >> 15) & M64 ^ (h << 24 | h >> 40) & M64
        h = (h * R2) & M64
        h ^= (h >> 35) + length
        h = (h * R2) & M64
        return h ^ h >> 28
    if length:
        h = data[0] << 16 | data[length // 2] << 24 | data[-1] | length << 8
        return short(h ^ number(SECRET, 0, 4) ^ number(SECRET, 4, 4))
    return short(KEYS[56] ^ KEYS[64])


@functools.lru_cache(maxsize=4)
def repeated(pattern: bytes, times: int) -> int:
    """A number of `times` the same bytes, to compute in all columns of a large number at once."""
    return int.from_bytes(pattern * times, "little")


def xxh3_long(data: bytes) -> int:
    """For more than 240 bytes. Between two scramblings, which come after each 1024 bytes, all that
    happens to a column is addition. So the products of all stripes are made in one go, and the sums
    of 16 stripes by adding large numbers to themselves, shifted.
    """
    length = len(data)
    acc = [Q3, P1, P2, P3, P4, Q2, P5, Q1]
    whole = (length - 1) // 1024
    if whole:
        size = 1024 * whole
        value = int.from_bytes(data[:size], "little")
        keyed = numbers("I", (value ^ repeated(PATTERN, whole)).to_bytes(size, "little"))
        products = array("Q", map(operator.mul, keyed[0::2], keyed[1::2]))
        if sys.byteorder == "big":
            products.byteswap()
        product = int.from_bytes(products.tobytes(), "little")
        columns = repeated(b"\xff" * 8 + bytes(8), size // 16)
        even = (product & columns) + (value >> 64 & columns)
        odd = (product >> 64 & columns) + (value & columns)
        sums = []
        for total in (even, odd):
            for shift in (4096, 2048, 1024, 512):
                total += total >> shift  # noqa: PLW2901
            sums.append(numbers("Q", total.to_bytes(size, "little")))
        by_column = [sums[n % 2][n // 2 * 2 :: 128] for n in range(8)]
        keys = [KEYS[128 + 8 * n] for n in range(8)]
        for stripes in zip(*by_column):
            acc = [a + s & M64 for a, s in zip(acc, stripes)]
            acc = [(a ^ a >> 47 ^ k) * Q1 & M64 for a, k in zip(acc, keys)]
    rest = [(at, at % 1024 // 8) for at in range(1024 * whole, length - 64, 64)]
    for at, key in [*rest, (length - 64, 121)]:
        for n, v in enumerate(struct.unpack_from("<8Q", data, at)):
            w = v ^ KEYS[key + 8 * n]
            acc[n ^ 1] += v
            acc[n] += (w & 0xFFFFFFFF) * (w >> 32)
    t = length * P1
    for n in range(4):
        t += fold(acc[2 * n] & M64 ^ KEYS[11 + 16 * n], acc[2 * n + 1] & M64 ^ KEYS[19 + 16 * n])
    return last(t & M64)


# ------------------------------------------------------------------ planes (capsule.md, 4)

STORED, PLANES, SAME, DIFFERENCE, LEAVES = range(5)
RAW, CONSTANT, RANS, PARTS = range(4)


class Cursor:
    """Walks through a payload; nothing is read before it is known to be there."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def take(self, length: int) -> bytes:
        if not 0 <= length <= len(self.data) - self.at:
            raise Bad("the payload is cut short")
        self.at += length
        return self.data[self.at - length : self.at]

    def byte(self) -> int:
        return self.take(1)[0]

    def end(self) -> None:
        if self.at != len(self.data):
            raise Bad("the payload has bytes left")


def read_plane(cursor: Cursor, count: int, whole: bool = True, coding: int = -1) -> bytes:
    """`count` symbols of a plane, or a part of one, that is raw, constant or coded."""
    coding = cursor.byte() if coding < 0 else coding
    if coding == RAW and whole:
        return cursor.take(count)
    if coding == CONSTANT:
        return cursor.take(1) * count
    if coding == RANS:
        return read_rans(cursor, count)
    raise Bad("a plane has a coding that it cannot have")


def read_in_contexts(cursor: Cursor, contexts: bytes, run: int, whole: bool = True) -> bytes:
    """A plane whose symbols from i * run to (i + 1) * run - 1 have the context contexts[i]."""
    coding = cursor.byte()
    if coding != PARTS:
        return read_plane(cursor, len(contexts) * run, whole, coding)
    parts = {}
    for context in sorted(set(contexts)):
        part = read_plane(cursor, contexts.count(context) * run, whole)
        if run == 1:
            parts[context] = iter(part).__next__
        else:
            runs = [part[at : at + run] for at in range(0, len(part), run)]
            parts[context] = iter(runs).__next__  # type: ignore[assignment]
    found: Any = [parts[context]() for context in contexts]
    return bytes(found) if run == 1 else b"".join(found)


def read_frequencies(cursor: Cursor) -> Tuple[int, List[int]]:
    """The first symbol, and the frequencies from it on."""
    first, end = cursor.take(2)
    count = end - first + 1
    if count < 2:
        raise Bad("a frequency table has no range")
    packed = int.from_bytes(cursor.take((count * 12 + 7) // 8), "little")
    frequencies = [packed >> (12 * i) & 4095 for i in range(count)]
    if packed >> (12 * count) or sum(frequencies) != 4096:
        raise Bad("frequencies do not add up")
    if not frequencies[0] or not frequencies[-1]:
        raise Bad("a frequency table has an empty end")
    return first, frequencies


def read_rans(cursor: Cursor, count: int) -> bytes:
    """Decodes the symbols of all states together, row by row: this is where the time goes."""
    first, frequencies = read_frequencies(cursor)
    symbol = bytearray()  # and the other two: of each of the 4096 slots
    factor: List[int] = []
    offset: List[int] = []
    for each, frequency in enumerate(frequencies, first):
        symbol += bytes([each]) * frequency
        factor += [frequency] * frequency
        offset += range(frequency)
    length = number(cursor.take(4), 0, 4)
    columns = 64 if count < 1 << 15 else 128
    states = list(struct.unpack("<%dI" % columns, cursor.take(4 * columns)))
    word = iter(numbers("H", cursor.take(2 * length))).__next__
    slots: List[int] = []
    try:
        for _ in range(count // columns):
            row = [x & 4095 for x in states]
            slots += row
            states = [
                y if (y := factor[s] * (x >> 12) + offset[s]) > 65535 else y << 16 | word()
                for x, s in zip(states, row)
            ]
        for i in range(count % columns):
            x = states[i]
            s = x & 4095
            slots.append(s)
            y = factor[s] * (x >> 12) + offset[s]
            states[i] = y if y > 65535 else y << 16 | word()
    except StopIteration:
        raise Bad("the words of a coded plane run out") from None
    if is_left(word):
        raise Bad("a coded plane has words left")
    if any(x != 65536 for x in states):
        raise Bad("a coded plane ends in a wrong state")
    return bytes(operator.itemgetter(*slots)(symbol)) if count > 1 else bytes([symbol[slots[0]]])


def is_left(word: Callable[[], int]) -> bool:
    try:
        word()
    except StopIteration:
        return False
    return True


# ------------------------------------------------------------------ elements (capsule.md, 2, 5, 6)
# A plane is taken apart and put together by slices with steps (symbol j of every element at once),
# by bytes.translate, and by large numbers, in which one operation works on all elements.


def translation(function: Callable[[int], int]) -> bytes:
    return bytes(function(value) & 255 for value in range(256))


LOW4 = translation(lambda v: v & 15)
LOW6 = translation(lambda v: v & 63)
TO_HIGH4 = translation(lambda v: v << 4)
HALF = translation(lambda v: v >> 1)
SIGN = translation(lambda v: v & 0x80)
FRACTION = translation(lambda v: v & 0x7F)
LOWEST_TO_TOP = translation(lambda v: v << 7)


def joined(*parts: bytes) -> bytes:
    """Strings of one length, combined by "or"."""
    value = 0
    for part in parts:
        value |= int.from_bytes(part, "little")
    return value.to_bytes(len(parts[0]), "little")


def merge_words(planes: List[bytes], count: int) -> bytes:
    """The most significant byte comes first."""
    width = len(planes)
    out = bytearray(width * count)
    for p, plane in enumerate(planes):
        out[width - 1 - p :: width] = plane
    return bytes(out)


def merge_floats(planes: List[bytes], count: int) -> bytes:
    """Exponent of 8 bits; sign and upper 7 bits of the fraction; what is left of it."""
    exponent, rest = planes[0], planes[1]
    high = joined(rest.translate(SIGN), exponent.translate(HALF))
    second = joined(exponent.translate(LOWEST_TO_TOP), rest.translate(FRACTION))
    return merge_words([high, second, *planes[2:]], count)


class Elements:
    """The elements of a block of quantised weights, put together byte by byte of all of them."""

    def __init__(self, element: int, count: int) -> None:
        self.element = element
        self.out = bytearray(element * count)

    def put(self, at: int, values: bytes) -> None:
        self.out[at :: self.element] = values

    def put_halves(self, at: int, planes: List[bytes], halves: int) -> None:
        for h in range(halves):
            self.put(at + 2 * h, planes[2 * h + 1])
            self.put(at + 2 * h + 1, planes[2 * h])

    def put_nibbles(self, at: int, low: bytes, high: bytes) -> None:
        self.put(at, joined(low.translate(LOW4), high.translate(TO_HIGH4)))


def bits_of(parts: Sequence[bytes], shift: int, mask: int, width: int) -> bytes:
    """Of symbols `parts`, the bits `mask` from `shift` on, packed from the lowest bit on."""
    tables = [
        translation(lambda v, i=i: (v >> shift & mask) << (width * i))  # type: ignore[misc]
        for i in range(len(parts))
    ]
    return joined(*(part.translate(table) for part, table in zip(parts, tables)))


def merge_legacy(element: int, halves: int, fifth: bool, planes: List[bytes], count: int) -> bytes:
    """Q4_0, Q4_1, Q5_0, Q5_1."""
    out, q = Elements(element, count), planes[-1]
    out.put_halves(0, planes, halves)
    if fifth:
        for byte in range(4):
            out.put(2 * halves + byte, bits_of([q[8 * byte + i :: 32] for i in range(8)], 4, 1, 1))
    for i in range(16):
        out.put_nibbles(element - 16 + i, q[i::32], q[16 + i :: 32])
    return bytes(out.out)


def merge_q8_0(planes: List[bytes], count: int) -> bytes:
    out = Elements(34, count)
    out.put_halves(0, planes, 1)
    for i in range(32):
        out.put(2 + i, planes[2][i::32])
    return bytes(out.out)


def merge_k(element: int, fifth: bool, planes: List[bytes], count: int) -> bytes:
    """Q4_K, Q5_K."""
    out, q = Elements(element, count), planes[6]
    out.put_halves(0, planes, 2)
    scales, minima = planes[4].translate(LOW6), planes[5].translate(LOW6)
    top = translation(lambda v: v >> 4 << 6)
    for j in range(4):
        s, m, s4, m4 = scales[j::8], minima[j::8], scales[j + 4 :: 8], minima[j + 4 :: 8]
        out.put(4 + j, joined(s, s4.translate(top)))
        out.put(8 + j, joined(m, m4.translate(top)))
        out.put_nibbles(12 + j, s4, m4)
    for i in range(32):
        if fifth:
            out.put(16 + i, bits_of([q[32 * k + i :: 256] for k in range(8)], 4, 1, 1))
        for k in range(4):
            low, high = q[64 * k + i :: 256], q[64 * k + 32 + i :: 256]
            out.put_nibbles(element - 128 + 32 * k + i, low, high)
    return bytes(out.out)


def merge_q6_k(planes: List[bytes], count: int) -> bytes:
    out, q = Elements(210, count), planes[3]
    for g in range(2):
        for i in range(64):
            out.put_nibbles(64 * g + i, q[128 * g + i :: 256], q[128 * g + 64 + i :: 256])
        for i in range(32):
            parts = [q[128 * g + 32 * k + i :: 256] for k in range(4)]
            out.put(128 + 32 * g + i, bits_of(parts, 4, 3, 2))
    for i in range(16):
        out.put(192 + i, planes[2][i::16])
    out.put_halves(208, planes, 1)
    return bytes(out.out)


def halves_of(planes: List[bytes], h: int) -> array[int]:
    """fp16 numbers without their signs, as integers."""
    return numbers(
        "H", merge_words([planes[2 * h].translate(FRACTION), planes[2 * h + 1]], len(planes[0]))
    )


def quarter(difference: int) -> int:
    return max(0, min(3, difference + 256 >> 7))


def by_scale(planes: List[bytes], count: int) -> bytes:
    found, bits = bytearray(), halves_of(planes, 0)
    for at in range(0, count, 16):
        window = bits[at : at + 16]
        mean = sum(window) // len(window)
        found += bytes(quarter(each - mean) for each in window)
    return bytes(found)


def logarithm(value: int) -> int:
    whole = value.bit_length() - 1
    return (whole << 10) + (value << 10 >> whole) - 1024


LOGARITHMS = [0, *map(logarithm, range(1, 64))]


def by_zero(centre: int, planes: List[bytes], _count: int) -> bytes:
    scales, minima = planes[4].translate(LOW6), planes[5].translate(LOW6)
    ratios = [m - s - centre for s, m in zip(halves_of(planes, 0), halves_of(planes, 1))]
    each = itertools.chain.from_iterable(itertools.repeat(ratio, 8) for ratio in ratios)
    return bytes(
        quarter(ratio + LOGARITHMS[m] - LOGARITHMS[s]) if s and m else 0
        for ratio, s, m in zip(each, scales, minima)
    )


def by_magnitude(planes: List[bytes], _count: int) -> bytes:
    return planes[2].translate(translation(lambda v: min(3, min(v, 256 - v) >> 5)))


class Plane(NamedTuple):
    """`symbols` an element; `whole` bytes may be raw; `run` symbols have one context, or 0: none"""

    symbols: int = 1
    whole: bool = True
    run: int = 0


class Kind(NamedTuple):
    """Bytes of an element; elements of a leaf and of a block. `exponent`: that of a float."""

    element: int
    leaf: int
    block: int
    planes: Tuple[Plane, ...]
    merge: Callable[[List[bytes], int], bytes]
    contexts: Optional[Callable[[List[bytes], int], bytes]] = None
    exponent: Optional[Tuple[int, int]] = None  # (lowest bit, bits)

    @property
    def step(self) -> int:
        """Bytes of a block."""
        return self.element * self.block


def words(width: int, exponent: Any = None, merge: Any = merge_words) -> Kind:
    return Kind(width, 128, 1 << 18, (Plane(),) * width, merge, None, exponent)


def legacy(element: int, halves: int, fifth: bool) -> Kind:
    planes = (*(Plane(),) * 2 * halves, Plane(32, False, 32))
    merge = functools.partial(merge_legacy, element, halves, fifth)
    return Kind(element, 4, 1 << 15, planes, merge, by_scale)


def k_quant(element: int, centre: int, fifth: bool) -> Kind:
    planes = (*(Plane(),) * 4, Plane(8, False), Plane(8, False), Plane(256, False, 32))
    merge = functools.partial(merge_k, element, fifth)
    return Kind(element, 1, 1 << 12, planes, merge, functools.partial(by_zero, centre))


Q8_0 = (Plane(), Plane(), Plane(32, True, 32))
Q6_K = (Plane(), Plane(), Plane(16), Plane(256, False, 16))
KINDS = {
    0: words(1),
    1: words(2, (7, 8), merge_floats),
    2: words(2, (10, 5)),
    3: words(4, (23, 8), merge_floats),
    4: words(1, (3, 4)),
    5: words(1, (2, 5)),
    6: words(2),
    7: words(4),
    8: words(8),
    16: Kind(34, 4, 1 << 15, Q8_0, merge_q8_0, by_scale),
    17: legacy(18, 1, False),
    18: legacy(20, 2, False),
    19: legacy(22, 1, True),
    20: legacy(24, 2, True),
    21: k_quant(144, 2977, False),
    22: k_quant(176, 4048, True),
    23: Kind(210, 1, 1 << 12, Q6_K, merge_q6_k, by_magnitude),
}


def decode_block(kind: Kind, tag: int, payload: bytes, base: Optional[bytes], size: int) -> bytes:
    """The `size` bytes of a block; `base` has as many, or is None."""
    if tag != LEAVES:
        return decode_group(kind, tag, payload, base, size)
    step = kind.leaf * kind.element
    leaves = [(at, min(at + step, size)) for at in range(0, size, step)]
    cursor = Cursor(payload)
    tags = cursor.take(2)
    lengths = [number(cursor.take(4), 0, 4)]
    marks = int.from_bytes(cursor.take((len(leaves) + 7) // 8), "little")
    if marks >> len(leaves):
        raise Bad("a map of leaves has stray bits")
    in_second = format(marks, "b").zfill(len(leaves))[::-1]
    lengths.append(len(payload) - cursor.at - lengths[0])
    out = bytearray(size)
    for group in "01":
        mine = [leaf for leaf, mark in zip(leaves, in_second) if mark == group]
        if not mine:
            raise Bad("a group of leaves is empty")
        part = None if base is None else b"".join(base[begin:end] for begin, end in mine)
        length = sum(end - begin for begin, end in mine)
        data = cursor.take(lengths[int(group)])
        decoded, at = decode_group(kind, tags[int(group)], data, part, length), 0
        for begin, end in mine:
            out[begin:end] = decoded[at : at + end - begin]
            at += end - begin
    return bytes(out)


def decode_group(kind: Kind, tag: int, payload: bytes, base: Optional[bytes], size: int) -> bytes:
    cursor, count = Cursor(payload), size // kind.element
    if tag == STORED:
        out = cursor.take(size)
    elif tag == PLANES:
        planes: List[bytes] = []
        for plane in kind.planes:
            if plane.run and kind.contexts:
                contexts = kind.contexts(planes, count)
                planes.append(read_in_contexts(cursor, contexts, plane.run, plane.whole))
            else:
                planes.append(read_plane(cursor, plane.symbols * count, plane.whole))
        out = kind.merge(planes, count)
    elif tag == SAME and base is not None:
        out = base
    elif tag == DIFFERENCE and base is not None and kind.exponent:
        out = decode_difference(kind.element, kind.exponent, cursor, base)
    else:
        raise Bad("a block has a form that it cannot have")
    cursor.end()
    return out


def decode_difference(width: int, exponent: Tuple[int, int], cursor: Cursor, base: bytes) -> bytes:
    count, (shift, bits) = len(base) // width, exponent
    top = cursor.byte()
    mask = (1 << bits) - 1
    if width == 1:
        exponents = base.translate(translation(lambda v: v >> shift & mask))
    else:  # it lies in the upper two bytes
        shift -= 8 * (width - 2)
        exponents = joined(
            base[width - 1 :: width].translate(translation(lambda v: v << 8 >> shift & mask)),
            base[width - 2 :: width].translate(translation(lambda v: v >> shift & mask)),
        )
    contexts = exponents.translate(translation(lambda e: max(0, min(7, top - e))))
    if width == 2:
        moves = read_moves(cursor, contexts)
    else:
        planes = [
            read_in_contexts(cursor, contexts, 1) if p < 3 else read_plane(cursor, count)
            for p in range(width)
        ]
        moves = merge_words(planes, count)
    return moved(base, moves, width)


def read_moves(cursor: Cursor, contexts: bytes) -> bytes:
    """Differences up to 254 are bytes; 255 stands for one that is written in full behind them."""
    low = bytearray(read_in_contexts(cursor, contexts, 1))
    high = bytearray(len(low))
    far = low.count(255)
    if number(cursor.take(4), 0, 4) != far:
        raise Bad("a difference has a wrong number of large ones")
    if far:
        places = [match.start() for match in re.finditer(b"\xff", low)]
        uppers, lowers = read_plane(cursor, far), read_plane(cursor, far)
        for at, upper, lower in zip(places, uppers, lowers):
            high[at], low[at] = upper, lower
    return merge_words([bytes(high), bytes(low)], len(low))


def moved(base: bytes, moves: bytes, width: int) -> bytes:
    """The floats that are `moves`, zigzagged numbers of units in the last place, from the base's:
    all in three large numbers, of which each `width` bytes are a column.
    """
    size, bits = len(base), 8 * width
    ones = (1 << bits) - 1
    signs = repeated(bytes(width - 1) + b"\x80", size // width)
    lowest = repeated(b"\x01" + bytes(width - 1), size // width)
    rest = repeated(b"\xff" * (width - 1) + b"\x7f", size // width)
    z, value = int.from_bytes(moves, "little"), int.from_bytes(base, "little")
    step = (z >> 1 & rest) ^ (z & lowest) * ones
    ordered = value ^ ((value & signs) >> (bits - 1)) * ones ^ (signs ^ value & signs)
    total = ((ordered & rest) + (step & rest)) ^ ((ordered ^ step) & signs)
    clear = signs ^ total & signs
    return (total ^ (total & signs) ^ (clear >> (bits - 1)) * ones).to_bytes(size, "little")


# ------------------------------------------------------------------ capsules (capsule.md, 1, 10)

HEAD = b"\x89OLC\r\n\x1a\n\x01\0\0\0\0\0\0\0"
TRAILER = struct.Struct("<8sHHIIIQQ32sQQ")
BASE = struct.Struct("<32sQ")
SPAN = struct.Struct("<BBHQQ")
ENTRY = struct.Struct("<IQ")
Read = Callable[[int, int], bytes]  # (offset, length)
ReadBase = Callable[[str, int, int], bytes]  # (sha256, offset, length)


class Span(NamedTuple):
    """Offsets in bytes; `block` is the number of its first."""

    kind: int
    base: int
    length: int
    base_offset: int
    offset: int
    block: int


class Capsule:
    """A capsule whose directory was read and checked. Raises :class:`Bad`."""

    def __init__(self, read: Read, size: int) -> None:
        self.read_at = read
        at = size - 2 * TRAILER.size
        if at < len(HEAD):
            raise Bad("too short for a capsule")
        trailers = read(at, 2 * TRAILER.size)
        fields = None
        for data in (trailers[TRAILER.size :], trailers[: TRAILER.size]):
            if fields is None and data[:8] == b"OLC.END\n" and xxh3(data[:-8]) == number(data, 80):
                fields = TRAILER.unpack(data)
        if fields is None:
            raise Bad("not a capsule, or both its trailers are damaged")
        _, version, zero, bases, spans, blocks, length, self.size, sha256, checksum, _ = fields
        if version != 1 or zero:
            raise Bad("a capsule of version %d" % version)
        wanted = bases * BASE.size + spans * SPAN.size + blocks * ENTRY.size
        if length != wanted or bases > 255 or self.size >= 1 << 63:
            raise Bad("the trailer of a capsule contradicts itself")
        if length > MAX_DIRECTORY or spans > MAX_SPANS or 2 * length > at - len(HEAD):
            raise Bad("the directory of a capsule is too large")
        self.sha256 = sha256.hex()
        for begin in (at - length, at - 2 * length):
            directory = read(begin, length)
            if xxh3(directory) == checksum:
                break
        else:
            raise Bad("both directories of a capsule are damaged")
        entries = bases * BASE.size + spans * SPAN.size
        self.bases = [(b.hex(), n) for b, n in BASE.iter_unpack(directory[: bases * BASE.size])]
        self.entries = directory[entries:]
        self.spans = list(self.read_spans(directory[bases * BASE.size : entries]))
        total = self.spans[-1].offset + self.spans[-1].length if spans else 0
        if total != self.size or self.count(self.spans) != blocks:
            raise Bad("the spans of a capsule do not add up to the file")
        self.starts = array("Q", [len(HEAD)])
        for word, _ in ENTRY.iter_unpack(self.entries):
            self.starts.append(self.starts[-1] + (word & 0xFFFFFF))
        if self.starts[-1] != at - 2 * length:
            raise Bad("the blocks of a capsule do not add up to it")

    @staticmethod
    def count(spans: List[Span]) -> int:
        """Blocks of all spans."""
        if not spans:
            return 0
        return spans[-1].block + -(-spans[-1].length // KINDS[spans[-1].kind].step)

    def read_spans(self, data: bytes) -> Iterator[Span]:
        offset = block = 0
        for kind, base, zero, length, base_offset in SPAN.iter_unpack(data):
            if kind not in KINDS or zero or not length or length % KINDS[kind].element:
                raise Bad("a span of a capsule has an unknown kind or length")
            if base > len(self.bases) or (base_offset and not base):
                raise Bad("a span of a capsule refers to a base that is not named")
            if base and base_offset + length > self.bases[base - 1][1]:
                raise Bad("a span of a capsule refers to bytes beyond its base")
            yield Span(kind, base, length, base_offset, offset, block)
            offset += length
            block += -(-length // KINDS[kind].step)

    def span_of(self, block: int) -> Span:
        low, high = 0, len(self.spans) - 1
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if self.spans[middle].block <= block else (low, middle - 1)
        return self.spans[low]

    def place(self, block: int) -> Tuple[int, int]:
        """Where a block begins in the file that the capsule restores, and its length."""
        span = self.span_of(block)
        step = KINDS[span.kind].step
        at = (block - span.block) * step
        return span.offset + at, min(step, span.length - at)

    def block_at(self, offset: int) -> int:
        """The block that has a byte of the file."""
        low, high = 0, len(self.spans) - 1
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if self.spans[middle].offset <= offset else (low, middle - 1)
        span = self.spans[low]
        return span.block + (offset - span.offset) // KINDS[span.kind].step

    def payload(self, block: int) -> Tuple[int, bytes, int]:
        """Tag, payload and checksum."""
        word, checksum = ENTRY.unpack_from(self.entries, block * ENTRY.size)
        return word >> 24, self.read_at(self.starts[block], word & 0xFFFFFF), checksum

    def decode(self, block: int, read_base: ReadBase, careful: bool = False) -> bytes:
        """The bytes of one block. The sha256 of the file proves them; `careful` compares the
        block's own sums too, which are slow here, and say which block is damaged.
        """
        tag, payload, checksum = self.payload(block)
        span, (offset, length) = self.span_of(block), self.place(block)
        if tag > LEAVES or len(payload) > length or (tag in {SAME, DIFFERENCE} and not span.base):
            raise Bad("block %d of a capsule has a form that it cannot have" % block)
        if careful and xxh3(payload) != checksum:
            raise Bad("block %d of a capsule is damaged" % block)
        base, restored = None, b""
        if span.base and tag in {SAME, DIFFERENCE, LEAVES}:
            sha256, _ = self.bases[span.base - 1]
            base = read_base(sha256, span.base_offset + offset - span.offset, length)
            restored, payload = payload[:8], payload[8:]
        try:
            out = decode_block(KINDS[span.kind], tag, payload, base, length)
        except (Bad, ValueError, IndexError) as error:
            raise Bad("block %d of a capsule: %s" % (block, error)) from None
        if careful and base is not None and xxh3(out) != number(restored):
            raise Bad("block %d of a capsule, or the base that it depends on, is damaged" % block)
        return out


# ------------------------------------------------------------------ contents (bundle.md, 1, 3, 4)

HEX = re.compile(r"[0-9a-f]{64}\Z")
SEGMENT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,95}\Z")
PREFIXES = {"models", "datasets", "spaces", "api"}
CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


class Geometry(NamedTuple):
    """How a stream is cut: bytes of a block and of the stream; parts of a group."""

    block: int
    rows: int
    group: int
    parity: int
    stream: int

    @property
    def blocks(self) -> int:
        return max(1, -(-self.stream // self.block))

    @property
    def data_parts(self) -> int:
        return -(-self.blocks // self.rows)

    @property
    def parts(self) -> int:
        return self.data_parts + -(-self.data_parts // self.group) * self.parity

    def group_of(self, part: int) -> int:
        if part < self.data_parts:
            return part // self.group
        return (part - self.data_parts) // self.parity

    def data_of(self, group: int) -> range:
        return range(group * self.group, min((group + 1) * self.group, self.data_parts))

    def parity_of(self, group: int) -> range:
        first = self.data_parts + group * self.parity
        return range(first, first + self.parity)

    def rows_of(self, part: int) -> int:
        if part >= self.data_parts:
            part = self.group_of(part) * self.group
        return min(self.rows, self.blocks - part * self.rows)

    def size_of(self, part: int) -> int:
        return 256 + self.rows_of(part) * (self.block + 8)

    def name(self, part: int) -> str:
        return "%s/%05d.olb" % ("parts" if part < self.data_parts else "parity", part)

    def check(self) -> None:
        need(1 << 12 <= self.block <= 1 << 20 and not self.block & (self.block - 1), "blocks")
        need(1 <= self.rows <= MAX_ROWS and self.group >= 1 and self.parity >= 0, "layout")
        need(self.group + self.parity <= 255 and 0 <= self.stream <= MAX_STREAM, "layout")
        need(self.parts <= MAX_PARTS, "number of parts")


class Payload(NamedTuple):
    blob: str
    size: int
    form: str
    offset: int
    length: int
    bases: Tuple[str, ...]


class Record(NamedTuple):
    path: str
    sha256: str
    size: int
    offset: int


class Model(NamedTuple):
    label: str
    kind: str
    name: str
    open: bool
    licence: str
    manifests: Tuple[str, ...]
    refs: Dict[str, str]  # commit by name


class Contents(NamedTuple):
    id: str
    base: int  # where in the stream the offsets count from
    geometry: Geometry
    sequence: int
    models: Tuple[Model, ...]
    records: Tuple[Record, ...]
    payloads: Dict[str, Payload]
    assumed: frozenset[str]  # blobs and manifests that the reader is expected to have
    sealed: bool = False  # encrypted: what it holds is not known


class File(NamedTuple):
    """A file of a revision, and the folder in which `--restore` writes it."""

    model: str
    folder: Tuple[str, ...]
    path: str
    blob: str
    size: int
    git: str


def need(condition: object, what: str) -> None:
    if not condition:
        raise Bad("impossible %s" % what)


def parse(data: bytes, limit: int, what: str) -> Any:
    """JSON from outside: bounded before it is read, and refused unless it is canonical."""
    if len(data) > limit or data.count(b"{") + data.count(b"[") > MAX_PARSED:
        raise Bad("%s is too large" % what)
    try:
        value = json.loads(data.decode("utf-8"))
        if canonical(value) != data:
            raise Bad("%s is not canonical JSON" % what)
    except (ValueError, RecursionError, TypeError):
        raise Bad("%s is no JSON that it could be" % what) from None
    return value


def canonical(value: object) -> bytes:
    """RFC 8785, for texts, numbers that are whole, truth values, lists and objects."""

    def ordered(each: object) -> object:
        if isinstance(each, dict):
            keys = sorted(each, key=lambda key: key.encode("utf-16-be"))
            return {key: ordered(each[key]) for key in keys}
        if isinstance(each, list):
            return [ordered(one) for one in each]
        if isinstance(each, float):
            raise ValueError("a number that is not whole")
        return each

    return json.dumps(ordered(value), ensure_ascii=False, separators=(",", ":")).encode("utf-8")


class Fields:
    """The keys of an object, each of the type that it must have."""

    def __init__(self, value: object, required: str, optional: str = "") -> None:
        self.found: Dict[str, Any] = value if isinstance(value, dict) else {}
        known = required.split()
        need(isinstance(value, dict) and set(known) <= set(value), "object without %s" % required)
        for key in set(self.found) - set(known) - set(optional.split()):
            raise Bad("unknown key %r" % key[:40])

    def text(self, key: str, default: str = "") -> str:
        value = self.found.get(key, default)
        need(isinstance(value, str) and len(value) <= 4096, key)
        return str(value)

    def number(self, key: str, most: int) -> int:
        value = self.found.get(key)
        need(type(value) is int and 0 <= value <= most, key)
        return int(value or 0)

    def items(self, key: str) -> List[Any]:
        value = self.found.get(key, [])
        need(isinstance(value, list), key)
        return list(value)

    def digest(self, key: str) -> str:
        need(HEX.match(self.text(key)), key)
        return self.text(key)

    def digests(self, key: str) -> Tuple[str, ...]:
        found = self.items(key)
        need(all(isinstance(each, str) and HEX.match(each) for each in found), key)
        return tuple(found)


def read_contents(data: bytes) -> Contents:
    """The contents of a bundle. Raises :class:`Bad`."""
    value = parse(data, MAX_CONTENTS, "the contents")
    if isinstance(value, dict) and value.get("type") == "outlast-sealed-bundle-v1":
        return read_sealed(data, value)
    top = Fields(value, "type layout sequence since assumed models records payloads")
    need(top.text("type") == "outlast-bundle-v1", "type of contents (of a newer version?)")
    assumed = Fields(top.found["assumed"], "blobs manifests")
    records = tuple(map(read_record, top.items("records")))
    payloads = tuple(map(read_payload, top.items("payloads")))
    end, links = 0, dict.fromkeys(assumed.digests("blobs"), 0)
    for record in records:
        need(record.offset == end, "offset of a record")
        end += record.size
    for payload in payloads:
        need(payload.offset == end, "offset of a payload")
        need(links.keys() >= {*payload.bases}, "base of a payload")
        links[payload.blob] = max((links[base] + 1 for base in payload.bases), default=0)
        need(links[payload.blob] <= MAX_CHAIN, "chain of more than %d deltas" % MAX_CHAIN)
        end += payload.length
    by_blob = {payload.blob: payload for payload in payloads}
    need(len(by_blob) == len(payloads), "second payload of one blob")
    known = {*(record.sha256 for record in records), *assumed.digests("manifests")}
    models = tuple(map(read_model, top.items("models")))
    need(all(known.issuperset(model.manifests) for model in models), "manifest of a model")
    need(len({model.label for model in models}) == len(models), "second model of one name")
    base, geometry = read_layout(top, len(data), end)
    return Contents(
        hashlib.sha256(data).hexdigest(),
        base,
        geometry,
        top.number("sequence", 1 << 53),
        models,
        records,
        by_blob,
        frozenset([*assumed.digests("blobs"), *assumed.digests("manifests")]),
    )


def read_layout(top: Fields, length: int, end: int) -> Tuple[int, Geometry]:
    """Where what follows the contents begins, and how a stream is cut that ends `end` later."""
    layout = Fields(top.found["layout"], "block rows group parity")
    numbers_of = [layout.number(key, MAX_ROWS) for key in ("block", "rows", "group", "parity")]
    geometry = Geometry(*numbers_of, 0)  # type: ignore[call-arg]
    geometry.check()
    base = -(-length // geometry.block) * geometry.block
    geometry = geometry._replace(stream=base + end)
    geometry.check()
    return base, geometry


def read_sealed(data: bytes, value: object) -> Contents:
    """What an encrypted bundle says in clear: how it is cut. The envelope is for its recipients."""
    top = Fields(value, "type layout cells envelope")
    need(isinstance(top.found["envelope"], str), "envelope")
    block = Fields(top.found["layout"], "block rows group parity").number("block", MAX_ROWS)
    need(block >= MIN_CELL, "size of a cell")
    end = top.number("cells", MAX_STREAM // block) * block
    base, geometry = read_layout(top, len(data), end)
    identity = hashlib.sha256(data).hexdigest()
    return Contents(identity, base, geometry, 0, (), (), {}, frozenset(), sealed=True)


def is_program(path: str) -> bool:
    """Whether a record is for people who install outlast from the bundle; nothing runs it here."""
    wheel = r"[A-Za-z0-9][A-Za-z0-9._+-]{0,199}\.whl"
    names = r"install\.sh|wheels/(SHA256SUMS|requirements\.txt|%s)" % wheel
    return re.fullmatch(names, path) is not None


def is_catalogue(path: str) -> bool:
    """Whether a record is a signed file of a catalogue; who signed it is not asked here."""
    name = r"(?:[1-9][0-9]{0,9}\.)?[A-Za-z0-9][A-Za-z0-9._%-]{0,300}\.json"
    return re.fullmatch(r"catalogues/[a-z0-9][a-z0-9-]{0,39}/metadata/" + name, path) is not None


def read_record(value: object) -> Record:
    entry = Fields(value, "path sha256 size offset")
    path, sha256 = entry.text("path"), entry.digest("sha256")
    need(is_safe(path), "path of a record")
    known = path == "manifests/%s.json" % sha256 or path.startswith("attestations/")
    need(known or is_program(path) or is_catalogue(path), "record's path")
    return Record(path, sha256, entry.number("size", MAX_MANIFEST), entry.number("offset", 1 << 56))


def read_payload(value: object) -> Payload:
    entry = Fields(value, "blob size form offset length", "bases")
    size, length = entry.number("size", MAX_FILE), entry.number("length", MAX_FILE)
    form, bases = entry.text("form"), entry.digests("bases")
    need(form in ("plain", "capsule"), "form of a payload")
    need(form == "capsule" or (length == size and not bases), "length of a plain payload")
    return Payload(entry.digest("blob"), size, form, entry.number("offset", 1 << 56), length, bases)


def read_model(value: object) -> Model:
    entry = Fields(value, "kind name private gated tags facts manifests refs")
    kind, name = entry.text("kind"), entry.text("name")
    segments = name.split("/")
    need(kind in ("model", "dataset") and len(segments) <= 2, "kind or name of a model")
    need(all(SEGMENT.match(each) and is_plain_name(each) for each in segments), "name of a model")
    need(len(segments) == 1 or segments[0].lower() not in PREFIXES, "name of a model")
    refs = {}
    for each in entry.items("refs"):
        ref = Fields(each, "name commit", "source observed kind")
        need(re.match(r"[0-9a-f]{40}\Z", ref.text("commit")), "commit of a ref")
        refs[ref.text("name")] = ref.text("commit")
    tags = [tag for tag in entry.items("tags") if isinstance(tag, str)]
    licences = [tag[8:] for tag in tags if tag.startswith("license:")]
    is_open = entry.found["private"] is False and not entry.found["gated"]
    label = name if kind == "model" else "datasets/" + name
    return Model(label, kind, name, is_open, ", ".join(licences), entry.digests("manifests"), refs)


def read_manifest(data: bytes, sha256: str, model: Model) -> List[File]:
    """The files of a revision. Raises :class:`Bad`."""
    what = "the manifest %s" % sha256[:12]
    top = Fields(parse(data, MAX_MANIFEST, what), "type kind name commit files", "missing unlisted")
    need(top.text("type") in ("outlast-manifest-v1", "outlast-manifest-v2"), "type of " + what)
    if (top.text("kind"), top.text("name")) != (model.kind, model.name):
        raise Bad("%s is of another model than %s" % (what, model.label))
    commit = top.found["commit"]
    need(commit is None or re.match(r"[0-9a-f]{40}\Z", top.text("commit")), "commit of " + what)
    folder = (*model.label.split("/"), commit or sha256[:40])
    files, paths = [], set()
    for value in top.items("files"):
        entry = Fields(value, "path size sha256", "git_sha1 merkle_root")
        path = entry.text("path")
        if not is_safe(path) or path in paths:
            raise Bad("%s has an unsafe path: %s" % (what, shown(path)))
        paths.add(path)
        size, git = entry.number("size", MAX_FILE), entry.text("git_sha1")
        files.append(File(model.label, folder, path, entry.digest("sha256"), size, git))
    for path in paths:
        need(paths.isdisjoint(folders_above(path)), "folder with the name of a file in " + what)
    return files


# ------------------------------------------------------------------ names (names.md)

FORBIDDEN = re.compile(r'[<>:"|?*\\]')
ESCAPE = re.compile(r"%(?=[0-9A-Fa-f]{2}|sha256-)")
NOT_PLAIN = re.compile(r"[^a-z0-9!#$&'()+,.;=@\[\]^_`{}~ -]")
SUFFIX = re.compile(r"\.[a-z0-9]{1,16}\Z")
DEVICES = {"con", "prn", "aux", "nul", "conin$", "conout$"}
DEVICES |= {port + digit for port in ("com", "lpt") for digit in "0123456789\u00b9\u00b2\u00b3"}


def is_safe(path: str) -> bool:
    """Whether a path cannot lead out of a folder, and is a text."""
    return (
        len(path) <= 1024
        and not CONTROL.search(path)
        and all(
            part not in ("", ".", "..") and part.lower() != ".git" and len(part.encode()) <= 255
            for part in path.split("/")
        )
    )


def is_device(part: str) -> bool:
    return part.split(".", 1)[0].rstrip().lower() in DEVICES


def is_plain_name(part: str) -> bool:
    """Whether a part of a model's name is a name of a file on every system."""
    return ".." not in part and not part.endswith((".", ".git", ".lock")) and not is_device(part)


def folders_above(path: str) -> List[str]:
    return [path[: match.start()] for match in re.finditer("/", path)]


def folded(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def portable_names(paths: List[str]) -> Dict[str, str]:
    """For each path one that every file system takes, and that no other has on any."""
    ordered = sorted(paths)
    twins: Set[str] = set()
    while True:
        names = {path: escaped(path, twins) for path in ordered}
        found: Set[str] = set()
        for one, other in clashes(names):
            places = zip([*folders_above(one), one], [*folders_above(other), other])
            found.update(next((a, b) for a, b in places if a != b))
        if found <= twins:
            return names
        twins |= found


def clashes(names: Dict[str, str]) -> Iterator[Tuple[str, str]]:
    """Paths whose `names` are one file, or a file and a folder, where case does not count."""
    files: Dict[str, str] = {}
    for path, name in names.items():
        first = files.setdefault(folded(name), path)
        if first != path:
            yield first, path
    for name, path in files.items():
        for folder in folders_above(name):
            if folder in files:
                yield files[folder], path


def escaped(path: str, twins: Set[str]) -> str:
    places = [*folders_above(path), path]
    return "/".join(escaped_part(place.split("/")[-1], place in twins) for place in places)


def escaped_part(part: str, everything: bool) -> str:
    def encoded(match: Any) -> str:
        return "".join("%%%02X" % byte for byte in match[0].encode())

    text = FORBIDDEN.sub(encoded, ESCAPE.sub("%25", part))
    if everything:
        text = NOT_PLAIN.sub(encoded, part)
    if text[-1] in ". ":
        text = "%s%%%02X" % (text[:-1], ord(text[-1]))
    if is_device(text):
        text = "%%%02X%s" % (ord(text[0]), text[1:])
    if len(text.encode()) <= 255:
        return text
    suffix = SUFFIX.search(part)
    return "%%sha256-%s%s" % (
        hashlib.sha256(part.encode()).hexdigest(),
        suffix[0] if suffix else "",
    )


def shown(text: object) -> str:
    """A text from outside, as one line without anything that a terminal obeys."""
    found = "".join(c if c.isprintable() else "\\u%04x" % ord(c) for c in str(text)[:300])
    return found.encode(sys.stdout.encoding or "ascii", "backslashreplace").decode(
        sys.stdout.encoding or "ascii"
    )


# ------------------------------------------------------------------ parts (bundle.md, 2)

PART_HEADER = struct.Struct("<8sHHIIIHHIQQ32s40sQ")
PLACE = struct.Struct("<32sIIQ")
UNKNOWN, GOOD, DAMAGED = range(3)


class Header(NamedTuple):
    part: int
    id: str
    contents: int  # bytes of the contents
    geometry: Geometry


def read_header(data: bytes) -> Optional[Header]:
    """None where it is damaged, or none. Raises :class:`Bad` for one that no writer makes."""
    if (
        len(data) != 128
        or data[:8] != b"\x89OLB\r\n\x1a\n"
        or xxh3(data[:120]) != number(data, 120)
    ):
        return None
    fields = PART_HEADER.unpack(data)
    _, version, parity, part, block, rows, group, m, count, stream, contents, bundle, zero, _ = (
        fields
    )
    need(version == 1, "version of a part (a newer one?)")
    geometry = Geometry(block, rows, group, m, stream)
    geometry.check()
    need(part < geometry.parts and contents <= stream and not any(zero), "header of a part")
    need(parity == (part >= geometry.data_parts), "header of a part")
    need(count == geometry.rows_of(part), "number of blocks in a part")
    return Header(part, bundle.hex(), contents, geometry)


class PartFile(NamedTuple):
    path: str
    label: str  # what is said of it
    named: int  # the number in its name, or -1
    size: int
    headers: Tuple[Optional[Header], Optional[Header]]
    fault: str

    @property
    def header(self) -> Optional[Header]:
        return self.headers[0] or self.headers[1]


def open_plainly(path: str) -> Any:
    """A regular file, to be read; links are not followed."""
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    handle = os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError("not a regular file")
        return os.fdopen(handle, "rb")
    except BaseException:
        os.close(handle)
        raise


def look_at_part(path: str, label: str) -> PartFile:
    name = re.match(r"([0-9]{5})\.olb\Z", os.path.basename(path))
    named = int(name[1]) if name else -1
    headers: List[Optional[Header]] = [None, None]
    fault = ""
    with open_plainly(path) as file:
        size = file.seek(0, os.SEEK_END)
        for i, at in enumerate((0, max(0, size - 128))):
            file.seek(at)
            try:
                headers[i] = read_header(file.read(128))
            except Bad as error:
                fault = str(error)
    return PartFile(path, label, named, size, (headers[0], headers[1]), fault)


class Stream:
    """The stream of a bundle, read from the parts that are there; parity restores what is not.

    `states` has what is known of each block of a part: that its sum is right, that it is not, or
    nothing. A block of which nothing is known is read as it is unless `careful`: the sha256 of what
    it belongs to will tell.
    """

    def __init__(self, header: Header, paths: Dict[int, Tuple[str, int]]) -> None:
        self.geometry = header.geometry
        self.id = bytes.fromhex(header.id)
        self.paths = paths  # and the sizes of the files, by number of the part
        self.states: Dict[int, bytearray] = {}
        self.careful = False
        self.restored: OrderedDict[Tuple[int, int], bytes] = OrderedDict()
        self.files: OrderedDict[int, Any] = OrderedDict()
        self.combinations: Dict[Any, List[Tuple[int, int]]] = {}

    def close(self) -> None:
        while self.files:
            self.files.popitem()[1].close()

    def __getstate__(self) -> Dict[str, Any]:
        return {**self.__dict__, "files": OrderedDict(), "restored": OrderedDict()}

    def file(self, part: int) -> Any:
        if part not in self.files:
            if len(self.files) > 30:
                self.files.popitem(last=False)[1].close()
            self.files[part] = open_plainly(self.paths[part][0])
        return self.files[part]

    def rows_there(self, part: int) -> int:
        size = self.paths[part][1] if part in self.paths else 0
        return max(0, min(self.geometry.rows_of(part), (size - 128) // (self.geometry.block + 8)))

    def state(self, part: int, row: int) -> int:
        if row >= self.rows_there(part):
            return DAMAGED
        return self.states[part][row] if part in self.states else UNKNOWN

    def set_state(self, part: int, row: int, state: int) -> None:
        if part not in self.states:
            self.states[part] = bytearray(self.rows_there(part))
        self.states[part][row] = state

    def frame(self, part: int, row: int) -> bytes:
        file = self.file(part)
        file.seek(128 + row * (self.geometry.block + 8))
        return bytes(file.read(self.geometry.block + 8))

    def is_good(self, part: int, row: int, frame: bytes) -> bool:
        if len(frame) != self.geometry.block + 8:
            return False
        place = PLACE.pack(self.id, part, row, xxh3(frame[:-8]))
        return xxh3(place) == number(frame, self.geometry.block)

    def intact(self, part: int, row: int) -> Optional[bytes]:
        """A block whose sum is right; None if it is damaged or missing."""
        if self.state(part, row) == DAMAGED:
            return None
        try:
            frame = self.frame(part, row)
        except OSError:
            frame = b""
        if self.state(part, row) == UNKNOWN:
            self.set_state(part, row, GOOD if self.is_good(part, row, frame) else DAMAGED)
        return frame[:-8] if self.state(part, row) == GOOD else None

    def block(self, part: int, row: int) -> bytes:
        """Raises :class:`Lost`."""
        found: Optional[bytes] = None
        if self.careful:
            found = self.intact(part, row)
        elif self.state(part, row) != DAMAGED:
            try:
                found = self.frame(part, row)[:-8]
            except OSError:
                found = b""
            if len(found) != self.geometry.block:
                self.set_state(part, row, DAMAGED)
                found = None
        return self.restore(part, row) if found is None else found

    def read(self, offset: int, length: int) -> bytes:
        """Raises :class:`Lost`. At most a block and what was asked for are in memory."""
        found, end = [], offset + length
        while offset < end:
            index, at = divmod(offset, self.geometry.block)
            part, row = divmod(index, self.geometry.rows)
            piece = self.block(part, row)[at : at + end - offset]
            found.append(piece)
            offset += len(piece)
        return found[0] if len(found) == 1 else b"".join(found)

    def restore(self, part: int, row: int) -> bytes:
        """A block of a data part, from parity."""
        key = (part, row)
        if key in self.restored:
            return self.restored[key]
        g = self.geometry
        group = g.group_of(part)
        data = g.data_of(group)
        here = [p for p in data if row < g.rows_of(p)]
        lost = [p for p in here if self.state(p, row) == DAMAGED]
        good = [p for p in g.parity_of(group) if self.state(p, row) != DAMAGED]
        value = 0
        while True:  # until all blocks that are needed are known to be good
            if len(lost) > len(good):
                name = "block %d of %s is %s" % (
                    row,
                    g.name(part),
                    "damaged" if part in self.paths else "missing",
                )
                raise Lost(name if not g.parity else name + ", and parity cannot restore it")
            value = 0
            used = good[: len(lost)]
            for other, factor in self.combination(part, tuple(lost), tuple(used), data, here):
                block = self.intact(other, row)
                if block is None:
                    (good.remove if other >= g.data_parts else lost.append)(other)
                    break
                value ^= int.from_bytes(block.translate(multiples(factor)), "little")
            else:
                break
        if len(self.restored) > 8:
            self.restored.popitem(last=False)
        self.restored[key] = value.to_bytes(g.block, "little")
        return self.restored[key]

    def combination(
        self, part: int, lost: Tuple[int, ...], used: Tuple[int, ...], data: range, here: List[int]
    ) -> List[Tuple[int, int]]:
        """(part, factor): the sum of these blocks, each times its factor, is that of `part`.

        The parity blocks `used` are sums over all data blocks. That gives as many equations as
        blocks are `lost`; their inverse says how to combine the right sides (parity.md, I).
        """
        lost = tuple(sorted(lost))
        key = (part, lost, used, len(here))
        if key in self.combinations:
            return self.combinations[key]
        if len(self.combinations) > 1000:
            self.combinations.clear()
        parity_0 = self.geometry.parity_of(self.geometry.group_of(part))[0]
        rows = [p - parity_0 for p in used]
        matrix = [[cauchy(i, p - data[0]) for p in lost] for i in rows]
        weights = inverse(matrix)[lost.index(part)]
        found = list(zip(used, weights))
        for p in here:
            if p not in lost:
                factor = 0
                for i, weight in zip(rows, weights):
                    factor ^= times(weight, cauchy(i, p - data[0]))
                found.append((p, factor))
        self.combinations[key] = found
        return found


# ------------------------------------------------------------------ parity (parity.md, I)


def times(a: int, b: int) -> int:
    """The product in GF(2^8), modulo x^8 + x^4 + x^3 + x + 1."""
    product = 0
    while b:
        product ^= a if b & 1 else 0
        a = a << 1 ^ (0x11B if a & 0x80 else 0)
        b >>= 1
    return product


@functools.lru_cache(maxsize=256)
def multiples(factor: int) -> bytes:
    return bytes(times(factor, value) for value in range(256))


@functools.lru_cache(maxsize=256)
def reciprocal(value: int) -> int:
    return multiples(value).index(1)


def cauchy(i: int, j: int) -> int:
    """The factor of data block j in parity block i."""
    return reciprocal((255 - i) ^ j)


def inverse(matrix: List[List[int]]) -> List[List[int]]:
    """Of a square matrix, by elimination."""
    size = len(matrix)
    rows = [bytes(row) + bytes(int(i == j) for j in range(size)) for i, row in enumerate(matrix)]
    for i in range(size):
        pivot = next(r for r in range(i, size) if rows[r][i])
        rows[i], rows[pivot] = rows[pivot], rows[i]
        rows[i] = rows[i].translate(multiples(reciprocal(rows[i][i])))
        for r in range(size):
            if r != i and rows[r][i]:
                scaled = rows[i].translate(multiples(rows[r][i]))
                rows[r] = bytes(a ^ b for a, b in zip(rows[r], scaled))
    return [list(row[size:]) for row in rows]


# ------------------------------------------------------------------ blobs


class Elsewhere(Lost):
    """What the bundle does not hold, because the reader is expected to have it."""


class Blobs:
    """Blobs by their sha256, restored from the payloads of the stream."""

    def __init__(self, stream: Stream, contents: Contents) -> None:
        self.stream = stream
        self.contents = contents
        self.opened: OrderedDict[str, Capsule] = OrderedDict()
        self.blocks: OrderedDict[Tuple[str, int], bytes] = OrderedDict()

    def payload(self, blob: str) -> Payload:
        if blob in self.contents.payloads:
            return self.contents.payloads[blob]
        raise Elsewhere("%s is expected to be in the archive already" % blob)

    def read_payload(self, payload: Payload, offset: int, length: int) -> bytes:
        if not 0 <= offset <= payload.length - length:
            raise Bad("a capsule refers to bytes beyond its end")
        return self.stream.read(self.contents.base + payload.offset + offset, length)

    def capsule(self, blob: str) -> Capsule:
        if blob not in self.opened:
            payload = self.payload(blob)
            found = Capsule(functools.partial(self.read_payload, payload), payload.length)
            if (found.sha256, found.size) != (blob, payload.size):
                raise Bad("its capsule is that of another file: sha256 %s" % found.sha256)
            if not {base for base, _ in found.bases} <= set(payload.bases):
                raise Bad("its capsule depends on files that the contents do not name")
            if len(self.opened) >= 4:
                self.opened.popitem(last=False)
            self.opened[blob] = found
        return self.opened[blob]

    def decode(self, blob: str, block: int) -> bytes:
        return self.capsule(blob).decode(block, self.read, self.stream.careful)

    def read(self, blob: str, offset: int, length: int) -> bytes:
        """Bytes of a base, which may be a delta too."""
        payload = self.payload(blob)
        if not 0 <= offset <= payload.size - length:
            raise Bad("a capsule refers to bytes beyond its base")
        if payload.form == "plain":
            return self.read_payload(payload, offset, length)
        found, capsule, end = [], self.capsule(blob), offset + length
        while offset < end:
            block = capsule.block_at(offset)
            key = (blob, block)
            if key not in self.blocks:
                if len(self.blocks) >= 8:
                    self.blocks.popitem(last=False)
                self.blocks[key] = self.decode(blob, block)
            begin, _ = capsule.place(block)
            found.append(self.blocks[key][offset - begin : end - begin])
            offset += len(found[-1])
        return b"".join(found)


# ------------------------------------------------------------------ several processes

WORK: Dict[str, Blobs] = {}  # what a worker process works on
Job = Tuple[Any, ...]


def start_worker(stream: Stream, contents: Optional[Contents]) -> None:
    WORK["blobs"] = Blobs(
        stream, contents or Contents("", 0, stream.geometry, 0, (), (), {}, frozenset())
    )


def work_decode(blob: str, first: int, end: int, careful: bool) -> bytes:
    blobs = WORK["blobs"]
    blobs.stream.careful = careful
    return b"".join(blobs.decode(blob, block) for block in range(first, end))


def work_sums(blob: str, first: int, end: int, _careful: bool) -> bytes:
    """The sums of a capsule's payloads alone, where its base is elsewhere."""
    capsule = WORK["blobs"].capsule(blob)
    for block in range(first, end):
        _, payload, checksum = capsule.payload(block)
        if xxh3(payload) != checksum:
            raise Bad("block %d of a capsule is damaged" % block)
    return b""


def work_scan(part: int, sums: bool) -> Tuple[int, int, str, bytes]:
    """Number, bytes, sha256 and the states of the blocks of a part."""
    stream, digest = WORK["blobs"].stream, hashlib.sha256()
    file, size = stream.file(part), 0
    file.seek(0)
    states = bytearray()
    try:
        digest.update(file.read(128))
        for row in range(stream.rows_there(part)):
            frame = stream.frame(part, row)
            digest.update(frame)
            if sums:
                states.append(GOOD if stream.is_good(part, row, frame) else DAMAGED)
        digest.update(file.read(256))
        size = file.tell()
    except OSError:
        states.extend([DAMAGED] * (stream.rows_there(part) - len(states)))
    return part, size, digest.hexdigest(), bytes(states)


class Workers:
    """Runs jobs in several processes, with their results in order and few of them in memory."""

    def __init__(self, jobs: int, stream: Stream, contents: Optional[Contents]) -> None:
        start_worker(stream, contents)
        self.jobs = jobs
        self.pool: Any = None
        if jobs > 1:
            try:
                self.pool = concurrent.futures.ProcessPoolExecutor(
                    jobs, initializer=start_worker, initargs=(stream, contents)
                )
            except (ImportError, OSError):  # no semaphores here
                self.pool = None

    def run(self, function: Callable[..., Any], jobs: Iterator[Job]) -> Iterator[Any]:
        if self.pool is None:
            for job in jobs:
                yield function(*job)
            return
        waiting: deque[Any] = deque()
        try:
            for job in jobs:
                waiting.append(self.pool.submit(function, *job))
                if len(waiting) > 3 * self.jobs:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for each in waiting:
                each.cancel()

    def __enter__(self) -> Workers:  # noqa: PYI034
        return self

    def __exit__(self, *_: object) -> None:
        if self.pool is not None:
            self.pool.shutdown()


# ------------------------------------------------------------------ what is said


class Report:
    """Says each fault in a line. `damaged`: what parity may restore; `wrong`: all else."""

    def __init__(self) -> None:
        self.damaged = 0
        self.wrong = 0

    def say(self, text: str) -> None:
        self.clear()
        print(shown(text), flush=True)

    def fault(self, text: str) -> None:
        self.wrong += 1
        self.limited("WRONG    " + text)

    def damage(self, text: str) -> None:
        self.damaged += 1
        self.limited("DAMAGED  " + text)

    def limited(self, text: str) -> None:
        if self.wrong + self.damaged <= MAX_LINES:
            self.say(text)
        elif self.wrong + self.damaged == MAX_LINES + 1:
            self.say("More faults are counted, and not listed.")

    def progress(self, text: str) -> None:
        if sys.stderr.isatty():
            sys.stderr.write("\r\x1b[K" + shown(text)[:78])
            sys.stderr.flush()

    def clear(self) -> None:
        if sys.stderr.isatty():
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()


def plural(count: int, what: str) -> str:
    return "%d %s%s" % (count, what, "" if count == 1 else "s")


def ranges(values: Sequence[int]) -> str:
    """Sorted numbers, as "1-3, 7"."""
    found: List[List[int]] = []
    for value in values:
        if found and found[-1][1] == value - 1:
            found[-1][1] = value
        else:
            found.append([value, value])
    text = ["%d" % a if a == b else "%d-%d" % (a, b) for a, b in found[:20]]
    return ", ".join(text) + (", …" if len(found) > 20 else "")


# ------------------------------------------------------------------ the bundle on its media


class Document(NamedTuple):
    """bundle.json: the id, the contents, and (bytes, sha256) of the parts that were written."""

    id: str
    contents: bytes
    parts: Dict[int, Tuple[int, str]]


def read_document(path: str) -> Document:
    with open_plainly(path) as file:
        value = parse(file.read(MAX_DOCUMENT + 1), MAX_DOCUMENT, "bundle.json")
    top = Fields(value, "type id contents made parts check")
    need(top.text("type") == "outlast-bundle-file-v1", "type (of a newer version?)")
    check = value.pop("check")
    if hashlib.sha256(canonical(value)).hexdigest() != check:
        raise Bad("its check is wrong")
    contents = canonical(top.found["contents"])
    if hashlib.sha256(contents).hexdigest() != top.digest("id"):
        raise Bad("its contents do not have the sha256 that is the id")
    parts = {}
    for each in top.items("parts"):
        part = Fields(each, "number size sha256")
        at = part.number("number", MAX_PARTS)
        parts[at] = (part.number("size", MAX_STREAM), part.digest("sha256"))
    return Document(top.digest("id"), contents, parts)


class Bundle:
    """What lies on the media, as far as it is of one bundle. Faults go to the report."""

    def __init__(self, folders: List[str], report: Report, wanted: str) -> None:
        self.folders = folders
        self.report = report
        self.documents = self.read_documents()
        files = list(self.find_parts())
        ids = Counter(file.header.id for file in files if file.header)
        ids.update(document.id for document in self.documents)
        self.id = wanted or (ids.most_common(1)[0][0] if ids else "")
        if self.id not in ids:
            raise Bad("no part of %s is here" % (self.id or "a bundle"))
        self.sums: Dict[int, Tuple[int, str]] = {}
        for document in self.documents:
            if document.id == self.id:
                self.sums.update(document.parts)
            else:
                report.fault("bundle.json is of another bundle: %s" % document.id)
        header = self.common_header(files)
        self.files = dict(self.sorted_out(files, header))
        paths = {part: (file.path, file.size) for part, file in self.files.items()}
        self.stream = Stream(header, paths)
        self.header = header

    def label(self, path: str) -> str:
        if len(self.folders) > 1:
            return path
        return os.path.relpath(path, self.folders[0]).replace(os.sep, "/")

    def read_documents(self) -> List[Document]:
        found = []
        for folder in self.folders:
            path = os.path.join(folder, "bundle.json")
            try:
                found.append(read_document(path))
            except FileNotFoundError:
                self.report.damage("%s: missing" % self.label(path))
            except (Bad, OSError) as error:
                self.report.damage("%s: %s" % (self.label(path), reason(error)))
        return found

    def find_parts(self) -> Iterator[PartFile]:
        for folder in self.folders:
            for kind in ("parts", "parity"):
                for entry in listed(os.path.join(folder, kind), 2 * MAX_PARTS):
                    label = self.label(entry.path)
                    if not entry.is_file(follow_symlinks=False):
                        self.report.fault("%s: a link or no file; left out" % label)
                        continue
                    try:
                        file = look_at_part(entry.path, label)
                    except OSError as error:
                        self.report.damage("%s: %s" % (label, reason(error)))
                        continue
                    if file.fault:
                        self.report.fault("%s: %s" % (label, file.fault))
                    if file.header or file.named >= 0:
                        yield file
                    else:
                        self.report.fault("%s: not a part of a bundle" % label)

    def common_header(self, files: List[PartFile]) -> Header:
        """What the headers of the parts of this bundle agree on."""
        found = Counter(
            file.header._replace(part=0)
            for file in files
            if file.header and file.header.id == self.id
        )
        if found:
            return found.most_common(1)[0][0]
        data = next(each.contents for each in self.documents if each.id == self.id)
        return Header(0, self.id, len(data), read_contents(data).geometry)

    def sorted_out(self, files: List[PartFile], common: Header) -> Iterator[Tuple[int, PartFile]]:
        """The best file for each part: one whose name is right rather than another."""
        geometry, taken = common.geometry, {}  # type: ignore[var-annotated]
        files.sort(
            key=lambda file: (
                not file.header,
                bool(file.header and file.header.part != file.named),
                file.path,
            )
        )
        for file in files:
            part = file.header.part if file.header else file.named
            if file.header and file.header.id != self.id:
                self.report.fault("%s: of another bundle: %s" % (file.label, file.header.id))
            elif file.header and file.header._replace(part=0) != common:
                self.report.fault("%s: of this bundle, but cut otherwise" % file.label)
            elif part >= geometry.parts:
                self.report.fault("%s: the bundle has no part %d" % (file.label, part))
            elif part in taken:
                self.report.fault(
                    "%s: a second part %d beside %s" % (file.label, part, taken[part])
                )
            else:
                taken[part] = file.label
                if not file.label.endswith(geometry.name(part)):
                    self.report.damage(
                        "%s: is %s by its header" % (file.label, geometry.name(part))
                    )
                if file.size != geometry.size_of(part):
                    sizes = (file.label, file.size, geometry.size_of(part))
                    self.report.damage("%s: has %d bytes and not %d" % sizes)
                for header, where in zip(file.headers, ("start", "end")):
                    if header is None:
                        self.report.damage(
                            "%s: the header at its %s is damaged" % (file.label, where)
                        )
                    elif header != file.header:
                        self.report.damage("%s: its two headers differ" % file.label)
                yield part, file

    def read_contents(self) -> Contents:
        """From the stream; if that is lost, from bundle.json."""
        data = [d.contents for d in self.documents if d.id == self.id]
        try:
            need(self.header.contents <= MAX_CONTENTS, "length of the contents")
            for self.stream.careful in (False, True):
                found = self.stream.read(0, self.header.contents)
                if hashlib.sha256(found).hexdigest() == self.id:
                    data.insert(0, found)
                    break
            else:
                self.report.damage(
                    "the contents in the stream do not have the sha256 that is the id"
                )
        except (Bad, Lost) as error:
            self.report.damage("the contents in the stream: %s" % error)
        finally:
            self.stream.careful = False
        if not data:
            raise Bad("the contents of the bundle are lost; nothing can be restored")
        contents = read_contents(data[0])
        if contents.geometry != self.header.geometry:
            raise Bad("the contents have another layout than the parts")
        return contents


def inside_bag(folder: str) -> str:
    """Where the bundle is in a folder: below data/, if that is a BagIt bag."""
    inside = os.path.join(folder, "data")
    if os.path.exists(os.path.join(folder, "bundle.json")) or os.path.islink(inside):
        return folder
    return inside if os.path.isdir(inside) else folder


def listed(folder: str, most: int) -> List[Any]:
    """The entries of a folder, by name; none where there is no folder, or a link."""
    if os.path.islink(folder):
        return []
    try:
        with os.scandir(folder) as entries:
            return sorted(itertools.islice(entries, most), key=lambda entry: entry.name)
    except OSError:
        return []


def reason(error: BaseException) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


# ------------------------------------------------------------------ checks


def check_parts(bundle: Bundle, workers: Workers, quick: bool) -> None:
    """The sha256 of each part, and the sums of its blocks (`quick`: if the sha256 is wrong)."""
    report, geometry = bundle.report, bundle.stream.geometry
    missing = [part for part in range(geometry.parts) if part not in bundle.files]
    if missing:
        what = "%s missing: %s" % (plural(len(missing), "part"), ranges(missing))
        report.damage(what + " (on another medium? --media FOLDER)")
    parts = sorted(bundle.files)
    again: List[int] = []
    for sums in (not quick, True):
        for found in workers.run(work_scan, iter([(part, sums) for part in parts])):
            part, size, sha256, states = found
            label = bundle.files[part].label
            report.progress("checked %s" % label)
            wrong = part in bundle.sums and bundle.sums[part] != (size, sha256)
            bad = [row for row, state in enumerate(states) if state == DAMAGED]
            if bad:
                what = "%s damaged: %s" % (plural(len(bad), "block"), ranges(bad))
                report.damage("%s: %s" % (label, what))
            elif wrong and sums:
                report.damage("%s: its sha256 is not the one in bundle.json" % label)
            elif wrong:
                again.append(part)
            if states:
                bundle.stream.states[part] = bytearray(states)
        parts = again
        if not parts:
            break


def check_cells(bundle: Bundle, contents: Contents) -> None:
    """Whether parity restores all damaged blocks of an encrypted bundle."""
    stream, geometry = bundle.stream, contents.geometry
    stream.careful = True
    for part in range(geometry.data_parts):
        for row in range(geometry.rows_of(part)):
            if stream.state(part, row) != DAMAGED:
                continue
            try:
                stream.block(part, row)
            except Lost as error:
                bundle.report.fault(str(error))
    bundle.report.say(
        "note     the bundle is encrypted: it was checked that its parts are what was written, and "
        "not what is in them; 'outlast import --identity FILE' does that"
    )


def check_records(bundle: Bundle, contents: Contents) -> List[File]:
    """The records, and the files that the manifests of the models name."""
    report = bundle.report
    files: List[File] = []
    for record in contents.records:
        try:
            data = read_record_data(bundle, contents, record)
            check_copies(bundle, record, data)
            for model in contents.models:
                if record.sha256 in model.manifests:
                    files += read_manifest(data, record.sha256, model)
        except (Bad, Lost) as error:
            report.fault("%s: %s" % (record.path, error))
    for file in files:
        payload = contents.payloads.get(file.blob)
        what = "%s: %s" % (file.model, file.path)
        if payload is None and file.blob not in contents.assumed:
            report.fault("%s: the bundle does not hold it" % what)
        elif payload is not None and payload.size != file.size:
            report.fault("%s: the manifest and the contents give it different sizes" % what)
    return files


def read_record_data(bundle: Bundle, contents: Contents, record: Record) -> bytes:
    """From the stream; if it is lost there, the copy on a medium. The sha256 proves either."""
    error: Exception = Bad("does not have the sha256 that the contents name")
    try:
        for bundle.stream.careful in (False, True):
            data = bundle.stream.read(contents.base + record.offset, record.size)
            if hashlib.sha256(data).hexdigest() == record.sha256:
                return data
    except Lost as lost:
        error = lost
    finally:
        bundle.stream.careful = False
    for folder in bundle.folders:
        try:
            with open_plainly(os.path.join(folder, *record.path.split("/"))) as file:
                data = bytes(file.read(record.size + 1))
        except OSError:
            continue
        if hashlib.sha256(data).hexdigest() == record.sha256:
            bundle.report.damage("%s in the stream: %s" % (record.path, error))
            return data
    raise error


def check_copies(bundle: Bundle, record: Record, data: bytes) -> None:
    """The copies of a record, which lie on the media for people."""
    for folder in bundle.folders:
        path = os.path.join(folder, *record.path.split("/"))
        try:
            with open_plainly(path) as file:
                same = file.read(len(data) + 1) == data
        except OSError as error:
            bundle.report.damage("%s: %s" % (bundle.label(path), reason(error)))
            continue
        if not same:
            bundle.report.damage("%s: is not what the bundle holds" % bundle.label(path))


TOP = {"bundle.json", "MANIFEST.md", "index.html", "verify.py", "parts", "parity"}
TOP |= {"manifests", "attestations"}
IN_CLEAR = {"MANIFEST.md", "index.html", "manifests", "attestations"}
BAG = {"bagit.txt", "bag-info.txt", "manifest-sha256.txt", "tagmanifest-sha256.txt"}


def check_strangers(bundle: Bundle, contents: Contents) -> None:
    """Files that are not of the bundle."""
    records = {record.path for record in contents.records}
    known = (TOP - IN_CLEAR if contents.sealed else TOP) | BAG
    known |= {path.split("/")[0] for path in records}
    for folder in bundle.folders:
        for entry in listed(folder, 10_000):
            if entry.name not in known or entry.is_symlink():
                bundle.report.fault("%s: not of the bundle" % bundle.label(entry.path))
        for top in ("manifests", "attestations", "wheels", "catalogues"):
            below = [os.path.join(folder, top)]
            while below:
                for entry in listed(below.pop(), 1_000_000):
                    path = os.path.relpath(entry.path, folder).replace(os.sep, "/")
                    if entry.is_dir(follow_symlinks=False):
                        below.append(entry.path)
                    elif path not in records or not entry.is_file(follow_symlinks=False):
                        bundle.report.fault("%s: not of the bundle" % bundle.label(entry.path))


Write = Callable[[bytes], object]


class Restorer:
    """Restores blobs, and compares them with what names them."""

    def __init__(self, bundle: Bundle, contents: Contents, workers: Workers) -> None:
        self.bundle = bundle
        self.workers = workers
        self.contents = contents
        self.blobs = Blobs(bundle.stream, contents)

    def jobs(self, blob: str, careful: bool) -> Iterator[Job]:
        """Runs of blocks of a capsule, of about 1 MiB."""
        capsule = self.blobs.capsule(blob)
        first = size = 0
        count = capsule.count(capsule.spans)
        for block in range(count):
            size += capsule.place(block)[1]
            if size >= CHUNK or block + 1 == count:
                yield blob, first, block + 1, careful
                first, size = block + 1, 0

    def pieces(self, payload: Payload, careful: bool) -> Iterator[bytes]:
        if payload.form == "capsule":
            yield from self.workers.run(work_decode, self.jobs(payload.blob, careful))
        else:
            for at in range(0, payload.length, CHUNK):
                yield self.blobs.read_payload(payload, at, min(CHUNK, payload.length - at))

    def restore(self, payload: Payload, files: Sequence[File], write: Write, careful: bool) -> None:
        """Raises :class:`Bad` or :class:`Lost`."""
        self.bundle.stream.careful = careful
        wanted = {file.git for file in files if file.git}
        sha256, git = hashlib.sha256(), hashlib.sha1(b"blob %d\0" % payload.size)
        size = 0
        try:
            for piece in self.pieces(payload, careful):
                sha256.update(piece)
                if wanted:
                    git.update(piece)
                size += len(piece)
                self.bundle.report.progress("%s: %d MB" % (payload.blob[:12], size // 10**6))
                write(piece)
        finally:
            self.bundle.stream.careful = False
        if (sha256.hexdigest(), size) != (payload.blob, payload.size):
            raise Bad("its sha256 is %s and not %s" % (sha256.hexdigest(), payload.blob))
        if wanted - {git.hexdigest()}:
            raise Bad("it is not the file that the manifest names by its git blob id")

    def check_sums(self, payload: Payload) -> None:
        """Of a delta capsule whose base is elsewhere."""
        for _ in self.workers.run(work_sums, self.jobs(payload.blob, careful=False)):
            pass


def check_payloads(restorer: Restorer, files: List[File]) -> Tuple[int, int]:
    """Restores all payloads, and writes nothing. How many could not be, and the bytes restored."""
    report, by_blob = restorer.bundle.report, group_by_blob(files)
    elsewhere = total = 0
    for payload in restorer.contents.payloads.values():
        users = by_blob.get(payload.blob, [])
        for careful in (False, True):
            try:
                restorer.restore(payload, users, len, careful)
                total += payload.size
                break
            except Elsewhere:
                elsewhere += 1
                try:
                    restorer.check_sums(payload)
                except (Bad, Lost) as error:
                    report.fault("%s: %s" % (named(payload.blob, users), error))
                break
            except (Bad, Lost) as error:
                if careful:
                    report.fault("%s: %s" % (named(payload.blob, users), error))
    return elsewhere, total


def group_by_blob(files: List[File]) -> Dict[str, List[File]]:
    found: Dict[str, List[File]] = {}
    for file in files:
        found.setdefault(file.blob, []).append(file)
    return found


def named(blob: str, users: Sequence[File]) -> str:
    if not users:
        return "the payload %s" % blob
    more = "" if len(users) == 1 else " (and %s)" % plural(len(users) - 1, "other file")
    return "%s: %s%s" % (users[0].model, users[0].path, more)


# ------------------------------------------------------------------ files


class Target:
    """The folder in which files are restored. No link is followed and nothing is overwritten."""

    def __init__(self, root: str) -> None:
        os.makedirs(root, exist_ok=True)
        self.root = root
        self.temporary = os.path.join(root, ".restoring-%d" % os.getpid())

    def place(self, folder: Sequence[str], name: str) -> str:
        """The path of a file, whose folders are made. Raises :class:`Bad`."""
        path = self.root
        parts = [*folder, *name.split("/")]
        for part in parts[:-1]:
            path = os.path.join(path, part)
            try:
                os.mkdir(path)
            except FileExistsError:
                found = os.lstat(path)
                is_link = getattr(found, "st_file_attributes", 0) & 0x400  # a junction
                if not stat.S_ISDIR(found.st_mode) or is_link:
                    raise Bad("%s is in the way: a link or no folder" % path) from None
        return os.path.join(path, parts[-1])

    def clear(self) -> None:
        if os.path.lexists(self.temporary):
            os.unlink(self.temporary)

    def create(self) -> Any:
        self.clear()
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        flags |= getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
        return os.fdopen(os.open(self.temporary, flags, 0o644), "wb")

    def publish(self, path: str) -> None:
        if os.path.lexists(path):
            raise Bad("%s exists, and is not overwritten" % path)
        os.rename(self.temporary, path)


def holds(path: str, file: File) -> bool:
    """Whether a file of the right sha256 is there. Raises :class:`Bad` for anything else."""
    if not os.path.lexists(path):
        return False
    try:
        with open_plainly(path) as found:
            digest = hashlib.sha256()
            for piece in iter(lambda: found.read(CHUNK), b""):
                digest.update(piece)
    except OSError:
        raise Bad("%s is in the way: a link or no file" % path) from None
    if digest.hexdigest() != file.blob:
        raise Bad("%s exists with other contents, and is not overwritten" % path)
    return True


def restore_files(restorer: Restorer, files: List[File], root: str) -> Tuple[int, int]:
    """How many files were written, and their bytes."""
    report, target, written, total = restorer.bundle.report, Target(root), 0, 0
    folders: Dict[Tuple[str, ...], List[str]] = {}
    for file in files:
        folders.setdefault(file.folder, []).append(file.path)
    names = {folder: portable_names(paths) for folder, paths in folders.items()}
    for file in files:
        if names[file.folder][file.path] != file.path:
            report.say("renamed  %s -> %s" % (file.path, names[file.folder][file.path]))
    size = sum(file.size for file in files)
    free = shutil.disk_usage(root).free
    if size > free:
        report.say("note     %d bytes are to be written, and %d are free" % (size, free))
    for blob, users in group_by_blob(files).items():
        source = ""  # where this blob is already
        for file in users:
            try:
                path = target.place(file.folder, names[file.folder][file.path])
                if not holds(path, file):
                    if source:
                        copy_file(source, file, target)
                    else:
                        write_blob(restorer, blob, users, target)
                    target.publish(path)
                    written, total = written + 1, total + file.size
                source = path
            except (Bad, Lost) as error:
                report.fault("%s: %s" % (named(blob, [file]), error))
            finally:
                target.clear()
    return written, total


def restore_program(bundle: Bundle, contents: Contents, root: str) -> None:
    """What installs outlast, as the bundle's parts have it. Nothing of it is run."""
    target, written = Target(root), 0
    for record in contents.records:
        if not is_program(record.path):
            continue
        try:
            data = read_record_data(bundle, contents, record)
            path = target.place((), record.path)
            with target.create() as out:
                out.write(data)
            target.publish(path)
            written += 1
        except (Bad, Lost) as error:
            bundle.report.fault("%s: %s" % (record.path, error))
        finally:
            target.clear()
    if not written:
        raise Usage("the bundle carries no program, or none of it could be restored")
    bundle.report.say("restored %s" % plural(written, "file"))


def write_blob(restorer: Restorer, blob: str, users: List[File], target: Target) -> None:
    payload = restorer.blobs.payload(blob)
    for careful in (False, True):
        with target.create() as out:
            try:
                restorer.restore(payload, users, out.write, careful)
                out.flush()
                os.fsync(out.fileno())
                return
            except (Bad, Lost):
                if careful:
                    raise


def copy_file(source: str, file: File, target: Target) -> None:
    digest = hashlib.sha256()
    with open_plainly(source) as found, target.create() as out:
        for piece in iter(lambda: found.read(CHUNK), b""):
            digest.update(piece)
            out.write(piece)
        out.flush()
        os.fsync(out.fileno())
    if digest.hexdigest() != file.blob:
        raise Bad("%s changed while it was copied" % source)


# ------------------------------------------------------------------ the command


def select(contents: Contents, files: List[File], names: List[str]) -> List[File]:
    """The files of the models, or of one revision of one: NAME or NAME@REF."""
    found: List[File] = []
    for wanted in names:
        name, _, ref = wanted.partition("@")
        models = [model for model in contents.models if model.label == name]
        if not models:
            raise Usage("the bundle has no model %s" % shown(name))
        commit = models[0].refs.get(ref, ref)
        mine = [f for f in files if f.model == name and f.folder[-1].startswith(commit)]
        if not mine:
            raise Usage("the bundle has no files of %s" % shown(wanted))
        found += mine
    return found if names else files


def print_list(bundle: Bundle, contents: Contents, files: List[File]) -> None:
    say = bundle.report.say
    say("bundle %s, sequence %d" % (contents.id, contents.sequence))
    for model in contents.models:
        marks = "" if model.open else ", PRIVATE OR GATED"
        say("%s (licence: %s%s)" % (model.label, model.licence or "not named", marks))
        names: Dict[str, List[str]] = {}
        for ref, commit in model.refs.items():
            names.setdefault(commit, []).append(ref)
        mine = [file for file in files if file.model == model.label]
        for revision in sorted({file.folder[-1] for file in mine}):
            say("  revision %s %s" % (revision, ", ".join(names.get(revision, []))))
            for file in sorted(f for f in mine if f.folder[-1] == revision):
                where = "" if file.blob in contents.payloads else "  (not in this bundle)"
                say("  %s %12d %s%s" % (file.blob, file.size, file.path, where))


class Usage(Exception):
    pass


def arguments(given: Optional[List[str]]) -> argparse.Namespace:
    here = os.path.dirname(os.path.abspath(__file__))
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", metavar="NAME", nargs="*", help="models to restore or list")
    parser.add_argument("--media", metavar="FOLDER", action="append", default=[])
    parser.add_argument("--here", metavar="FOLDER", default=here, help="in place of this folder")
    parser.add_argument("--id", default="", help="the id that the bundle must have")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--restore", metavar="FOLDER", default="")
    parser.add_argument("--program", metavar="FOLDER", default="")
    return parser.parse_args(given)


def work(args: argparse.Namespace, report: Report) -> None:
    begun = time.monotonic()
    folders = [inside_bag(folder) for folder in (args.here, *args.media)]
    bundle = Bundle(folders, report, args.id.lower())
    report.say("bundle   %s" % bundle.id)
    try:
        if not (args.list or args.restore or args.program):
            with Workers(args.jobs, bundle.stream, None) as workers:
                check_parts(bundle, workers, args.quick)
        contents = bundle.read_contents()
        if contents.sealed:
            if args.list or args.restore or args.names:
                raise Usage("the bundle is encrypted: 'outlast import --identity FILE' reads it")
            check_cells(bundle, contents)
            check_strangers(bundle, contents)
            return
        files = select(contents, check_records(bundle, contents), args.names)
        if args.list:
            print_list(bundle, contents, files)
            return
        if args.program:
            restore_program(bundle, contents, args.program)
            return
        with Workers(args.jobs, bundle.stream, contents) as workers:
            total = work_through(args, Restorer(bundle, contents, workers), files)
    finally:
        bundle.stream.close()
    seconds = time.monotonic() - begun
    report.say("%d bytes restored and compared in %.1f s" % (total, seconds))


def work_through(args: argparse.Namespace, restorer: Restorer, files: List[File]) -> int:
    """Restores, or checks, the payloads. How many bytes."""
    report = restorer.bundle.report
    if args.restore:
        written, total = restore_files(restorer, files, args.restore)
        report.say("restored %s" % plural(written, "file"))
        return total
    check_strangers(restorer.bundle, restorer.contents)
    elsewhere, total = (0, 0) if args.quick else check_payloads(restorer, files)
    if elsewhere:
        report.say(
            "note     %s: the base is not in this bundle, but expected to be in the archive; the "
            "sums alone were compared" % plural(elsewhere, "delta")
        )
    return total


def main(given: Optional[List[str]] = None) -> int:
    args, report = arguments(given), Report()
    try:
        work(args, report)
    except Usage as error:
        print(error, file=sys.stderr)
        return 2
    except (Bad, Lost) as error:
        report.fault(str(error))
    except OSError as error:
        report.fault("%s: %s" % (getattr(error, "filename", None) or "the disk", reason(error)))
    except KeyboardInterrupt:
        report.clear()
        print("interrupted", file=sys.stderr)
        return 130
    if report.wrong:
        report.say(
            "%s. The bundle is not what it should be."
            % plural(report.wrong + report.damaged, "fault")
        )
        return 1
    if report.damaged and args.quick:
        report.say(
            "%s. Without --quick it is seen what can be restored." % plural(report.damaged, "fault")
        )
        return 1
    if report.damaged:
        report.say("%s, and everything can be restored." % plural(report.damaged, "fault"))
        return 3
    report.say("All is well.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
