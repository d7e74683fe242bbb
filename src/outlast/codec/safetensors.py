r"""Reads the header of a safetensors file. These rules belong to the capsule format: every
implementation must accept exactly what they accept.

The format is https://github.com/huggingface/safetensors#format; this is a strict part of it.

1.  Bytes 0 to 7 are N, an unsigned little-endian integer; 2 ≤ N ≤ 100,000,000 and 8 + N ≤ the
    length of the file. The header is the N bytes from byte 8, the data are all bytes after it.
2.  The header is valid UTF-8 (RFC 3629: neither surrogates nor overlong forms). Its first byte is
    `{`, so there is no byte order mark and no space before it. It is one JSON object (RFC 8259),
    followed by nothing but white space. White space is 0x20, 0x09, 0x0A and 0x0D.
3.  An integer, here, is `0` or a digit from 1 to 9 and further digits, with neither sign, fraction
    nor exponent, and is below 2**53.
4.  Strings are those of RFC 8259: the escapes are `\"` `\\` `\/` `\b` `\f` `\n` `\r` `\t`
    and `\u` with four hexadecimal digits, and no byte below 0x20 stands unescaped. An escaped
    surrogate is half of a pair, the high one first. Strings, keys included, are equal when their
    code points are, after escapes are resolved.
5.  No object has two equal keys.
6.  The value of the key `__metadata__`, which may be missing, is an object of at most 65,536
    members, whose values are strings. They do not matter.
7.  Every other key is the name of a tensor; there are at most 1,000,000. Its value is an object of
    exactly three members in any order: `dtype`, a string; `shape`, an array of at most 64 integers;
    `data_offsets`, an array of two integers, begin ≤ end.
8.  The bytes of the tensor are those from begin up to end, counted from the start of the data.
9.  Of the dtypes F64, F32, F16, BF16, F8_E4M3, F8_E5M2, I64, I32, I16, I8, U8, U16, U32, U64 and
    BOOL, a weight has 8, 4, 2, 2, 1, 1, 8, 4, 2, 1, 1, 2, 4, 8 and 1 bytes. The product of the
    shape (1 for an empty shape) is below 2**53, and times the bytes of a weight it is end - begin.
    Any other string is the dtype "OTHER", whose shape is not compared with its length.

What tensors may not do to each other is in :mod:`outlast.codec.tensors`, as that is one rule for
all formats. There may be gaps, and bytes after the last tensor.
"""

import json
import re
from collections.abc import Iterator
from typing import Final

from outlast.codec.claims import (
    BLOCKS,
    INTEGER_END,
    MAX_HEADER_BYTES,
    MAX_PAIRS,
    MAX_TENSORS,
    OTHER,
    Claim,
    CutShortError,
    OpaqueError,
    Read,
    weights,
)

MAX_DIMENSIONS: Final = 64
_LENGTH_BYTES = 8
_METADATA = "__metadata__"
_WIDTHS = {dtype: size for dtype, (block, size) in BLOCKS.items() if block == 1}

_SPACE = r"[ \t\n\r]*+"
_INTEGER = r"(?:0|[1-9][0-9]{0,15}+)" + _SPACE
# Possessive, as else the engine keeps a way back for each escape. Before Python 3.11.5 a possessive
# group that fails halfway stays where it failed; so it looks ahead, and then cannot fail.
_TOKEN = re.compile(
    _SPACE + r"([{}\[\]:,]"
    r'|"[^"\\\x00-\x1f]*+'
    r'(?:(?=\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))\\.[^"\\\x00-\x1f]*+)*+")'
)
_INTEGERS = re.compile(
    rf"{_SPACE}\[{_SPACE}({_INTEGER}(?:,{_SPACE}{_INTEGER}){{0,{MAX_DIMENSIONS - 1}}})?\]"
)
_BLANK = re.compile(_SPACE)
# A tensor as nearly all programs write it: its members in this order, without escapes. Any other
# one is read token by token, so that what is accepted does not hang on this.
_USUAL = re.compile(
    _SPACE.join(
        (
            *("", r"\{", '"dtype"', ":", r'"([^"\\\x00-\x1f]*+)"', ","),
            *('"shape"', ":", r"\["),
            rf"({_INTEGER}(?:,{_SPACE}{_INTEGER}){{0,{MAX_DIMENSIONS - 1}}})?\]",
            *(",", '"data_offsets"', ":", r"\[", rf"({_INTEGER}),", rf"({_INTEGER})\]", r"\}"),
        )
    )
)


def read_claims(read: Read, size: int) -> list[Claim]:
    """What the header of a safetensors file of `size` bytes says of its tensors, in its order.

    Raises :class:`OpaqueError` where rules 1 to 9 do not hold.
    """
    start = read(0, _LENGTH_BYTES + 1)
    length = int.from_bytes(start[:_LENGTH_BYTES], "little")
    if start[_LENGTH_BYTES:] != b"{" or not 2 <= length <= MAX_HEADER_BYTES:
        raise OpaqueError("it does not begin as a safetensors file")
    data = _LENGTH_BYTES + length
    if data > size:
        raise CutShortError("it ends within its header")
    raw = read(_LENGTH_BYTES, length)
    if len(raw) != length:
        raise CutShortError("it ends within its header")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise OpaqueError("its header is not UTF-8") from error
    return _Scanner(text).header(data)


class _Scanner:
    """Reads the one kind of JSON that a header may be, token by token and without a tree: a
    general parser takes twenty times the memory for `[[],[],…`, and has its own ideas of numbers.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def header(self, data: int) -> list[Claim]:
        """`data` is where the data start, in bytes."""
        claims: list[Claim] = []
        self._expect("{")
        for name in self._members(MAX_TENSORS + 1):
            if name == _METADATA:
                self._metadata()
            else:
                claims.append(self._tensor(name, data))
        if len(claims) > MAX_TENSORS:
            raise OpaqueError(f"it has more than {MAX_TENSORS} tensors")
        if not _BLANK.fullmatch(self._text, self._at):
            raise self._unexpected()
        return claims

    def _metadata(self) -> None:
        self._expect("{")
        for _ in self._members(MAX_PAIRS):
            self._string(self._next())

    def _tensor(self, name: str, data: int) -> Claim:
        usual = _USUAL.match(self._text, self._at)
        if usual is None:
            return self._claim(name, data, *self._described())
        self._at = usual.end()
        dtype, shape, begin, end = usual.groups()
        return self._claim(name, data, dtype, _numbers(shape), (*_numbers(begin), *_numbers(end)))

    def _described(self) -> tuple[str, tuple[int, ...], tuple[int, ...]]:
        """The dtype, the shape and the offsets of a tensor."""
        dtype = None
        shape = offsets = None
        self._expect("{")
        for key in self._members(3):
            if key == "dtype":
                dtype = self._string(self._next())
            elif key == "shape":
                shape = self._integers()
            elif key == "data_offsets":
                offsets = self._integers()
            else:
                raise OpaqueError(f"a tensor has the unknown member {key!r}")
        if dtype is None or shape is None or offsets is None:
            raise OpaqueError("a tensor lacks a member")
        return dtype, shape, offsets

    def _claim(
        self, name: str, data: int, dtype: str, shape: tuple[int, ...], offsets: tuple[int, ...]
    ) -> Claim:
        if len(offsets) != 2 or offsets[0] > offsets[1]:
            raise OpaqueError("a tensor has offsets that are no range")
        begin, end = offsets
        width = _WIDTHS.get(dtype)
        if width is None:
            return name, OTHER, shape, data + begin, end - begin
        if weights(shape) * width != end - begin:
            raise OpaqueError("a tensor's shape does not fit its length")
        return name, dtype, shape, data + begin, end - begin

    def _members(self, limit: int) -> Iterator[str]:
        """The keys of an object whose `{` was read. Who iterates reads each value."""
        seen: set[str] = set()
        symbol = self._next()
        while symbol != "}":
            key = self._string(symbol)
            if key in seen or len(seen) == limit:
                raise OpaqueError("a key is there twice, or there are too many")
            seen.add(key)
            self._expect(":")
            yield key
            if self._expect(",", "}") == "}":
                return
            symbol = self._quoted()

    def _integers(self) -> tuple[int, ...]:
        return _numbers(self._match(_INTEGERS)[1])

    def _quoted(self) -> str:
        """The next token, which must be a string: no comma stands before a `}`."""
        symbol = self._next()
        if symbol[0] != '"':
            raise self._unexpected()
        return symbol

    def _string(self, symbol: str) -> str:
        if symbol[0] != '"':
            raise self._unexpected()
        if "\\" not in symbol:
            return symbol[1:-1]
        value: str = json.loads(symbol)
        try:
            value.encode("utf-8")
        except UnicodeEncodeError as error:
            raise OpaqueError("a string has half of a surrogate pair") from error
        return value

    def _expect(self, *wanted: str) -> str:
        symbol = self._next()
        if symbol not in wanted:
            raise self._unexpected()
        return symbol

    def _next(self) -> str:
        return self._match(_TOKEN)[1]

    def _match(self, pattern: re.Pattern[str]) -> re.Match[str]:
        match = pattern.match(self._text, self._at)
        if match is None:
            raise self._unexpected()
        self._at = match.end()
        return match

    def _unexpected(self) -> OpaqueError:
        return OpaqueError(f"its header is not as it must be at character {self._at}")


def _numbers(inside: str | None) -> tuple[int, ...]:
    """The integers between brackets."""
    numbers = tuple(map(int, inside.split(","))) if inside else ()
    if numbers and max(numbers) >= INTEGER_END:
        raise OpaqueError(f"it has a number of {INTEGER_END} or more")
    return numbers
