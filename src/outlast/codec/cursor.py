"""Walks forward through a header of little-endian numbers and counted strings, in windows of
bounded size, so that what is skipped is neither read nor held.
"""

import struct
from typing import Final

from outlast.codec.claims import MAX_HEADER_BYTES, CutShortError, OpaqueError, Read

WINDOW_BYTES: Final = 256 * 1024
_COUNT = struct.Struct("<Q")


class Cursor:
    """A position in the first :data:`MAX_HEADER_BYTES` of `size` bytes. Every length is compared
    with what is left before anything is read: :class:`CutShortError` where the bytes end,
    :class:`OpaqueError` where the bound does.
    """

    def __init__(self, read: Read, size: int) -> None:
        self._read = read
        self._size = size
        self._end = min(size, MAX_HEADER_BYTES)
        self._at = 0
        self._window = b""
        self._window_at = 0

    @property
    def at(self) -> int:
        """Bytes from the start."""
        return self._at

    def require(self, length: int) -> None:
        """Raises where fewer than `length` bytes are left."""
        if length > self._end - self._at:
            if self._end < self._size:
                raise OpaqueError(f"its header exceeds the bound of {MAX_HEADER_BYTES} bytes")
            raise CutShortError("it ends within its header")

    def skip(self, length: int) -> None:
        self.require(length)
        self._at += length

    def take(self, length: int) -> bytes:
        """The next `length` bytes, all in memory: the caller bounds them."""
        start = self._hold(length)
        self._at += length
        return self._window[start : start + length]

    def scalar(self, kind: struct.Struct) -> int | float | bool:
        start = self._hold(kind.size)
        self._at += kind.size
        value: int | float | bool = kind.unpack_from(self._window, start)[0]
        return value

    def length(self) -> int:
        """The length of the string that begins here and lies within the header, in bytes; the
        position is then at its first byte.
        """
        length = int(self.scalar(_COUNT))
        self.require(length)
        return length

    def skip_strings(self, count: int) -> None:
        """Skips `count` strings, each behind its length: a vocabulary has some 100,000."""
        self.require(count * _COUNT.size)
        unpack, width = _COUNT.unpack_from, _COUNT.size
        while count:
            start = self._hold(width)
            window = self._window
            last = len(window) - width
            while count and start <= last:
                start += width + unpack(window, start)[0]
                count -= 1
            self.skip(self._window_at + start - self._at)

    def _hold(self, length: int) -> int:
        """Has the next `length` bytes in the window; returns where they start in it."""
        self.require(length)
        start = self._at - self._window_at
        if not 0 <= start <= len(self._window) - length:
            wanted = min(max(length, WINDOW_BYTES), self._end - self._at)
            self._window, self._window_at, start = self._read(self._at, wanted), self._at, 0
            if len(self._window) < length:
                raise CutShortError("it ends within its header")
        return start
