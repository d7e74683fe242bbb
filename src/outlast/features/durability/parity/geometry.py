"""How a payload is cut into codewords, and where their parity lies in its file: pure arithmetic
(docs/format/parity.md, part II).
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Self

from outlast.codec import kernels
from outlast.codec.erasure import MAX_BLOCKS
from outlast.codec.payload import Form
from outlast.core.digest import Digest
from outlast.core.errors import MalformedError
from outlast.core.manifest import MAX_FILE_SIZE

BLOCK: Final = 4096
"""Bytes: a sector of today's disks, the least that rots."""
SECTION: Final = 256 << 20
"""Bytes of a payload whose codewords are interleaved. Parity of one section is in memory while it
is computed, and a burst of as many bytes as that parity has is mended."""
SUM: Final = 4
SUMS: Final = (BLOCK - 8) // SUM
"""Sums of blocks in a page, which ends with a check of its own."""
HEADER: Final = 64

_MAGIC: Final = b"\x89OLP\r\n\x1a\n"
_VERSION: Final = 1
_HEAD: Final = struct.Struct("<8sHBBBB2xQ32s")
_CHECK: Final = struct.Struct("<Q")
_FORMS: Final = (Form.PLAIN, Form.CAPSULE)


@dataclass(frozen=True, slots=True)
class Share:
    """A full codeword: `data` blocks and `parity` blocks."""

    data: int
    parity: int

    @classmethod
    def of_percent(cls, percent: float) -> Self:
        """About so many bytes of parity for 100 bytes of a payload."""
        if not 0.4 <= percent <= 100:
            raise ValueError("parity of an archive is 0.4 % to 100 % of its bytes")
        data = int(MAX_BLOCKS / (1 + percent / 100))
        return cls(data, MAX_BLOCKS - data)


@dataclass(frozen=True, slots=True)
class ParitySection:
    """A run of a payload. Row r of `rows` codewords is block r, rows + r, 2 rows + r, … of its
    blocks. In the file of parity the pages of sums are at `at` and, again, at `copy_at`; the parity
    blocks lie between.
    """

    start: int
    size: int
    data: int
    parity: int
    rows: int
    at: int

    @property
    def blocks(self) -> int:
        return -(-self.size // BLOCK)

    @property
    def pages(self) -> int:
        """Pages of sums: of the data blocks, then of the parity blocks."""
        return -(-(self.blocks + self.parity * self.rows) // SUMS)

    @property
    def parity_at(self) -> int:
        return self.at + self.pages * BLOCK

    @property
    def copy_at(self) -> int:
        return self.parity_at + self.parity * self.rows * BLOCK

    @property
    def end(self) -> int:
        """Where in the file of parity the next section begins."""
        return self.copy_at + self.pages * BLOCK


@dataclass(frozen=True, slots=True)
class ParityHead:
    """What a file of parity says of itself: whose it is. `size` is that of the payload."""

    blob: Digest
    form: Form
    size: int
    share: Share

    def pack(self) -> bytes:
        head = _HEAD.pack(
            _MAGIC,
            _VERSION,
            _FORMS.index(self.form),
            0,
            self.share.data,
            self.share.parity,
            self.size,
            bytes.fromhex(self.blob.hex),
        )
        return head + _CHECK.pack(kernels.xxh3(head))

    @classmethod
    def unpack(cls, data: bytes) -> Self | None:
        """None where it is damaged. Raises :class:`MalformedError` for what is intact and cannot
        be, or is of a newer outlast.
        """
        if len(data) != HEADER or not data.startswith(_MAGIC):
            return None
        if _CHECK.unpack_from(data, _HEAD.size)[0] != kernels.xxh3(data[: _HEAD.size]):
            return None
        _, version, form, zero, data_blocks, parity, size, blob = _HEAD.unpack_from(data)
        if version != _VERSION:
            raise MalformedError(f"parity of a newer outlast: version {version}", hint="update it")
        possible = data_blocks >= 1 and parity >= 1 and data_blocks + parity <= MAX_BLOCKS
        if not possible or zero or form >= len(_FORMS) or not 0 < size <= MAX_FILE_SIZE:
            raise MalformedError("the header of a file of parity is impossible")
        return cls(Digest.from_bytes(blob), _FORMS[form], size, Share(data_blocks, parity))

    def sections(self) -> Iterator[ParitySection]:
        """In the order of the payload."""
        at = HEADER
        for start in range(0, self.size, SECTION):
            section = self._section(start, at)
            yield section
            at = section.end

    def section_of(self, offset: int) -> ParitySection:
        """The section that has the byte at `offset` of the payload."""
        number = offset // SECTION
        full = self._section(0, 0).end if number else 0  # all but the last are alike
        return self._section(number * SECTION, HEADER + number * full)

    def _section(self, start: int, at: int) -> ParitySection:
        size = min(SECTION, self.size - start)
        blocks = -(-size // BLOCK)
        rows = -(-blocks // self.share.data)
        data = -(-blocks // rows)
        parity = -(-data * self.share.parity // self.share.data)
        return ParitySection(start, size, data, parity, rows, at)

    @property
    def file_size(self) -> int:
        """Bytes of the file of parity: both headers and all sections."""
        return self.section_of(self.size - 1).end + HEADER
