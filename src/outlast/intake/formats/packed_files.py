"""What is inside of archives and compressed files, bounded in memory, number and depth."""

import bz2
import io
import lzma
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from outlast.intake.content import Read

_MEMBER: Final = 8 << 20
"""Bytes of a member that are unpacked in memory; of a larger one only the first. A guess."""
_TOTAL: Final = 64 << 20
"""Bytes that are unpacked of one file. A guess."""
_MOST: Final = 20_000
"""Members that are looked at. A guess: PyTorch's files have one for each tensor."""
_DIRECTORY: Final = 32 << 20
"""Bytes of a zip's directory."""
_TAIL: Final = 22 + 65535 + 76
_BLOCK: Final = 512


class CannotLookError(Exception):
    """Why nothing can be said of what is inside. Never leaves this room."""


@dataclass(frozen=True, slots=True)
class PackedMember:
    """A file inside: its name, its size, its first bytes, and whether those are all."""

    name: str
    size: int
    data: bytes

    @property
    def is_whole(self) -> bool:
        return len(self.data) >= self.size


def members(head: bytes, size: int, read: Read) -> Iterator[PackedMember] | None:
    """The members of an archive or compressed file; None where it is neither. Iterating raises
    :class:`CannotLookError`.
    """
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return _bounded(_zip(size, read))
    if _is_tar(head[:_BLOCK]):
        return _bounded(_tar(size, read))
    for magic, opened in _COMPRESSED:
        if head.startswith(magic):
            return _bounded(_compressed(size, read, opened))
    for magic, name in _CLOSED:
        if head.startswith(magic):
            return _closed(name)
    return None


def _bounded(found: Iterator[PackedMember]) -> Iterator[PackedMember]:
    total = 0
    for count, member in enumerate(found):
        total += len(member.data)
        if count >= _MOST or total > _TOTAL:
            raise CannotLookError("it has too much inside")
        yield member


def _closed(name: str) -> Iterator[PackedMember]:
    yield from ()
    raise CannotLookError(f"{name} is not opened")


class _ZipSource(io.RawIOBase):
    """A file over `read`, for the module zipfile."""

    def __init__(self, size: int, read: Read) -> None:
        self._size, self._read, self._at = size, read, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        self._at = max(0, (0, self._at, self._size)[whence] + offset)
        return self._at

    def tell(self) -> int:
        return self._at

    def read(self, count: int = -1) -> bytes:
        left = max(0, self._size - self._at)
        data = self._read(self._at, left if count is None or count < 0 else min(count, left))
        self._at += len(data)
        return data


def _zip(size: int, read: Read) -> Iterator[PackedMember]:
    start = max(0, size - _TAIL)
    if _directory(read(start, size - start)) > _DIRECTORY:
        raise CannotLookError("its directory is too large")
    try:
        with zipfile.ZipFile(_ZipSource(size, read)) as archive:
            for info in archive.infolist():
                if info.is_dir():
                    continue
                with archive.open(info) as file:
                    yield PackedMember(info.filename, info.file_size, file.read(_MEMBER))
    except (
        *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError),
        *(RuntimeError, NotImplementedError, ValueError, struct.error),
    ) as error:
        raise CannotLookError(f"a zip that cannot be read: {error}") from None


def _directory(tail: bytes) -> int:
    """Bytes that the directory of a zip says that it has."""
    end = tail.rfind(b"PK\x05\x06")
    if end < 0 or end + 22 > len(tail):
        raise CannotLookError("a zip without its end")
    length = int.from_bytes(tail[end + 12 : end + 16], "little")
    large = tail.rfind(b"PK\x06\x06", 0, end)
    if length == 0xFFFFFFFF and large >= 0:
        length = int.from_bytes(tail[large + 40 : large + 48], "little")
    return length


def _is_tar(block: bytes) -> bool:
    """Whether a block is a header of tar: its sum is right."""
    if len(block) < _BLOCK or not any(block):
        return False
    said = block[148:156].strip(b" \0")
    if not said or not set(said) <= set(b"01234567"):
        return False
    return int(said, 8) == sum(block[:148]) + 8 * 32 + sum(block[156:])


def _tar(size: int, read: Read) -> Iterator[PackedMember]:
    at = 0
    while at + _BLOCK <= size:
        block = read(at, _BLOCK)
        if not any(block):
            return
        if not _is_tar(block):
            raise CannotLookError("a tar file that cannot be read")
        length = _tar_number(block[124:136])
        at += _BLOCK
        if block[156:157] in b"\x000" and length:
            name = block[:100].rstrip(b"\0").decode("utf-8", "replace")
            yield PackedMember(name, length, read(at, min(length, _MEMBER, size - at)))
        else:
            yield PackedMember("", 0, b"")
        at += -(-length // _BLOCK) * _BLOCK


def _tar_number(field: bytes) -> int:
    if field[0] & 0x80:
        return int.from_bytes(field, "big") & ((1 << 88) - 1)
    text = field.strip(b" \0")
    if not set(text) <= set(b"01234567"):
        raise CannotLookError("a tar file that cannot be read")
    return int(text or b"0", 8)


def _compressed(
    size: int, read: Read, opened: Callable[[], Callable[[bytes, int], bytes]]
) -> Iterator[PackedMember]:
    """The one file inside, or its first bytes."""
    unpack = opened()
    found, at = b"", 0
    try:
        while at < size and len(found) <= _MEMBER:
            data = read(at, min(1 << 20, size - at))
            if not data:
                break
            at += len(data)
            found += unpack(data, _MEMBER + 1 - len(found))
    except (zlib.error, OSError, lzma.LZMAError, EOFError, ValueError) as error:
        if not found:
            raise CannotLookError(f"it cannot be unpacked: {error}") from None
    whole = at >= size and len(found) <= _MEMBER
    yield PackedMember("", len(found) if whole else len(found) + 1, found)


def _inflate(bits: int) -> Callable[[], Callable[[bytes, int], bytes]]:
    def opened() -> Callable[[bytes, int], bytes]:
        machine = zlib.decompressobj(bits)

        def unpack(data: bytes, most: int) -> bytes:
            return machine.decompress(data, most) if most > 0 and not machine.eof else b""

        return unpack

    return opened


def _other(
    make: Callable[[], bz2.BZ2Decompressor | lzma.LZMADecompressor],
) -> Callable[[], Callable[[bytes, int], bytes]]:
    def opened() -> Callable[[bytes, int], bytes]:
        machine = make()

        def unpack(data: bytes, most: int) -> bytes:
            return machine.decompress(data, most) if most > 0 and not machine.eof else b""

        return unpack

    return opened


def _lzma() -> lzma.LZMADecompressor:
    return lzma.LZMADecompressor(memlimit=_TOTAL)


_COMPRESSED: Final = (
    (b"\x1f\x8b", _inflate(31)),
    *((b"\x78" + second, _inflate(15)) for second in (b"\x01", b"\x5e", b"\x9c", b"\xda")),
    (b"BZh", _other(bz2.BZ2Decompressor)),
    (b"\xfd7zXZ\x00", _other(_lzma)),
)
_CLOSED: Final = (
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"Rar!\x1a\x07", "a rar archive"),
    (b"\x28\xb5\x2f\xfd", "a zstd file"),
    (b"\x04\x22\x4d\x18", "an lz4 file"),
)
