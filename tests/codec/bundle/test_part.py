"""What a part says of itself."""

import random

import pytest

from outlast.codec.bundle.geometry import HEADER_BYTES, Geometry, PartLayout
from outlast.codec.bundle.part import BlockSums, PartHeader
from outlast.core.digest import Digest
from outlast.core.errors import MalformedError

ID = Digest.of(b"a bundle")
CUT = Geometry(PartLayout(4096, 3, 4, 2), 100_000)


@pytest.mark.parametrize("part", range(CUT.parts))
def test_a_header_is_read_as_it_was_written(part: int) -> None:
    header = PartHeader(ID, part, CUT, 700)
    data = header.pack()
    assert len(data) == HEADER_BYTES
    assert PartHeader.unpack(data) == header
    assert data[10] == (part >= CUT.data_parts)


def test_one_flipped_bit_leaves_no_header() -> None:
    data = PartHeader(ID, 1, CUT, 700).pack()
    for bit in range(8 * len(data)):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        assert PartHeader.unpack(bytes(flipped)) is None
    assert PartHeader.unpack(data[:-1]) is None


def test_a_forged_header_is_refused() -> None:
    small = Geometry(PartLayout(4096, 3, 4, 0), 10)
    with pytest.raises(MalformedError, match="impossible"):
        PartHeader.unpack(_forged(small, part=5))
    with pytest.raises(MalformedError, match="impossible"):
        PartHeader.unpack(_forged(small, part=0, contents=11))


def _forged(cut: Geometry, part: int, contents: int = 0) -> bytes:
    """A header that no writer makes, with the right sum."""
    wide = Geometry(PartLayout(4096, 3, 4, 0), 1_000_000)
    data = bytearray(PartHeader(ID, part, wide, contents).pack())
    data[32:40] = cut.stream.to_bytes(8, "little")
    from outlast.codec import kernels  # noqa: PLC0415

    data[-8:] = kernels.xxh3(bytes(data[:-8])).to_bytes(8, "little")
    return bytes(data)


def test_a_sum_belongs_to_one_block_in_one_place_of_one_bundle() -> None:
    block = random.Random(1).randbytes(4096)
    frame = memoryview(bytearray(block + BlockSums(ID, 2).of(5, block)))
    assert BlockSums(ID, 2).holds(5, frame)
    assert not BlockSums(ID, 2).holds(4, frame)
    assert not BlockSums(ID, 1).holds(5, frame)
    assert not BlockSums(Digest.of(b"another bundle"), 2).holds(5, frame)
    frame[100] ^= 1
    assert not BlockSums(ID, 2).holds(5, frame)
