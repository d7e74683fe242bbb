"""Small models whose capsules pay, and their fine-tunes."""

import contextlib
from collections.abc import Iterator, Sequence

from outlast.codec.memory import InMemory, Readable
from outlast.codec.writer import Base
from outlast.core.digest import Digest
from outlast.store import disk
from outlast.store.archive import Archive
from outlast.store.encoding import Encoding
from outlast.store.writer import WriteSession
from tests.codec.container_files import entry, safetensors
from tests.noise import exclusive_or, noise

WEIGHTS = 3000
_HIGH = bytes((byte & 1) << 7 | 60 | byte >> 1 & 1 for byte in range(256))
"""The high bytes that a weight may have."""
_ONE_IN_TWENTY = bytes(byte < 13 for byte in range(256))


def model(seed: int, weights: int = WEIGHTS) -> bytes:
    """A safetensors file of bf16 weights, which are about as large as each other."""
    random = noise(seed, 2 * weights)
    data = bytearray(random)
    data[1::2] = random[1::2].translate(_HIGH)
    return _file(bytes(data))


def tuned(base: bytes, seed: int) -> bytes:
    """A fine-tune: some weights of `base` moved a little."""
    data = bytearray(base[base.index(b"}}") + 2 :])
    low = data[0::2]
    data[0::2] = exclusive_or(low, noise(seed, len(low)).translate(_ONE_IN_TWENTY))
    return _file(bytes(data))


def _file(data: bytes) -> bytes:
    return safetensors({"w": entry("BF16", [len(data) // 2], 0, len(data))}, data)


@contextlib.contextmanager
def encoded(
    archive: Archive, writer: WriteSession, digest: Digest, *bases: Digest
) -> Iterator[Encoding]:
    """The finished capsule, in a temp file, of a blob that is here."""
    with archive.open_blob(digest) as blob, _encoded(archive, writer, blob, bases) as encoding:
        encoding.finish(digest)
        yield encoding


@contextlib.contextmanager
def encoded_bytes(
    archive: Archive, writer: WriteSession, data: bytes, *bases: Digest
) -> Iterator[Encoding]:
    """The same of bytes that are not here yet."""
    with _encoded(archive, writer, InMemory(data), bases) as encoding:
        encoding.finish(Digest.of(data))
        yield encoding


@contextlib.contextmanager
def _encoded(
    archive: Archive, writer: WriteSession, blob: Readable, bases: Sequence[Digest]
) -> Iterator[Encoding]:
    with contextlib.ExitStack() as stack:
        opened = [Base(base, stack.enter_context(archive.open_blob(base))) for base in bases]
        yield stack.enter_context(Encoding(writer, blob, bases=opened))


def pack(archive: Archive, writer: WriteSession, digest: Digest, *bases: Digest) -> bool:
    """Changes the form of a blob that is here."""
    with encoded(archive, writer, digest, *bases) as encoding:
        size = archive.form_of(digest).size
        return writer.pack(encoding.path, digest, size)


def unpack(archive: Archive, writer: WriteSession, digest: Digest) -> None:
    temp = writer.temp()
    with archive.open(digest) as file:
        data = file.read()
    assert Digest.of(data) == digest
    disk.write_temp(temp, data, disk.READ_ONLY)
    writer.unpack(temp, digest)
