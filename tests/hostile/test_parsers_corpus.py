"""Containers and capsules that were found by fuzzing: refused or read, in bounded time and memory.
`make fuzz` looks for more; what it finds goes into parsers/.
"""

import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from outlast.codec import format as fmt
from outlast.codec.reader import read_directory
from outlast.core.digest import Digest
from tests.fuzz import checks, seeds

INPUTS = sorted((Path(__file__).parent / "parsers").iterdir())


@pytest.fixture(autouse=True, scope="module")
def _traced() -> Iterator[None]:
    tracemalloc.start()
    yield
    tracemalloc.stop()


@pytest.mark.parametrize("case", [path.name for path in INPUTS])
def test_it_is_read_or_refused(case: str) -> None:
    checks.check((Path(__file__).parent / "parsers" / case).read_bytes())


def test_the_seeds_are_good() -> None:
    """What fuzzing begins with is read to its end, so that it gets as far as the code goes."""
    whole = [*seeds.capsules(), *map(checks.mended, seeds.thin())]
    assert len(whole) > 150
    for capsule in whole:
        with checks.bounded(64 * checks.MIB):
            checks.read_all(capsule, refused=False)


class Hollow:
    """A capsule without its payloads, which the parsers do not read."""

    def __init__(self, directory: fmt.Directory) -> None:
        self.size = directory.capsule_size
        self._end = directory.pack_end()

    def readinto(self, offset: int, buffer: memoryview) -> None:
        at = offset - (self.size - len(self._end))
        assert at >= 0
        buffer[:] = self._end[at : at + len(buffer)]


@pytest.mark.parametrize(("spans", "blocks", "times"), [(1, 10_000, 4), (4_000, 1, 7)])
def test_a_directory_takes_what_it_says(spans: int, blocks: int, times: int) -> None:
    bases = [fmt.BaseRef(Digest.of(b""), 1 << 62)]
    each = [
        fmt.CapsuleSpan(fmt.BYTES, fmt.WEIGHTS * (blocks - 1) + 1000 + i, 1, 1000 + i)
        for i in range(spans)
    ]
    entries = b"".join(fmt.pack_entry(fmt.PLANES, 300 + i % 700, i) for i in range(spans * blocks))
    directory = fmt.Directory(Digest.of(b""), bases, each, entries)
    capsule = Hollow(directory)
    del each, entries
    read_directory(capsule)  # what the first use loads is not the directory's
    with checks.bounded(times * directory.packed_size):
        read_directory(capsule)
