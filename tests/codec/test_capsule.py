"""Round trips of whole capsules, on every path of the kernels."""

import random
import struct

import pytest

from outlast.codec import capsule, kernels
from outlast.codec.memory import InMemory
from outlast.codec.writer import Base, CapsuleWriter
from outlast.model.digest import Digest

PATHS = kernels.paths()


def bf16_file(count: int, seed: int) -> bytes:
    """A safetensors file with one tensor of `count` plausible weights."""
    rng = random.Random(seed)
    words = [struct.unpack("<I", struct.pack("<f", rng.gauss(0, 0.05)))[0] for _ in range(count)]
    data = b"".join((word >> 16).to_bytes(2, "little") for word in words)
    header = f'{{"w":{{"dtype":"BF16","shape":[{count}],"data_offsets":[0,{len(data)}]}}}}'
    return len(header).to_bytes(8, "little") + header.encode() + data


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("count", [1, 63, 64, 5000, 300_001])
def test_there_and_back(path: str, count: int) -> None:
    before = kernels.use(path)
    try:
        data = bf16_file(count, 1)
        packed = capsule.encode(data)
        assert capsule.decode(packed) == data
        if count > 5000:
            assert len(packed) < 0.72 * len(data)
        kernels.use(PATHS[-1])
        assert capsule.encode(data) == packed
    finally:
        kernels.use(before)


def test_a_capsule_has_at_most_255_bases() -> None:
    base = Base(Digest.of(b"x"), InMemory(b"x"))
    CapsuleWriter(InMemory(b"y"), bytearray().extend, bases=[base] * 255).finish(Digest.of(b"y"))
    with pytest.raises(ValueError, match="at most 255 bases"):
        CapsuleWriter(InMemory(b"y"), bytearray().extend, bases=[base] * 256)
