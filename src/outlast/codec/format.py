"""The frame of a capsule: head, directory, trailer. docs/format/capsule.md is normative.

A capsule is its head, the payloads of its blocks in the order of the blob, two copies of the
directory and two of the trailer: whatever single byte goes bad, one copy of what leads to the
blocks is left.
"""

import itertools
import struct
import sys
from array import array
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from outlast.codec import kernels
from outlast.core.digest import Digest
from outlast.core.errors import MalformedError

VERSION: Final = 1
HEAD: Final = b"\x89OLC\r\n\x1a\n" + VERSION.to_bytes(2, "little") + bytes(6)
_TRAILER_MAGIC: Final = b"OLC.END\n"
_TRAILER: Final = struct.Struct("<8sHHIIIQQ32sQ")
TRAILER_BYTES: Final = _TRAILER.size + 8
_BASE: Final = struct.Struct("<32sQ")
_SPAN: Final = struct.Struct("<BBHQQ")
_BLOCK: Final = struct.Struct("<IQ")
_CHECKSUM: Final = struct.Struct("<Q")
MAX_BASES: Final = 255
_LENGTH_BITS: Final = 24
_LENGTH_MASK: Final = (1 << _LENGTH_BITS) - 1
_MAX_SIZE: Final = 2**63

RESTORED_BYTES: Final = _CHECKSUM.size
STORED, PLANES, SAME, DIFFERENCE, LEAVES = range(5)
BYTES, BF16, F16, F32, F8_E4M3, F8_E5M2, WORDS16, WORDS32, WORDS64 = range(9)
Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q4_K, Q5_K, Q6_K = range(16, 24)

WEIGHTS: Final = 1 << 18
QUANTISED: Final = 1 << 20
SHAPES: Final = {
    BYTES: (1, WEIGHTS),
    BF16: (2, WEIGHTS),
    F16: (2, WEIGHTS),
    F32: (4, WEIGHTS),
    F8_E4M3: (1, WEIGHTS),
    F8_E5M2: (1, WEIGHTS),
    WORDS16: (2, WEIGHTS),
    WORDS32: (4, WEIGHTS),
    WORDS64: (8, WEIGHTS),
    Q8_0: (34, QUANTISED // 32),
    Q4_0: (18, QUANTISED // 32),
    Q4_1: (20, QUANTISED // 32),
    Q5_0: (22, QUANTISED // 32),
    Q5_1: (24, QUANTISED // 32),
    Q4_K: (144, QUANTISED // 256),
    Q5_K: (176, QUANTISED // 256),
    Q6_K: (210, QUANTISED // 256),
}
"""kind: (bytes of an element, elements of a block)."""


@dataclass(frozen=True, slots=True)
class BaseRef:
    """A blob that a delta capsule depends on: its sha256 and its size in bytes."""

    sha256: Digest
    size: int


@dataclass(frozen=True, slots=True)
class CapsuleSpan:
    """A run of the blob with one layout: `length` bytes of elements of `kind`. `base` is the
    number of a base, from 1, whose bytes from `base_offset` on it is compared with; or 0.
    """

    kind: int
    length: int
    base: int = 0
    base_offset: int = 0

    @property
    def block_bytes(self) -> int:
        """Of every block but the last, before encoding."""
        element, count = SHAPES[self.kind]
        return element * count

    @property
    def block_count(self) -> int:
        return -(-self.length // self.block_bytes)


@dataclass(frozen=True, slots=True)
class Block:
    """One block: which bytes of the blob it restores, and where its payload lies in the capsule.

    Offsets and lengths are in bytes. `base` and `base_offset` are as in :class:`CapsuleSpan`, moved
    to the block.
    """

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


class Directory:
    """What a capsule holds and where: bases, spans and blocks, checked against each other.

    Memory is about three times the bytes of the directory itself, six times with many short spans.
    """

    def __init__(
        self,
        sha256: Digest,
        bases: Sequence[BaseRef],
        spans: Sequence[CapsuleSpan],
        entries: bytes,
    ) -> None:
        self.sha256 = sha256
        self.bases = tuple(bases)
        self.spans = tuple(spans)
        self._entries = entries
        self._starts = array("Q", itertools.accumulate((s.length for s in spans), initial=0))
        counts = itertools.accumulate((s.block_count for s in spans), initial=0)
        self._firsts = array("Q", counts)
        self.size = self._starts[-1]
        self.block_count = self._firsts[-1]
        # As a whole, not block by block: a server opens capsules of gigabytes for a few bytes.
        words = array("I", entries)[:: _BLOCK.size // 4]
        if sys.byteorder == "big":
            words.byteswap()
        self._words = words
        lengths = map(_LENGTH_MASK.__and__, words)
        self._payloads = array("Q", itertools.accumulate(lengths, initial=len(HEAD)))

    @property
    def payload_end(self) -> int:
        """Where the first copy of the directory begins in the capsule."""
        return int(self._payloads[-1])

    @property
    def capsule_size(self) -> int:
        return self.payload_end + 2 * (self.packed_size + TRAILER_BYTES)

    @property
    def packed_size(self) -> int:
        """Bytes of one copy of the directory."""
        bases, spans = len(self.bases) * _BASE.size, len(self.spans) * _SPAN.size
        return bases + spans + len(self._entries)

    def block_at(self, offset: int) -> int:
        """The number of the block with byte `offset` of the blob, which must be below its size."""
        index = bisect_right(self._starts, offset) - 1
        within = offset - self._starts[index]
        return self._firsts[index] + within // self.spans[index].block_bytes

    def block(self, number: int) -> Block:
        index = bisect_right(self._firsts, number) - 1
        span = self.spans[index]
        skipped = (number - self._firsts[index]) * span.block_bytes
        word, checksum = _BLOCK.unpack_from(self._entries, number * _BLOCK.size)
        return Block(
            number,
            span.kind,
            self._starts[index] + skipped,
            min(span.block_bytes, span.length - skipped),
            word >> _LENGTH_BITS,
            self._payloads[number],
            self._payloads[number + 1] - self._payloads[number],
            checksum,
            span.base,
            span.base_offset + skipped if span.base else 0,
        )

    def blocks(self) -> Iterator[Block]:
        return (self.block(number) for number in range(self.block_count))

    def check(self) -> None:
        """Raises :class:`MalformedError` for a block that no encoder writes."""
        for index, span in enumerate(self.spans):
            first, end = self._firsts[index], self._firsts[index + 1]
            words = self._words[first:end]
            tags = {word >> _LENGTH_BITS for word in words}
            longest = max(map(_LENGTH_MASK.__and__, words))
            last = span.length - (len(words) - 1) * span.block_bytes
            if (
                max(tags) > LEAVES
                or longest > span.block_bytes
                or words[-1] & _LENGTH_MASK > last
                or (not span.base and tags & {SAME, DIFFERENCE})
            ):
                self._check_each(range(first, end))

    def _check_each(self, numbers: range) -> None:
        for number in numbers:
            block = self.block(number)
            if block.tag > LEAVES or block.payload_length > block.length:
                raise MalformedError(f"block {number} of a capsule has an unknown form or length")
            if block.tag in {SAME, DIFFERENCE} and not block.base:
                raise MalformedError(f"block {number} of a capsule needs a base and has none")

    def pack(self) -> bytes:
        """One copy of the directory."""
        parts = [_BASE.pack(bytes.fromhex(base.sha256.hex), base.size) for base in self.bases]
        parts += [_SPAN.pack(s.kind, s.base, 0, s.length, s.base_offset) for s in self.spans]
        return b"".join([*parts, self._entries])

    def pack_end(self) -> bytes:
        """Everything behind the payloads."""
        packed = self.pack()
        trailer = _TRAILER.pack(
            _TRAILER_MAGIC,
            VERSION,
            0,
            len(self.bases),
            len(self.spans),
            self.block_count,
            len(packed),
            self.size,
            bytes.fromhex(self.sha256.hex),
            kernels.xxh3(packed),
        )
        trailer += _CHECKSUM.pack(kernels.xxh3(trailer))
        return 2 * packed + 2 * trailer


def needs_base(tag: int, base: int) -> bool:
    """Whether a block of this form restores nothing without its base. Its payload begins with the
    :func:`checksum` of what it restores: damage of the base is found, too.
    """
    return bool(base) and tag not in {STORED, PLANES}


def checksum(data: memoryview | bytes) -> bytes:
    """XXH3-64 as it is written."""
    return _CHECKSUM.pack(kernels.xxh3(data))


def pack_entry(tag: int, length: int, checksum: int) -> bytes:
    """A block's entry in the directory."""
    return _BLOCK.pack(tag << _LENGTH_BITS | length, checksum)


@dataclass(frozen=True, slots=True)
class Trailer:
    """Where the directory is and what it must be. Sizes in bytes."""

    base_count: int
    span_count: int
    block_count: int
    directory_size: int
    blob_size: int
    sha256: Digest
    checksum: int

    @classmethod
    def unpack(cls, data: bytes) -> "Trailer | None":
        """None where the bytes are not a trailer, or are damaged. Raises
        :class:`MalformedError` for one of a later version, or one that contradicts itself.
        """
        if len(data) != TRAILER_BYTES or not data.startswith(_TRAILER_MAGIC):
            return None
        body = data[: _TRAILER.size]
        if _CHECKSUM.unpack(data[_TRAILER.size :])[0] != kernels.xxh3(body):
            return None
        _, version, reserved, bases, spans, blocks, directory, size, sha256, check = (
            _TRAILER.unpack(body)
        )
        if version != VERSION or reserved:
            raise MalformedError(
                f"a capsule of version {version}, which is not known here",
                hint="a later outlast reads it",
            )
        expected = bases * _BASE.size + spans * _SPAN.size + blocks * _BLOCK.size
        if directory != expected or bases > MAX_BASES or size >= _MAX_SIZE:
            raise MalformedError("a capsule's trailer contradicts itself")
        return cls(bases, spans, blocks, directory, size, Digest(sha256.hex()), check)


def unpack_directory(trailer: Trailer, data: bytes, capsule_size: int) -> Directory | None:
    """The directory in `data`, or None where that is damaged. Raises :class:`MalformedError`
    where it contradicts itself, the trailer or the capsule's size in bytes.
    """
    if len(data) != trailer.directory_size or kernels.xxh3(data) != trailer.checksum:
        return None
    spans_at = trailer.base_count * _BASE.size
    entries_at = spans_at + trailer.span_count * _SPAN.size
    bases = [
        BaseRef(Digest(sha256.hex()), size) for sha256, size in _BASE.iter_unpack(data[:spans_at])
    ]
    spans = []
    for kind, base, reserved, length, base_offset in _SPAN.iter_unpack(data[spans_at:entries_at]):
        if kind not in SHAPES or reserved or not length or length % SHAPES[kind][0]:
            raise MalformedError("a capsule has a span of an unknown kind or length")
        if base > len(bases) or (base_offset and not base):
            raise MalformedError("a capsule refers to a base that it does not name")
        if base and base_offset + length > bases[base - 1].size:
            raise MalformedError("a capsule refers to bytes beyond its base")
        spans.append(CapsuleSpan(kind, length, base, base_offset))
    return _checked(trailer, bases, spans, data[entries_at:], capsule_size)


def _checked(
    trailer: Trailer,
    bases: Sequence[BaseRef],
    spans: Sequence[CapsuleSpan],
    entries: bytes,
    capsule_size: int,
) -> Directory:
    # Before anything grows with what the spans claim.
    if sum(span.length for span in spans) != trailer.blob_size:
        raise MalformedError("a capsule's spans are not as long as its blob")
    if sum(span.block_count for span in spans) != trailer.block_count:
        raise MalformedError("a capsule has a wrong number of blocks")
    directory = Directory(trailer.sha256, bases, spans, entries)
    if directory.capsule_size != capsule_size:
        raise MalformedError("a capsule's blocks are not as long as the capsule")
    directory.check()
    return directory
