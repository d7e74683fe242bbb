"""The binary form of SSH's keys and signatures (RFC 4251): lengths, texts and numbers. Bytes come
from outside: what does not follow the format to its end is refused.
"""

import struct
from typing import Final

from outlast.core.errors import MalformedError

_LENGTH: Final = struct.Struct(">I")
MAX_FIELD: Final = 16 * 1024
"""Bytes of one part. A key of RSA with 8192 bits has 1 KB."""


class WireReader:
    """Reads `data` from its start; `what` names it in errors."""

    def __init__(self, data: bytes, what: str) -> None:
        self._data = data
        self._at = 0
        self._what = what

    def raw(self, count: int) -> bytes:
        """The next `count` bytes."""
        found = self._data[self._at : self._at + count]
        if len(found) < count:
            raise MalformedError(f"{self._what} is cut short")
        self._at += count
        return found

    def uint32(self) -> int:
        """A number of 4 bytes."""
        value: int = _LENGTH.unpack(self.raw(_LENGTH.size))[0]
        return value

    def text(self) -> bytes:
        """Bytes behind their length."""
        length = self.uint32()
        if length > MAX_FIELD:
            raise MalformedError(f"{self._what} has a part of {length} bytes")
        return self.raw(length)

    def number(self) -> int:
        """A positive number of any size, written in the one way."""
        data = self.text()
        value = int.from_bytes(data, "big")
        if not value or data != number_bytes(value):
            raise MalformedError(f"{self._what} has a number that is not canonical")
        return value

    def end(self) -> None:
        """Raises unless all was read."""
        if self._at != len(self._data):
            raise MalformedError(f"{self._what} has more bytes than it should")


def text(data: bytes) -> bytes:
    """`data` behind its length."""
    return _LENGTH.pack(len(data)) + data


def number_bytes(value: int) -> bytes:
    """As few bytes as a positive number takes; the first bit says that it is positive."""
    return value.to_bytes(value.bit_length() // 8 + 1, "big")
