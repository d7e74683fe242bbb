"""Containers and capsules that were found by fuzzing: refused or read, in bounded time and memory.
`make fuzz` looks for more; what it finds goes into parsers/.
"""

import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fuzz import checks, seeds

INPUTS = sorted((Path(__file__).parent / "parsers").iterdir())


@pytest.fixture(autouse=True, scope="module")
def _traced() -> Iterator[None]:
    tracemalloc.start()
    yield
    tracemalloc.stop()


@pytest.mark.timeout(20)
@pytest.mark.parametrize("case", [path.name for path in INPUTS])
def test_it_is_read_or_refused(case: str) -> None:
    checks.check((Path(__file__).parent / "parsers" / case).read_bytes())


@pytest.mark.timeout(60)
def test_the_seeds_are_good() -> None:
    """What fuzzing begins with is read to its end, so that it gets as far as the code goes."""
    whole = [*seeds.capsules(), *map(checks.mended, seeds.thin())]
    assert len(whole) > 150
    for capsule in whole:
        with checks.bounded(64 * checks.MIB):
            checks.read_all(capsule, refused=False)
