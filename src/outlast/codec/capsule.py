"""Capsules in memory: for tests, benches and what is small."""

from outlast.codec.memory import InMemory
from outlast.codec.reader import CapsuleReader
from outlast.codec.writer import Base, CapsuleWriter
from outlast.core.digest import Digest


def encode(data: bytes, base: bytes | None = None) -> bytes:
    """The capsule of a blob; a thin one where there is a base."""
    out = bytearray()
    bases = [Base(Digest.of(base), InMemory(base))] if base is not None else []
    CapsuleWriter(InMemory(data), out.extend, bases=bases).finish(Digest.of(data))
    return bytes(out)


def decode(capsule: bytes, base: bytes | None = None) -> bytes:
    """The blob of a capsule; not compared with its sha256."""
    out = bytearray(reader(capsule, base).size)
    decode_into(capsule, out, base)
    return bytes(out)


def decode_into(capsule: bytes, out: bytearray, base: bytes | None = None) -> None:
    """The same into memory that is there: as many bytes as the blob has."""
    reader(capsule, base).readinto(0, memoryview(out))


def reader(capsule: bytes, base: bytes | None = None) -> CapsuleReader:
    """A reader of the capsule, with the one base that it may lean on."""
    bases = {Digest.of(base): InMemory(base)} if base is not None else None
    return CapsuleReader(InMemory(capsule), bases)
