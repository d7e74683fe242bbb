"""Checks of small files: a bit that rots is seen, and so is a file under the name of another one.

A check is the start of a sha256 over the file's own name and its text. It is no signature: it tells
rot and mistakes, not a person who writes to the archive.
"""

import functools
import hashlib
from typing import Final

_DIGITS: Final = 32
_MARK: Final = b"check "
_TRAILER: Final = len(_MARK) + _DIGITS + 1
_TAB: Final = b"\t"
_HEX: Final = frozenset(b"0123456789abcdef")

LISTED: Final = b"listed"
"""The part of a draft's first lines: the head, and what the source lists."""
NOTED: Final = b"noted"
"""The part of the lines that were appended to a draft."""


def seal(name: str, body: bytes) -> bytes:
    """`body` with its check; `name` is the file's path in the archive, with slashes."""
    return b"%s%s%s\n" % (body, _MARK, _check(name, b"", body))


def unseal(name: str, data: bytes) -> bytes | None:
    """The body of a sealed file; None where there is no check, or not the right one."""
    body, trailer = data[:-_TRAILER], data[-_TRAILER:]
    right = trailer == b"%s%s\n" % (_MARK, _check(name, b"", body))
    return body if right else None


def seal_line(name: str, part: bytes, line: bytes) -> bytes:
    """A line of the file `name`, without its end; it may have no tab. `part` is `LISTED` or
    `NOTED`.
    """
    return b"%s\t%s" % (line, _check(name, part, line))


def unseal_line(name: str, part: bytes, line: bytes) -> bytes | None:
    """The inverse; None where the line is damaged, torn, or of another part or file."""
    text, _, check = line.rpartition(_TAB)
    return text if check == _check(name, part, text) else None


def is_torn(line: bytes) -> bool:
    """Whether a line that has no right check is the beginning of one, as a crash leaves it: it ends
    before its check does. Else its bits have changed, or zeros are in place of them, as of a sector
    that a disk lost.
    """
    if b"\0" in line:
        return False
    text, tab, check = line.rpartition(_TAB)
    if tab:
        return len(check) < _DIGITS and set(check) <= _HEX and text.endswith(b"}")
    return not (line[-_DIGITS - 2 : -_DIGITS - 1] == b"}" and set(line[-_DIGITS:]) <= _HEX)


def check_of(name: str, body: bytes) -> str:
    """The check of a file that holds it in a place of its own."""
    return _check(name, b"", body).decode()


def _check(name: str, part: bytes, body: bytes) -> bytes:
    hasher = _begun(name, part).copy()
    hasher.update(body)
    return hasher.hexdigest()[:_DIGITS].encode()


@functools.lru_cache(maxsize=64)
def _begun(name: str, part: bytes) -> "hashlib._Hash":
    raw = name.encode("utf-8", "surrogateescape")
    return hashlib.sha256(b"outlast\0%s\0%s\0" % (raw, part))
