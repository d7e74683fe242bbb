"""XXH3 and the leaf hashes of every path, held to the libraries that define them."""

import hashlib

import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from outlast.codec import kernels
from tests.codec import weights
from tests.codec.reference.xxh3 import xxh3
from tests.noise import noise

LEAF = 16 * 1024
LONG = noise(1, 200_000)


@pytest.mark.parametrize("path", kernels.paths())
def test_checksums_of_every_length(path: str) -> None:
    with weights.path(path):
        for length in (*range(1300), 2047, 2048, 2049, 65_535, 65_536, 199_999, 200_000):
            data = memoryview(LONG)[:length]
            assert kernels.xxh3(data) == xxhash.xxh3_64_intdigest(data), length


def test_the_reference_of_every_length() -> None:
    for length in (*range(700), 1023, 1024, 1025, 1087, 1088, 1089, 2048, 2049, 40_000):
        data = LONG[:length]
        assert xxh3(data) == xxhash.xxh3_64_intdigest(data), length


@pytest.mark.parametrize("path", kernels.paths())
@given(data=st.binary(max_size=3000), skip=st.integers(0, 64))
def test_checksums_of_any_bytes(path: str, data: bytes, skip: int) -> None:
    """At any address, too."""
    part = memoryview(data)[skip:]
    expected = xxhash.xxh3_64_intdigest(part)
    with weights.path(path):
        assert kernels.xxh3(part) == expected
    assert xxh3(bytes(part)) == expected


@pytest.mark.parametrize("path", kernels.paths())
@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 5, 8, 9])
def test_leaf_hashes(path: str, count: int) -> None:
    data = memoryview(LONG)[count : count + count * LEAF]
    out = bytearray(32 * count)
    with weights.path(path):
        kernels.leaf_hashes(data, out)
    leaves = [data[LEAF * i : LEAF * (i + 1)] for i in range(count)]
    assert out == b"".join(hashlib.sha256(leaf).digest() for leaf in leaves)


@pytest.mark.parametrize("path", kernels.paths())
def test_leaf_hashes_check_their_bounds(path: str) -> None:
    with weights.path(path):
        with pytest.raises(ValueError, match="whole number"):
            kernels.leaf_hashes(LONG[: LEAF + 1], bytearray(64))
        with pytest.raises(ValueError, match="too small"):
            kernels.leaf_hashes(LONG[: 2 * LEAF], bytearray(63))
