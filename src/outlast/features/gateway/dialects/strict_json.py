"""JSON of strangers, read in one way only: what two parsers would read differently is refused."""

import re
from itertools import accumulate
from typing import Any, Final

import msgspec

BODY: Final = 32 * 1024 * 1024
"""Bytes of a request's body. A dozen photographs in base64 fit; it is read before memory for the
parsed values is taken.
"""
CONTAINERS: Final = 1_000_000
"""Objects and arrays of one text. Each takes up to 230 bytes of memory, and all of them are walked
while no other request is answered. A long conversation has 10,000; an answer with the probabilities
of 20 tokens in place of each has 41 for each token.
"""
VALUES: Final = 8_000_000
"""Values of one text. A batch of embeddings has 5 million numbers in 64 MiB."""
DEPTH: Final = 100
"""Levels of nesting. A conversation has six, a JSON schema of a tool some twenty."""
_DIGITS: Final = 19
"""Whole numbers of fewer digits fit into 64 bits, and mean the same to all parsers."""

_STRING: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_LONG_NUMBER: Final = re.compile(rb"(?<![\d.eE+-])-?\d{%d,}(?![\d.eE])" % _DIGITS)
_STEPS: Final = bytes(1 if b in b"[{" else 255 if b in b"]}" else 0 for b in range(256))
_NO_BRACKETS: Final = bytes(b for b in range(256) if b not in b"[]{}")
_decode: Final = msgspec.json.Decoder().decode


class NotStrictError(ValueError):
    """Bytes that are no JSON, or not in the one way that is taken. One line."""


def parse_strict(body: bytes, *, limit: int = BODY) -> Any:
    """The value of a JSON text of at most `limit` bytes. Raises :class:`NotStrictError` for other
    bytes, and for a key that is given twice, NaN and infinities, numbers beyond 64 bits, more than
    :data:`DEPTH` levels, :data:`CONTAINERS` or :data:`VALUES`, half surrogates, a byte order mark,
    and UTF-8 that is none.
    """
    if len(body) > limit:
        raise NotStrictError(f"it has more than {limit} bytes")
    if is_too_dense(body):
        raise NotStrictError(
            f"it has more than {CONTAINERS} objects and arrays, or {VALUES} values; brackets and "
            "commas in texts count too"
        )
    try:
        value = _decode(body)
    except UnicodeDecodeError:
        raise NotStrictError("it is not UTF-8") from None
    except RecursionError:
        raise NotStrictError(f"it is nested more than {DEPTH} levels deep") from None
    except msgspec.MsgspecError as error:
        raise NotStrictError(str(error).partition("\n")[0]) from None
    frame = _STRING.sub(b"", body)  # what is left has no text in it
    if _deepest(frame) > DEPTH:
        raise NotStrictError(f"it is nested more than {DEPTH} levels deep")
    if any(_is_beyond(found[0]) for found in _LONG_NUMBER.finditer(frame)):
        raise NotStrictError("a number does not fit in 64 bits")
    if frame.count(b":") != _keys(value):
        raise NotStrictError("a key is given twice")
    return value


def is_too_dense(body: bytes) -> bool:
    """Whether what `body` has of JSON may take much more memory than its bytes do. Marks in texts
    count too: it is told before anything is parsed.
    """
    return body.count(b"[") + body.count(b"{") > CONTAINERS or body.count(b",") > VALUES


def _is_beyond(number: bytes) -> bool:
    """Whether 64 bits do not hold a whole number, with a sign or without one."""
    return len(number) > _DIGITS + 1 or not -(1 << 63) <= int(number) < 1 << 64


def _deepest(frame: bytes) -> int:
    brackets = frame.translate(_STEPS, _NO_BRACKETS)
    return max(accumulate(1 if step == 1 else -1 for step in brackets), default=0)


def _keys(value: Any) -> int:
    """How many keys all objects of `value` have together."""
    if isinstance(value, dict):
        return len(value) + sum(_keys(item) for item in value.values() if type(item) in _NESTED)
    if isinstance(value, list):
        return sum(_keys(item) for item in value if type(item) in _NESTED)
    return 0


_NESTED: Final = (dict, list)
