"""The frame of a capsule: head, blocks, directories, trailers; see docs/format/capsule.md."""

import hashlib
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from .blocks import (
    DIFFERENCE,
    LEAVES,
    SAME,
    DamagedError,
    decode_block,
)
from .kinds import KINDS
from .xxh3 import xxh3

HEAD: Final = b"\x89OLC\r\n\x1a\n\x01\0\0\0\0\0\0\0"
MAX_DIRECTORY: Final = 1 << 27
_TRAILER = struct.Struct("<8sHHIIIQQ32sQQ")
_BASE = struct.Struct("<32sQ")
_SPAN = struct.Struct("<BBHQQ")
_ENTRY = struct.Struct("<IQ")
_NO_BASES: Mapping[str, bytes] = {}


@dataclass(frozen=True, slots=True)
class Trailer:
    """Numbers of bases, spans and blocks; sizes in bytes; the blob's sha256."""

    bases: int
    spans: int
    blocks: int
    directory_size: int
    blob_size: int
    sha256: bytes
    directory_checksum: int


@dataclass(frozen=True, slots=True)
class Block:
    """Offsets and lengths in bytes; `base` counts from 1, or is 0 where there is none."""

    number: int
    kind: int
    offset: int
    length: int
    tag: int
    payload_offset: int
    payload_length: int
    checksum: int
    base: int
    base_offset: int


def decode(capsule: bytes, bases: Mapping[str, bytes] = _NO_BASES) -> bytes:
    """The blob of a capsule. `bases` has the blobs that a delta capsule depends on, by their sha256
    in hexadecimal. Raises :class:`DamagedError` unless the blob has the sha256 that it should have.
    """
    opened = Capsule(capsule, bases)
    blob = opened.read(0, opened.size)
    if hashlib.sha256(blob).hexdigest() != opened.sha256:
        raise DamagedError("the blob has another sha256")
    return blob


def decode_range(
    capsule: bytes, offset: int, length: int, bases: Mapping[str, bytes] = _NO_BASES
) -> bytes:
    """`length` bytes of the blob from `offset` on; only their blocks are looked at."""
    return Capsule(capsule, bases).read(offset, length)


def verify(capsule: bytes, bases: Mapping[str, bytes] = _NO_BASES) -> list[str]:
    """What is wrong with a capsule, a line each; nothing where it is whole."""
    try:
        opened = Capsule(capsule, bases)
        damage = list(opened.damage())
        if not damage:
            decode(capsule, bases)
    except DamagedError as error:
        return [str(error)]
    return damage


class Capsule:
    """A capsule whose directory was read and checked."""

    def __init__(self, capsule: bytes, bases: Mapping[str, bytes] = _NO_BASES) -> None:
        self._bytes = capsule
        self._given = bases
        trailer = _read_trailer(capsule)
        self.size = trailer.blob_size
        self.sha256 = trailer.sha256.hex()
        self._directory = _read_directory(capsule, trailer)
        self.bases, self.blocks = _parse(trailer, self._directory, len(capsule))

    def read(self, offset: int, length: int) -> bytes:
        """`length` bytes of the blob from `offset` on; they must be there."""
        if offset < 0 or length < 0 or offset + length > self.size:
            raise ValueError("beyond the end of the blob")
        end = offset + length
        out = bytearray()
        for block in self.blocks:
            if block.offset < end and block.offset + block.length > offset:
                data = self.decode(block)
                out += data[max(0, offset - block.offset) : end - block.offset]
        return bytes(out)

    def decode(self, block: Block) -> bytes:
        """All bytes of one block. Errors name the block."""
        payload = self._payload(block)
        if xxh3(payload) != block.checksum:
            raise DamagedError(f"block {block.number} is damaged")
        needs_base = block.base and block.tag in {SAME, DIFFERENCE, LEAVES}
        base = self._base(block) if needs_base else None
        restored, payload = (payload[:8], payload[8:]) if needs_base else (b"", payload)
        try:
            out = decode_block(KINDS[block.kind], block.tag, payload, base, block.length)
        except DamagedError as error:
            raise DamagedError(f"block {block.number}: {error}") from error
        if needs_base and xxh3(out).to_bytes(8, "little") != restored:
            raise DamagedError(f"block {block.number}, or the base that it depends on, is damaged")
        return out

    def damage(self) -> Iterator[str]:
        """Every part whose checksum does not hold."""
        if self._bytes[: len(HEAD)] != HEAD:
            yield "the head"
        for block in self.blocks:
            if xxh3(self._payload(block)) != block.checksum:
                yield f"block {block.number}"
        trailers_at = len(self._bytes) - 2 * _TRAILER.size
        size = len(self._directory)
        for name, at in (
            ("the first directory", trailers_at - 2 * size),
            ("the second directory", trailers_at - size),
        ):
            if self._bytes[at : at + size] != self._directory:
                yield name
        for name, at in (
            ("the first trailer", trailers_at),
            ("the second trailer", trailers_at + _TRAILER.size),
        ):
            if _unpack_trailer(self._bytes[at : at + _TRAILER.size]) is None:
                yield name

    def _payload(self, block: Block) -> bytes:
        return self._bytes[block.payload_offset : block.payload_offset + block.payload_length]

    def _base(self, block: Block) -> bytes:
        sha256, size = self.bases[block.base - 1]
        blob = self._given.get(sha256)
        if blob is None or len(blob) != size:
            raise DamagedError(f"the base {sha256} is not here")
        return blob[block.base_offset : block.base_offset + block.length]


# ---------------------------------------------------------------- trailer and directory


def _read_trailer(capsule: bytes) -> Trailer:
    at = len(capsule) - 2 * _TRAILER.size
    if at < len(HEAD):
        raise DamagedError("too short for a capsule")
    first, second = capsule[at : at + _TRAILER.size], capsule[at + _TRAILER.size :]
    trailer = _unpack_trailer(second) or _unpack_trailer(first)
    if trailer is None:
        raise DamagedError("not a capsule, or both its trailers are damaged")
    if trailer.directory_size > MAX_DIRECTORY:
        raise DamagedError(f"the directory exceeds {MAX_DIRECTORY} bytes")
    if 2 * trailer.directory_size > at - len(HEAD):
        raise DamagedError("the directory is larger than the capsule")
    return trailer


def _unpack_trailer(data: bytes) -> Trailer | None:
    magic, version, zero, *fields, checksum = _TRAILER.unpack(data)
    if magic != b"OLC.END\n" or xxh3(data[:-8]) != checksum:
        return None
    if version != 1 or zero:
        raise DamagedError(f"a capsule of version {version}")
    trailer = Trailer(*fields)
    size = trailer.bases * _BASE.size + trailer.spans * _SPAN.size + trailer.blocks * _ENTRY.size
    if trailer.directory_size != size or trailer.bases > 255 or trailer.blob_size >= 1 << 63:
        raise DamagedError("the trailer contradicts itself")
    return trailer


def _read_directory(capsule: bytes, trailer: Trailer) -> bytes:
    end = len(capsule) - 2 * _TRAILER.size
    size = trailer.directory_size
    for at in (end - size, end - 2 * size):
        data = capsule[at : at + size]
        if xxh3(data) == trailer.directory_checksum:
            return data
    raise DamagedError("both directories are damaged")


def _parse(
    trailer: Trailer, directory: bytes, capsule_size: int
) -> tuple[list[tuple[str, int]], list[Block]]:
    spans_at = trailer.bases * _BASE.size
    entries_at = spans_at + trailer.spans * _SPAN.size
    bases = [(sha256.hex(), size) for sha256, size in _BASE.iter_unpack(directory[:spans_at])]
    spans = list(_SPAN.iter_unpack(directory[spans_at:entries_at]))
    for kind, base, zero, length, base_offset in spans:
        if kind not in KINDS or zero or not length or length % KINDS[kind].element:
            raise DamagedError("a span has an unknown kind or length")
        if base > len(bases) or (base_offset and not base):
            raise DamagedError("a span refers to a base that is not named")
        if base and base_offset + length > bases[base - 1][1]:
            raise DamagedError("a span refers to bytes beyond its base")
    counts = [-(-s[3] // (KINDS[s[0]].element * KINDS[s[0]].block)) for s in spans]
    if sum(s[3] for s in spans) != trailer.blob_size or sum(counts) != trailer.blocks:
        raise DamagedError("the spans do not add up to the blob")
    blocks = list(_blocks(spans, directory[entries_at:]))
    payloads = sum(block.payload_length for block in blocks)
    if len(HEAD) + payloads + 2 * len(directory) + 2 * _TRAILER.size != capsule_size:
        raise DamagedError("the blocks do not add up to the capsule")
    return bases, blocks


def _blocks(spans: list[tuple[int, ...]], entries: bytes) -> Iterator[Block]:
    entry = enumerate(_ENTRY.iter_unpack(entries))
    offset, payload_offset = 0, len(HEAD)
    for kind, base, _, span_length, base_offset in spans:
        step = KINDS[kind].element * KINDS[kind].block
        for at in range(0, span_length, step):
            number, (word, checksum) = next(entry)
            tag, payload_length = word >> 24, word & 0xFFFFFF
            length = min(step, span_length - at)
            if tag > LEAVES or payload_length > length:
                raise DamagedError(f"block {number} has an unknown form or length")
            if tag in {SAME, DIFFERENCE} and not base:
                raise DamagedError(f"block {number} needs a base and has none")
            yield Block(
                number,
                kind,
                offset,
                length,
                tag,
                payload_offset,
                payload_length,
                checksum,
                base,
                base_offset + at if base else 0,
            )
            offset += length
            payload_offset += payload_length
