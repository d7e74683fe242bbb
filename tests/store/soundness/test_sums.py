"""The sums of a blob's pieces: the format, and what is refused as them."""

import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outlast.codec import kernels
from outlast.codec.hashing import names_of
from outlast.core.digest import Digest
from outlast.core.errors import MalformedError
from outlast.store.soundness import sums
from outlast.store.soundness.sums import Summing, Sums

MIB = 1 << 20
DATA = bytes(range(256)) * (5 * MIB // 512)  # two pieces and a half
BLOB = Digest.of(DATA)
RIGHT = Sums(BLOB, len(DATA), names_of(DATA).sums)
GOLDEN = Path("tests/golden/sums-v1.bin")


def test_the_file_is_as_the_format_says() -> None:
    pieces = [DATA[at : at + MIB] for at in range(0, len(DATA), MIB)]
    body = b"OLSUMS\0\1" + bytes.fromhex(BLOB.hex) + struct.pack("<Q", len(DATA))
    body += b"".join(struct.pack("<Q", kernels.xxh3(piece)) for piece in pieces)
    data = RIGHT.to_bytes()
    assert data == body + struct.pack("<Q", kernels.xxh3(body))
    assert len(data) == sums.file_size(len(DATA))
    assert Sums.parse(data, BLOB) == RIGHT


def test_version_1_is_read_for_ever() -> None:
    assert Sums.parse(GOLDEN.read_bytes(), BLOB) == RIGHT
    assert GOLDEN.read_bytes() == RIGHT.to_bytes()


@given(st.integers(0, 8 * sums.file_size(len(DATA)) - 1))
def test_each_flipped_bit_is_seen(bit: int) -> None:
    data = bytearray(RIGHT.to_bytes())
    data[bit // 8] ^= 1 << bit % 8
    with pytest.raises(MalformedError):
        Sums.parse(bytes(data), BLOB)


@given(st.binary(max_size=200))
def test_other_bytes_are_no_sums(data: bytes) -> None:
    with pytest.raises(MalformedError):
        Sums.parse(data, BLOB)


@pytest.mark.parametrize("size", [0, MIB, len(DATA) + MIB, 1 << 63, (1 << 64) - 1])
def test_a_size_that_the_sums_do_not_fit_is_refused(size: int) -> None:
    body = b"OLSUMS\0\1" + bytes.fromhex(BLOB.hex) + struct.pack("<Q", size) + RIGHT.values
    with pytest.raises(MalformedError):
        Sums.parse(body + struct.pack("<Q", kernels.xxh3(body)), BLOB)


def test_the_sums_of_another_blob_are_refused() -> None:
    with pytest.raises(MalformedError):
        Sums.parse(RIGHT.to_bytes(), Digest.of(b"another"))


def test_a_file_that_is_too_long_is_not_read_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "sums"
    path.write_bytes(RIGHT.to_bytes() + bytes(MIB))
    assert sums.load(path, BLOB, len(DATA)) is None
    path.write_bytes(RIGHT.to_bytes())
    assert sums.load(path, BLOB, len(DATA)) == RIGHT
    assert sums.load(path, BLOB, len(DATA) - MIB) is None
    assert sums.load(tmp_path / "none", BLOB, len(DATA)) is None


@given(st.lists(st.integers(1, 2 * MIB), min_size=1, max_size=6))
def test_they_do_not_depend_on_how_the_bytes_come(cuts: list[int]) -> None:
    summing, at, chunks = Summing(), 0, []
    for cut in cuts:
        chunks.append(memoryview(DATA)[at : at + cut])
        at += cut
    if at < len(DATA):
        chunks.append(memoryview(DATA)[at:])
    assert sum(map(len, summing.watch(chunks))) == len(DATA)
    assert summing.of(BLOB) == RIGHT


def test_a_blob_of_one_piece_has_none() -> None:
    summing = Summing()
    list(summing.watch([memoryview(DATA)[:MIB]]))
    assert summing.of(BLOB) is None
    assert names_of(DATA[:MIB]).sums == b""


def test_each_wrong_piece_is_told() -> None:
    pieces = [bytearray(DATA[at : at + MIB]) for at in range(0, len(DATA), MIB)]
    assert all(RIGHT.is_right(n, memoryview(piece)) for n, piece in enumerate(pieces))
    for number, piece in enumerate(pieces):
        piece[number] ^= 1
        assert not RIGHT.is_right(number, memoryview(piece))
