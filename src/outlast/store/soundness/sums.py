"""The sums of a plain blob: an XXH3-64 of each of its pieces, in a small file beside it.

They tell rot fast; the name of the blob, its sha256, tells it for certain. So the file is derived
data: one that is lost or damaged is written anew after all of the blob was hashed. A blob of one
piece has none, because its sha256 takes no longer. docs/format/sums.md is normative.
"""

import contextlib
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

from outlast.codec import kernels, merkle
from outlast.core.digest import Digest
from outlast.core.errors import MalformedError
from outlast.store import disk

MAGIC: Final = b"OLSUMS\x00\x01"
_HEAD: Final = struct.Struct("<8s32sQ")
_SUM: Final = struct.Struct("<Q")


@dataclass(frozen=True, slots=True)
class Sums:
    """The sums of the blob `blob` of `size` bytes: 8 bytes a piece of 1 MiB, little-endian."""

    blob: Digest
    size: int
    values: bytes = field(repr=False)

    def to_bytes(self) -> bytes:
        body = _HEAD.pack(MAGIC, bytes.fromhex(self.blob.hex), self.size) + self.values
        return body + _SUM.pack(kernels.xxh3(body))

    @classmethod
    def parse(cls, data: bytes, blob: Digest) -> Self:
        """Raises :class:`MalformedError` for what are not the sums of `blob`, to the last bit."""
        if len(data) < _HEAD.size + _SUM.size:
            raise MalformedError("too short for sums")
        body, check = data[: -_SUM.size], data[-_SUM.size :]
        magic, raw, size = _HEAD.unpack_from(body)
        if magic != MAGIC:
            raise MalformedError("no sums, or of another version")
        values = body[_HEAD.size :]
        if not is_needed(size) or len(values) != _SUM.size * merkle.piece_count(size):
            raise MalformedError("sums of another number of pieces")
        if check != _SUM.pack(kernels.xxh3(body)):
            raise MalformedError("damaged sums")
        if raw.hex() != blob.hex:
            raise MalformedError("the sums of another blob")
        return cls(blob, size, values)

    def differing(self, others: bytes) -> tuple[int, ...]:
        """The pieces whose sums differ in `others`, of as many pieces."""
        at = range(0, len(self.values), _SUM.size)
        pairs = ((self.values[n : n + _SUM.size], others[n : n + _SUM.size]) for n in at)
        return tuple(number for number, (one, other) in enumerate(pairs) if one != other)

    def is_right(self, index: int, piece: memoryview) -> bool:
        """Whether `piece` has the sum of piece `index`, from 0."""
        start = index * _SUM.size
        return self.values[start : start + _SUM.size] == _SUM.pack(kernels.xxh3(piece))


class Summing:
    """Makes sums from bytes in order, however they are cut. Memory: one piece."""

    def __init__(self) -> None:
        self._size = 0
        # The same memory for all pieces: fresh pages cost ten times as much as the sums.
        self._piece = memoryview(bytearray(merkle.PIECE))
        self._held = 0
        self._values = bytearray()

    def watch(self, chunks: Iterable[memoryview]) -> Iterator[memoryview]:
        """`chunks`, with an eye on them."""
        for chunk in chunks:
            self.update(chunk)
            yield chunk

    def update(self, data: memoryview) -> None:
        """The next bytes."""
        self._size += len(data)
        while data:
            if not self._held and len(data) >= merkle.PIECE:
                self._values += sum_of(data[: merkle.PIECE])
                data = data[merkle.PIECE :]
                continue
            end = min(self._held + len(data), merkle.PIECE)
            count = end - self._held
            self._piece[self._held : end] = data[:count]
            self._held, data = end, data[count:]
            if end == merkle.PIECE:
                self._end_piece()

    def _end_piece(self) -> None:
        self._values += sum_of(self._piece[: self._held])
        self._held = 0

    def of(self, blob: Digest) -> Sums | None:
        """The sums, once all bytes came; None where the blob has none. They are those of `blob`, if
        the bytes are.
        """
        if not is_needed(self._size):
            return None
        if self._held:
            self._end_piece()
        return Sums(blob, self._size, bytes(self._values))


def sum_of(piece: memoryview | bytearray) -> bytes:
    """The sum of a piece, as it is in `Sums.values`."""
    return _SUM.pack(kernels.xxh3(piece))


def is_needed(size: int) -> bool:
    """Whether a blob of `size` bytes has sums: it is more than one piece."""
    return size > merkle.PIECE


def file_size(size: int) -> int:
    """Bytes of the sums of a blob of `size` bytes."""
    return _HEAD.size + _SUM.size * (merkle.piece_count(size) + 1)


def size_in(path: Path) -> int:
    """The size of the blob that the sums in a file say that they are of: for a message alone. 0
    where there are none.
    """
    with contextlib.suppress(OSError), open(path, "rb", buffering=0) as file:
        head = file.read(_HEAD.size) or b""
        if len(head) == _HEAD.size and head.startswith(MAGIC):
            return int(_HEAD.unpack(head)[2])
    return 0


def load(path: Path, blob: Digest, size: int) -> Sums | None:
    """The sums in the file `path`, of a blob of `size` bytes; None where there are none that can be
    trusted. No more is read than they have.
    """
    with disk.reporting(path), contextlib.suppress(FileNotFoundError, MalformedError):
        with open(path, "rb", buffering=0) as file:
            data = file.read(file_size(size) + 1)
        found = Sums.parse(data or b"", blob)
        return found if found.size == size else None
    return None
