"""The lines of git's protocol (gitprotocol-common of git's documentation): four hex digits, the
length, and as many bytes less four; or a mark without bytes.
"""

from collections.abc import Iterable, Iterator
from typing import Final

from outlast.core.errors import MalformedError, one_line

FLUSH: Final = b"0000"
DELIMITER: Final = b"0001"
_MARKS: Final = frozenset({FLUSH, DELIMITER, b"0002"})
_HEAD: Final = 4
_MOST_LINE: Final = 65520
_PACK: Final = 1
_PROGRESS: Final = 2
_FATAL: Final = 3


def packet(line: str) -> bytes:
    """A line as it goes over the wire."""
    data = f"{line}\n".encode()
    return b"%04x" % (len(data) + _HEAD) + data


def packets(data: bytes) -> Iterator[bytes | None]:
    """The lines of an answer; None for a mark. Raises :class:`MalformedError` for what is no such
    thing, and for the error that a line tells.
    """
    at = 0
    while at < len(data):
        head = data[at : at + _HEAD]
        if head in _MARKS:
            at += _HEAD
            yield None
            continue
        try:
            size = int(head, 16) if head.isalnum() else -1
        except ValueError:
            size = -1
        if not _HEAD <= size <= _MOST_LINE or at + size > len(data):
            raise MalformedError("not an answer of git")
        line = data[at + _HEAD : at + size]
        if line.startswith(b"ERR "):
            raise MalformedError(f"git says: {one_line(line[4:].decode(errors='replace'), 200)}")
        yield line
        at += size


def pack_in(lines: Iterable[bytes | None]) -> bytes:
    """The pack in an answer to ``fetch`` (gitprotocol-v2): its parts in the section ``packfile``,
    each behind the number of its band. Raises :class:`MalformedError`.
    """
    section = ""
    pack = bytearray()
    for line in lines:
        if line is None:
            section = ""
        elif not section:
            section = line.rstrip(b"\n").decode(errors="replace")
        elif section == "packfile":
            band = line[:1]
            if band == bytes([_FATAL]):
                said = one_line(line[1:].decode(errors="replace"), 200)
                raise MalformedError(f"git says: {said}")
            if band == bytes([_PACK]):
                pack += line[1:]
            elif band != bytes([_PROGRESS]):
                raise MalformedError("an answer of git with a part of no band")
    return bytes(pack)
