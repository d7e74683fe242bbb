"""Archives whose blobs are held as capsules, and files large enough for several blocks."""

import random
import struct
from pathlib import Path

from outlast.codec.writer import Base
from outlast.core.digest import Digest
from outlast.store import disk
from outlast.store.archive import Archive
from outlast.store.encoding import Encoding
from tests.codec.container_files import entry, safetensors

BLOCK = 1 << 19
"""Bytes of a block of bf16 weights."""


def floats(blocks: int, seed: int = 1, tail: int = 1000) -> bytes:
    """A safetensors file of bf16 weights that fill so many blocks, and `tail` more."""
    rng = random.Random(seed)
    some = [rng.getrandbits(1) << 15 | 120 + rng.getrandbits(2) << 7 for _ in range(1 << 12)]
    low = rng.randbytes(1 << 12)
    words = [high | byte & 0x7F for high, byte in zip(some, low, strict=True)]
    unit = struct.pack(f"<{len(words)}H", *words)
    data = bytearray(unit * (-(-(blocks * BLOCK + 2 * tail) // len(unit))))
    del data[blocks * BLOCK + 2 * tail :]
    for at in range(0, len(data), BLOCK):  # no two blocks are alike
        data[at : at + 2] = struct.pack("<H", 0x3F80 + at // BLOCK)
    return safetensors({"w": entry("BF16", [len(data) // 2], 0, len(data))}, bytes(data))


def tuned(base: bytes, every: int = 977) -> bytes:
    """A fine-tune of such a file: some weights moved a little."""
    data = bytearray(base)
    for at in range(base.index(b"}}") + 100, len(data) - 2, 2 * every):
        data[at & ~1] ^= 1
    return bytes(data)


def pack(home: Path, name: str, base: str | None = None) -> None:
    """Holds the blob `name` as a capsule, whether that pays or not."""
    digest = Digest(name)
    with Archive(home) as archive, archive.writer() as writer, archive.open_blob(digest) as blob:
        bases = []
        if base is not None:
            bases.append(Base(Digest(base), archive.open_blob(Digest(base))))
            writer.lease(bases[0].sha256, bases[0].blob.size)
        with Encoding(writer, blob, bases=bases) as encoding:
            encoding.finish(digest)
            assert writer.pack(encoding.path, digest, blob.size)
    assert not archive.layout.blob(digest).exists()


def unpack(home: Path, name: str) -> None:
    """Holds it as a plain file again."""
    digest = Digest(name)
    with Archive(home) as archive, archive.writer() as writer:
        with archive.open_blob(digest) as blob:
            data = bytearray(blob.size)
            blob.readinto(0, memoryview(data))
        temp = writer.temp()
        disk.write_temp(temp, data, disk.READ_ONLY)
        writer.unpack(temp, digest)


def pack_all(home: Path) -> None:
    """Holds every blob as a capsule."""
    with Archive(home) as archive:
        names = [blob.digest.hex for blob in archive.plain_blobs()]
    for name in names:
        pack(home, name)


def flip(path: Path, offset: int) -> None:
    """Damages one byte of a file of the archive."""
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ 0x10]))
