"""A part of a bundle: its header, and the sums of its blocks (docs/format/bundle.md, §2)."""

import struct
from dataclasses import dataclass
from typing import Final, Self

from outlast.codec import kernels
from outlast.codec.bundle.geometry import HEADER_BYTES, SUM_BYTES, Geometry, PartLayout
from outlast.core.digest import Digest
from outlast.core.errors import MalformedError

_MAGIC: Final = b"\x89OLB\r\n\x1a\n"
_VERSION: Final = 1
_HEADER: Final = struct.Struct("<8sHHIIIHHIQQ32s40x")
_SUM: Final = struct.Struct("<Q")
_PLACE: Final = struct.Struct("<32sIIQ")


@dataclass(frozen=True, slots=True)
class PartHeader:
    """What a part says of itself. `contents`: bytes of the contents at the start of the stream."""

    bundle: Digest
    part: int
    geometry: Geometry
    contents: int

    def pack(self) -> bytes:
        layout = self.geometry.layout
        head = _HEADER.pack(
            _MAGIC,
            _VERSION,
            int(self.geometry.is_parity(self.part)),
            self.part,
            layout.block,
            layout.rows,
            layout.group,
            layout.parity,
            self.geometry.rows_of(self.part),
            self.geometry.stream,
            self.contents,
            bytes.fromhex(self.bundle.hex),
        )
        return head + _SUM.pack(kernels.xxh3(head))

    @classmethod
    def unpack(cls, data: bytes) -> Self | None:
        """A header; None where it is damaged, or none. Raises :class:`MalformedError` for one that
        is intact and impossible, or of a newer outlast.
        """
        if len(data) != HEADER_BYTES or not data.startswith(_MAGIC):
            return None
        if _SUM.unpack_from(data, HEADER_BYTES - SUM_BYTES)[0] != kernels.xxh3(data[:-SUM_BYTES]):
            return None
        values = _HEADER.unpack_from(data)
        _, version, _, part, block, rows, group, parity, _, stream, contents, bundle = values
        if version != _VERSION:
            raise MalformedError(
                f"a newer outlast made this bundle: its version is {version}", hint="update outlast"
            )
        geometry = Geometry(PartLayout(block, rows, group, parity), stream)
        if part >= geometry.parts or contents > stream:
            raise MalformedError(f"the header of a part of a bundle is impossible (part {part})")
        header = cls(Digest.from_bytes(bundle), part, geometry, contents)
        if header.pack() != data:
            raise MalformedError(f"the header of part {part} of a bundle is not canonical")
        return header

    def is_of(self, other: Self) -> bool:
        """Whether both are parts of one bundle, cut in the same way."""
        return (self.bundle, self.geometry, self.contents) == (
            other.bundle,
            other.geometry,
            other.contents,
        )

    @property
    def base(self) -> int:
        """Where in the stream the records and payloads begin."""
        return base_of(self.contents, self.geometry.layout.block)


def base_of(contents: int, block: int) -> int:
    """The length of the contents, rounded up to whole blocks."""
    return -(-contents // block) * block


class BlockSums:
    """The sums of the blocks of one part."""

    def __init__(self, bundle: Digest, part: int) -> None:
        self._bundle = bytes.fromhex(bundle.hex)
        self._part = part

    def of(self, row: int, block: memoryview | bytes | bytearray) -> bytes:
        """The sum that follows block `row`."""
        place = _PLACE.pack(self._bundle, self._part, row, kernels.xxh3(block))
        return _SUM.pack(kernels.xxh3(place))

    def holds(self, row: int, frame: memoryview) -> bool:
        """Whether a frame, the block with its sum, is intact and in its place."""
        block, found = frame[:-SUM_BYTES], frame[-SUM_BYTES:]
        return self.of(row, block) == bytes(found)
