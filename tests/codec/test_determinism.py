"""The kernels choose what the document says an encoder must choose: an encoder that was written
from it makes the same bytes.
"""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outlast.codec import format as fmt
from tests.codec import model_encoder, weights


def check(kind: int, count: int, style: str, like: str, seed: int) -> int:
    rng = random.Random(seed)
    data = weights.STYLES[style](rng, kind, count)
    base = weights.BASES[like](rng, kind, data)
    found = weights.encode(kind, data, base)
    assert found == model_encoder.encode(kind, data, base)
    return found[0]


@pytest.mark.parametrize("kind", weights.KINDS)
@given(
    count=st.sampled_from((1, 2, 64, 129, 400, 1000, 1800)),
    style=st.sampled_from(tuple(weights.STYLES)),
    like=st.sampled_from(tuple(weights.BASES)),
    seed=st.integers(0, 1 << 32),
)
def test_blocks(kind: int, count: int, style: str, like: str, seed: int) -> None:
    size = fmt.SHAPES[kind][0]
    check(kind, max(1, min(count, (4000 if size < 18 else 6000) // size)), style, like, seed)


# Where the number of lanes changes, and where noise is sampled.
@pytest.mark.parametrize("count", [32_767, 32_768, 65_535, 65_536, 70_000])
@pytest.mark.parametrize("kind", [fmt.BF16, fmt.F16])
@pytest.mark.parametrize("style", ["skewed", "few symbols"])
def test_long_blocks(kind: int, count: int, style: str) -> None:
    assert check(kind, count, style, "none", count) == fmt.PLANES


@pytest.mark.parametrize("kind", [fmt.BF16, fmt.F16])
def test_long_differences(kind: int) -> None:
    assert check(kind, 40_000, "skewed", "near", 1) == fmt.DIFFERENCE


@pytest.mark.parametrize("kind", [kind for kind in weights.KINDS if kind >= fmt.Q8_0])
def test_long_quantised_blocks(kind: int) -> None:
    count = 36_000 // (32 if fmt.SHAPES[kind][0] < 40 else 256)
    assert check(kind, count, "skewed", "none", 2) == fmt.PLANES


@given(counts=st.lists(st.integers(0, 40) | st.integers(0, 5000), min_size=2, max_size=256))
def test_frequencies(counts: list[int]) -> None:
    """Of any shape; the frequencies are read from the plane's table."""
    data = b"".join(bytes((symbol,)) * count for symbol, count in enumerate(counts))
    if data:
        assert weights.encode(fmt.BYTES, data) == model_encoder.encode(fmt.BYTES, data, None)
