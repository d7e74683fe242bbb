"""The bytes of a file of parity, from a payload that is read once, in order."""

import array
import sys
from collections.abc import Callable, Iterator

from outlast.codec import kernels
from outlast.codec.erasure import TOGETHER, Encoder
from outlast.codec.memory import Readable, scratch
from outlast.features.durability.parity.geometry import BLOCK, SUM, SUMS, ParityHead, ParitySection


def encode(
    payload: Readable, head: ParityHead, seen: Callable[[memoryview], object]
) -> Iterator[memoryview]:
    """The file, in parts. `seen` gets all bytes of the payload, in order.

    Memory: 8 of 250 columns of a section and its parity, about 14 MB with 2 % of parity.
    """
    yield memoryview(head.pack())
    for section in head.sections():
        yield from _encode_section(payload, section, seen)
    yield memoryview(head.pack())


def _encode_section(
    payload: Readable, section: ParitySection, seen: Callable[[memoryview], object]
) -> Iterator[memoryview]:
    column = section.rows * BLOCK
    encoder = Encoder(section.parity, column)
    sums: list[int] = []
    with scratch(TOGETHER * column) as memory:
        for first in range(0, section.data, TOGETHER):
            columns = min(TOGETHER, section.data - first)
            offset = first * column
            found = max(0, min(section.size - offset, columns * column))
            payload.readinto(section.start + offset, memory[:found])
            seen(memory[:found])
            memory[found : columns * column] = bytes(columns * column - found)
            sums += sums_of(memory[: -(-found // BLOCK) * BLOCK])
            encoder.add(first, [memory[i * column : (i + 1) * column] for i in range(columns)])
    for block in encoder.blocks:
        sums += sums_of(memoryview(block))
    pages = memoryview(_pages(sums))
    yield pages
    for block in encoder.blocks:
        yield memoryview(block)
    yield pages


def sums_of(blocks: memoryview) -> Iterator[int]:
    """The sum of each block: the low half of its XXH3."""
    for at in range(0, len(blocks), BLOCK):
        yield kernels.xxh3(blocks[at : at + BLOCK]) & 0xFFFFFFFF


def _pages(sums: list[int]) -> bytes:
    pages = bytearray()
    for first in range(0, len(sums), SUMS):
        page = _little(sums[first : first + SUMS]).ljust(SUMS * SUM, b"\0")
        pages += page + kernels.xxh3(page).to_bytes(8, "little")
    return bytes(pages)


def _little(numbers: list[int]) -> bytes:
    packed = array.array("I", numbers)
    if sys.byteorder == "big":
        packed.byteswap()
    return packed.tobytes()
