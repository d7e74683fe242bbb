"""Compares a file of parity with the sums that it has of itself."""

import array
import sys
from collections.abc import Callable, Iterator

from outlast.codec import kernels
from outlast.codec.memory import Readable, scratch
from outlast.core.errors import CorruptError, MalformedError, StorageError
from outlast.features.durability.parity.encode import sums_of
from outlast.features.durability.parity.geometry import (
    BLOCK,
    HEADER,
    SUM,
    SUMS,
    ParityHead,
    ParitySection,
)

_WINDOW = 256
"""Parity blocks that are read at once: 1 MiB."""


def is_sound(parity: Readable, head: ParityHead, between: Callable[[int], object]) -> bool:
    """Whether every byte of a file of parity, of the length that `head` says, is as it was written:
    both headers, both copies of the sums, and the parity itself.
    """
    try:
        return all(_parts(parity, head, between))
    except (CorruptError, MalformedError, StorageError):
        return False


def _parts(parity: Readable, head: ParityHead, between: Callable[[int], object]) -> Iterator[bool]:
    with scratch(HEADER) as header:
        for at in (0, head.file_size - HEADER):
            parity.readinto(at, header)
            yield bytes(header) == head.pack()
    for section in head.sections():
        size = section.pages * BLOCK
        with scratch(size) as pages, scratch(size) as copy:
            parity.readinto(section.at, pages)
            parity.readinto(section.copy_at, copy)
            between(2 * size)
            yield pages == copy and all(map(_is_right, _pages(pages)))
            sums = array.array("I", b"".join(page[: SUMS * SUM] for page in _pages(pages)))
        if sys.byteorder == "big":
            sums.byteswap()
        yield from _blocks(parity, section, sums, between)


def _pages(data: memoryview) -> Iterator[memoryview]:
    return (data[at : at + BLOCK] for at in range(0, len(data), BLOCK))


def _is_right(page: memoryview) -> bool:
    return kernels.xxh3(page[:-8]).to_bytes(8, "little") == page[-8:]


def _blocks(
    parity: Readable,
    section: ParitySection,
    sums: "array.array[int]",
    between: Callable[[int], object],
) -> Iterator[bool]:
    count = section.parity * section.rows
    with scratch(_WINDOW * BLOCK) as memory:
        for first in range(0, count, _WINDOW):
            window = memory[: min(_WINDOW, count - first) * BLOCK]
            parity.readinto(section.parity_at + first * BLOCK, window)
            between(len(window))
            known = sums[section.blocks + first :]
            yield all(one == right for one, right in zip(sums_of(window), known, strict=False))
