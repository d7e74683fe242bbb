"""The kernels choose what the document says an encoder must choose: an encoder that was written
from it makes the same bytes.
"""

import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outlast.codec import format as fmt
from tests.campaign import LONG, examples
from tests.codec import model_encoder, weights


def check(kind: int, count: int, style: str, like: str, seed: int) -> int:
    rng = random.Random(seed)
    data = weights.STYLES[style](rng, kind, count)
    base = weights.BASES[like](rng, kind, data)
    found = weights.encode(kind, data, base)
    assert found == model_encoder.encode(kind, data, base)
    return found[0]


@pytest.mark.parametrize("kind", weights.KINDS)
@examples(8)
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
LENGTHS = (32_767, 32_768, 65_535, 65_536, 70_000)
EACH_LENGTH = [("skewed", fmt.BF16, count) for count in LENGTHS]
EACH_LENGTH += [("few symbols", fmt.F16, 32_768), ("few symbols", fmt.F16, 65_536)]
ALL_LONG = list(itertools.product(("skewed", "few symbols"), (fmt.BF16, fmt.F16), LENGTHS))


@pytest.mark.torture
@pytest.mark.parametrize(("style", "kind", "count"), ALL_LONG if LONG else EACH_LENGTH)
def test_long_blocks(style: str, kind: int, count: int) -> None:
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


# ---------------------------------------------------------------- ties

ZERO, SMALL = 0x38, 0x08  # e4m3 numbers with exponents 7 and 1


def moved(base: bytes, steps: list[int]) -> bytes:
    """Positive e4m3 numbers so many units up."""
    return bytes(b + step for b, step in zip(base, steps, strict=True))


def test_parts_as_long_as_the_whole_are_not_taken() -> None:
    """Symbols of one context are constant; the more of them, the longer the whole is."""
    steps = random.Random(1).choices((0, 1), k=1500)
    ties = 0
    for more in range(1, 40):
        base = bytes((ZERO,)) * 1500 + bytes((SMALL,)) * more
        data = moved(base, steps + [1] * more)
        assert weights.encode(fmt.F8_E4M3, data, base) == model_encoder.encode(
            fmt.F8_E4M3, data, base
        )
        symbols = bytes(2 * step for step in steps)
        _, whole = model_encoder.plan(symbols + b"\2" * more)
        ties += whole == 1 + 2 + model_encoder.plan(symbols)[1]
    assert ties


def test_a_difference_of_half_the_bytes_is_kept() -> None:
    """Planes of constant data would be shorter, but are not tried."""
    ties, data = 0, bytes((ZERO,)) * 1024
    for count in range(300, 1024, 7):
        rng = random.Random(count)
        base = bytearray((ZERO,)) * 1024
        base[::64] = bytes((ZERO - 1,)) * 16  # no leaf is equal
        for at in rng.sample(range(1024), count):
            base[at] = ZERO - rng.randrange(32)
        tag, payload = weights.encode(fmt.F8_E4M3, data, bytes(base))
        if tag == fmt.PLANES or len(payload) > 508:
            found = model_encoder.encode(fmt.F8_E4M3, data, bytes(base))
            assert (tag, payload) == found
        ties += tag == fmt.DIFFERENCE and len(payload) == 512
    assert ties


@pytest.mark.parametrize("size", [64, 127, 128, 640, 4096])
def test_what_just_pays(size: int) -> None:
    """Stored, or a byte shorter: leaves that are equal to the base save just enough, or not."""
    rng, forms = random.Random(size), set()
    for equal in range(size // 128 + 1):
        data = rng.randbytes(size)
        base = data[: 128 * equal] + rng.randbytes(size - 128 * equal)
        found = weights.encode(fmt.BYTES, data, base)
        assert found == model_encoder.encode(fmt.BYTES, data, base)
        forms.add(found[0])
    assert fmt.STORED in forms


def test_a_block_that_just_pays() -> None:
    """A coded block of every size around 63/64 of what it restores."""
    sizes = set()
    for noisy in range(2600, 2900, 25):
        rng = random.Random(noisy)
        data = rng.randbytes(noisy) + bytes(rng.choices(range(64), k=3200 - noisy))
        found = weights.encode(fmt.BYTES, data)
        assert found == model_encoder.encode(fmt.BYTES, data, None)
        sizes.add(len(found[1]))
    assert max(sizes) == 3200


@pytest.mark.parametrize("count", [65_535, 65_536])
def test_noise_is_looked_for_from_65536_symbols_on(count: int) -> None:
    """Only what the sample sees is noise, so that it decides."""
    rng, fraction = random.Random(count), bytearray(count)
    for at in range(0, count, 32_768):
        fraction[at : at + 4096] = rng.randbytes(4096)
    data = b"".join(bytes((low, 0x3F)) for low in fraction)
    tag, payload = weights.encode(fmt.F16, data)
    assert (tag, payload) == model_encoder.encode(fmt.F16, data, None)
    assert (len(payload) > count) == (count >= 65_536)
