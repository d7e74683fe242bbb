"""Round trips of whole capsules, on every path of the kernels."""

import random
import struct

import pytest

from outlast.codec import format as fmt
from outlast.codec import kernels
from outlast.codec.memory import InMemory
from outlast.codec.reader import CapsuleReader
from outlast.codec.writer import Base, CapsuleWriter
from outlast.core.digest import Digest
from outlast.core.errors import CorruptError
from tests.codec import files, model_encoder

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
        packed = files.encode(data)
        assert files.read(files.reader(packed), 0, len(data)) == data
        if count > 5000:
            assert len(packed) < 0.72 * len(data)
        kernels.use(PATHS[-1])
        assert files.encode(data) == packed
    finally:
        kernels.use(before)


def test_a_capsule_has_at_most_255_bases() -> None:
    base = Base(Digest.of(b"x"), InMemory(b"x"))
    CapsuleWriter(InMemory(b"y"), bytearray().extend, bases=[base] * 255).finish(Digest.of(b"y"))
    with pytest.raises(ValueError, match="at most 255 bases"):
        CapsuleWriter(InMemory(b"y"), bytearray().extend, bases=[base] * 256)


def test_a_plane_is_coded_where_it_saves_a_64th() -> None:
    """Noise with ever more zeros in it: it becomes worth coding where the document says so."""
    size = 1 << 15
    noise = random.Random(64).randbytes(size)
    space, out = kernels.Workspace(), bytearray(size)

    def encode(zeros: int) -> tuple[int, int]:
        return kernels.encode_block(space, fmt.BYTES, bytes(zeros) + noise[zeros:], None, out)

    low, high = 0, size // 4
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if encode(middle)[0] == fmt.PLANES else (middle, high)
    for zeros, tag in ((low, fmt.STORED), (high, fmt.PLANES)):
        assert encode(zeros)[0] == tag
        told, _ = model_encoder.encode(fmt.BYTES, bytes(zeros) + noise[zeros:], None)
        assert told == tag


def test_a_wrong_base_is_named() -> None:
    """The payload is right, what it restores is not."""
    base = bf16_file(20_000, 1)
    data = bytearray(base)
    for at in range(len(data) - 4000, len(data), 40):
        data[at] ^= 1
    packed = files.encode(bytes(data), (base,))
    rotten = bytearray(base)
    rotten[-3000] ^= 1
    (name,) = (ref.sha256 for ref in files.reader(packed, (base,)).directory.bases)
    reader = CapsuleReader(InMemory(packed), {name: InMemory(rotten)})
    with pytest.raises(CorruptError, match=r"block 1 .*or the base that it depends on"):
        reader.readinto(0, memoryview(bytearray(len(data))))
