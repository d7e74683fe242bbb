"""Bencoding (BEP 3), read strictly: each value has one encoding, so that a value that was read can
be written again to the same bytes and has the same infohash.

libtorrent's decoder is lenient: it takes unordered and repeated keys, trailing bytes, leading
zeros, and reads 2^63 as 0. Two readers of such a file could see two different torrents.
"""

from collections.abc import Mapping, Sequence
from typing import Final, TypeAlias

from outlast.core.errors import MalformedError

MAX_BYTES: Final = 64 * 1024 * 1024
MAX_ITEMS: Final = 1_000_000
"""Values and keys together; an item takes less than 100 bytes of memory beyond its own."""
MAX_DEPTH: Final = 100
"""As deep as libtorrent reads."""
_MAX_DIGITS: Final = 19
_LARGEST: Final = 2**63 - 1

Value: TypeAlias = int | bytes | list["Value"] | dict[bytes, "Value"]
Encodable: TypeAlias = int | bytes | Sequence["Encodable"] | Mapping[bytes, "Encodable"]


def encode(value: Encodable) -> bytes:
    """The one encoding of `value`; keys are sorted as bytes."""
    out: list[bytes] = []
    _encode(value, out)
    return b"".join(out)


def _encode(value: Encodable, out: list[bytes]) -> None:
    if isinstance(value, bytes):
        out.append(b"%d:%b" % (len(value), value))
    elif isinstance(value, int):
        out.append(b"i%de" % value)
    elif isinstance(value, Mapping):
        out.append(b"d")
        for key in sorted(value):
            _encode(key, out)
            _encode(value[key], out)
        out.append(b"e")
    else:
        out.append(b"l")
        for item in value:
            _encode(item, out)
        out.append(b"e")


def decode(data: bytes, limit: int = MAX_BYTES) -> Value:
    """The value that `data`, of at most `limit` bytes, encodes. Raises :class:`MalformedError` for
    anything but its one encoding, and beyond the bounds on size, depth and number of items;
    integers are those of 64 bits with a sign.
    """
    if len(data) > limit:
        raise MalformedError(f"bencoding of {len(data)} bytes exceeds the bound of {limit}")
    return _Decoder(data).read()


class _Open:
    """A list or dictionary that has not ended yet."""

    __slots__ = ("key", "last", "value")

    def __init__(self, value: list[Value] | dict[bytes, Value]) -> None:
        self.value: Final = value
        self.key: bytes | None = None
        self.last: bytes | None = None

    def put(self, item: Value) -> None:
        if isinstance(self.value, list):
            self.value.append(item)
        elif self.key is not None:
            self.value[self.key] = item
            self.key = None
        elif not isinstance(item, bytes):
            raise MalformedError("bencoding with a key that is not a string")
        elif self.last is not None and item <= self.last:
            raise MalformedError("bencoding with keys out of order, or given twice")
        else:
            self.key = self.last = item


class _Decoder:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0
        self._open: list[_Open] = []
        self._items = 0

    def read(self) -> Value:
        while True:
            value = self._next()
            if value is None:
                continue
            if not self._open:
                if self._at != len(self._data):
                    raise MalformedError("bencoding with bytes after its end")
                return value
            self._open[-1].put(value)

    def _next(self) -> Value | None:
        """The next value that is whole; None where a list or dictionary began."""
        token = self._data[self._at : self._at + 1]
        if token == b"e":
            self._at += 1
            return self._close()
        self._items += 1
        if self._items > MAX_ITEMS:
            raise MalformedError(f"bencoding of more than {MAX_ITEMS} items")
        if token == b"i":
            self._at += 1
            return self._integer(b"e")
        if token.isdigit():
            return self._string()
        if token not in {b"d", b"l"}:
            raise MalformedError("bencoding that is cut short" if not token else "not bencoding")
        if len(self._open) == MAX_DEPTH:
            raise MalformedError(f"bencoding nested more than {MAX_DEPTH} deep")
        self._at += 1
        if self._open and isinstance(self._open[-1].value, dict) and self._open[-1].key is None:
            raise MalformedError("bencoding with a key that is not a string")
        self._open.append(_Open({} if token == b"d" else []))
        return None

    def _close(self) -> Value:
        if not self._open:
            raise MalformedError("not bencoding")
        ended = self._open.pop()
        if ended.key is not None:
            raise MalformedError("bencoding with a key that has no value")
        return ended.value

    def _string(self) -> bytes:
        length = self._integer(b":")
        end = self._at + length
        if end > len(self._data):
            raise MalformedError("bencoding that is cut short")
        value = self._data[self._at : end]
        self._at = end
        return value

    def _integer(self, end: bytes) -> int:
        """The number up to `end`, as it would be written again."""
        stop = self._data.find(end, self._at, self._at + _MAX_DIGITS + 2)
        digits = self._data[self._at : stop] if stop >= 0 else b""
        plain = digits.removeprefix(b"-") if end == b"e" else digits
        if not plain.isdigit() or len(plain) > _MAX_DIGITS:
            raise MalformedError("bencoding with an invalid or oversized integer")
        value = int(digits)
        if b"%d" % value != digits or not -_LARGEST <= value <= _LARGEST:
            raise MalformedError("bencoding with a non-canonical integer")
        self._at = stop + 1
        return value
