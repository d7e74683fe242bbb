"""Reed-Solomon: every path held to the reference and to docs/format/parity.md."""

import hashlib
import os
import random
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from outlast.codec import erasure, kernels
from outlast.codec.erasure import Encoder, Repair
from outlast.core.errors import BeyondRepairError
from tests.codec import weights
from tests.codec.reference import galois

PLACE = os.path.join(os.path.dirname(__file__), "..", "..", "docs", "format", "parity.md")
with open(PLACE, encoding="utf-8") as _file:
    VECTORS = dict(re.findall(r"```vector ([a-z ]+)\n(.*?)```", _file.read(), re.DOTALL))


def cut(stream: bytes, count: int) -> list[bytes]:
    length = len(stream) // count
    return [stream[length * i : length * (i + 1)] for i in range(count)]


def sample(count: int, length: int) -> list[bytes]:
    return cut(bytes((37 * i * i + 11 * i) % 251 for i in range(count * length)), count)


def encoded(data: list[bytes], parity: int) -> list[bytes]:
    encoder = Encoder(parity, len(data[0]))
    for at in range(0, len(data), erasure.TOGETHER):
        encoder.add(at, data[at : at + erasure.TOGETHER])
    return list(map(bytes, encoder.blocks))


def test_the_document_has_these_factors() -> None:
    rows = [bytes.fromhex(line) for line in VECTORS["factors"].split("\n") if line]
    assert len(rows) == 3
    for i, row in enumerate(rows):
        assert list(row) == [erasure.factor(i, j) for j in range(8)]
        assert list(row) == [galois.factor(i, j) for j in range(8)]


@pytest.mark.parametrize("path", kernels.paths())
def test_the_document_has_these_parity_blocks(path: str) -> None:
    small = [bytes.fromhex(line) for line in VECTORS["small"].split("\n") if line]
    assert galois.encode(sample(5, 32), 3) == small
    with weights.path(path):
        assert encoded(sample(5, 32), 3) == small
        large = b"".join(encoded(sample(200, 600), 20))
    assert hashlib.sha256(large).hexdigest() == VECTORS["large"].strip()


def test_factors_of_every_place() -> None:
    for i in range(255):
        for j in range(255 - i):
            assert galois.product(erasure.factor(i, j), (255 - i) ^ j) == 1


@pytest.mark.parametrize("path", kernels.paths())
def test_products_of_all_pairs(path: str) -> None:
    everything = bytes(range(256))
    with weights.path(path):
        for number in range(256):
            out = bytearray(256)
            kernels.combine(bytes([number]), [everything], [out])
            assert out == galois.times(everything, number)


@pytest.mark.parametrize("path", kernels.paths())
@given(
    length=st.one_of(st.integers(0, 300), st.integers(4000, 4700), st.just(12_345)),
    shape=st.tuples(st.integers(0, 11), st.integers(0, 9)),
    seed=st.integers(0, 2**32),
    skip=st.integers(0, 64),
)
def test_any_combination(
    path: str, length: int, shape: tuple[int, int], seed: int, skip: int
) -> None:
    """Adds to what is there, at any address, and writes nowhere else."""
    rng, (sources, targets) = random.Random(seed), shape
    factors = rng.randbytes(sources * targets)
    given_blocks = [rng.randbytes(skip + length) for _ in range(sources)]
    out = [bytearray(rng.randbytes(skip + length + 64)) for _ in range(targets)]
    expected = [bytes(block) for block in out]
    for t in range(targets):
        total = expected[t][skip : skip + length]
        for s in range(sources):
            total = galois.plus(
                total, galois.times(given_blocks[s][skip:], factors[t * sources + s])
            )
        expected[t] = expected[t][:skip] + total + expected[t][skip + length :]
    with weights.path(path):
        kernels.combine(
            factors,
            [memoryview(block)[skip:] for block in given_blocks],
            [memoryview(block)[skip : skip + length] for block in out],
        )
    assert out == expected


@settings(max_examples=60)
@given(st.data())
def test_any_blocks_that_are_enough_give_the_others(draw: st.DataObject) -> None:
    data = draw.draw(st.integers(1, 254), "data")
    parity = draw.draw(st.integers(0, min(255 - data, 40)), "parity")
    lost = draw.draw(st.sets(st.integers(0, data + parity - 1), max_size=parity), "lost")
    blocks = sample(data, 17)
    whole = dict(enumerate([*blocks, *encoded(blocks, parity)]))
    repair = Repair(data, parity, lost)
    restored = repair.restore({number: whole[number] for number in repair.needed})
    assert restored == {number: whole[number] for number in lost}
    assert lost.isdisjoint(repair.needed)


@pytest.mark.parametrize(("data", "parity"), [(1, 254), (254, 1), (128, 127), (200, 20), (3, 2)])
def test_the_reference_solves_what_we_encode_and_we_restore_it(data: int, parity: int) -> None:
    rng = random.Random(data)
    blocks = sample(data, 9)
    whole = dict(enumerate([*blocks, *encoded(blocks, parity)]))
    lost = rng.sample(range(data + parity), parity)
    there = {number: block for number, block in whole.items() if number not in lost}
    if data <= 20:
        assert galois.solve(data, there) == blocks
    assert Repair(data, parity, lost).restore(there) == {number: whole[number] for number in lost}


def test_a_stream_in_any_order_and_in_parts() -> None:
    data = sample(7, 100)
    whole = encoded(data, 4)
    encoder = Encoder(4, 100)
    parts = [(j, at) for j in range(7) for at in range(0, 100, 25)]
    random.Random(3).shuffle(parts)
    for j, at in parts:
        encoder.add(j, [data[j][at : at + 25]], at)
    assert encoder.blocks == whole
    encoder.clear()
    encoder.add(0, data)
    assert encoder.blocks == whole


def test_more_parity_begins_with_less_and_more_data_are_zeros_until_then() -> None:
    data = sample(9, 50)
    assert encoded(data, 6)[:2] == encoded(data, 2)
    assert encoded([*data, bytes(50)], 6) == encoded(data, 6)


def test_what_cannot_be_restored() -> None:
    with pytest.raises(BeyondRepairError, match="4 blocks are lost, and 3 can be repaired"):
        Repair(10, 3, [0, 4, 11, 12])
    assert Repair(10, 3, []).restore(dict.fromkeys(range(10), b"x")) == {}
    for data, parity, lost in (
        (0, 3, [0]),
        (250, 6, []),
        (10, 3, [13]),
        (10, 3, [-1]),
        (3, -1, []),
    ):
        with pytest.raises(ValueError, match="codeword"):
            Repair(data, parity, lost)


def test_the_encoder_checks_its_bounds() -> None:
    encoder = Encoder(20, 100)
    with pytest.raises(ValueError, match="codeword"):
        encoder.add(235, [bytes(100)])
    encoder.add(234, [bytes(100)])
    for block, at in ((bytes(101), 0), (bytes(50), 51), (b"", -1)):
        with pytest.raises(ValueError, match="longer"):
            encoder.add(0, [block], at)
    with pytest.raises(ValueError, match="one length"):
        encoder.add(0, [bytes(10), bytes(9)])
    Encoder(0, 100).add(0, [bytes(100)])


@pytest.mark.parametrize("path", kernels.paths())
def test_the_kernel_checks_its_bounds(path: str) -> None:
    block, out = bytes(10), bytearray(10)
    with weights.path(path):
        for factors in (b"", b"\1\2"):
            with pytest.raises(ValueError, match="one factor"):
                kernels.combine(factors, [block], [out])
        with pytest.raises(ValueError, match="one length"):
            kernels.combine(b"\1", [block], [bytearray(9)])
        with pytest.raises(ValueError, match="more blocks"):
            kernels.combine(bytes(257), [block] * 257, [out])
        with pytest.raises(BufferError):
            kernels.combine(b"\1", [block], [block])
