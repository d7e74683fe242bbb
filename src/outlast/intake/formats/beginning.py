"""What the first bytes of a file tell of it while the rest is still to come."""

import struct
from typing import Final, Literal

from outlast.intake.formats.unsafe import Unsafe, find_unsafe, unsafe_by_name

MOST: Final = 1024 * 1024
"""Bytes of a beginning that are looked at."""
_ZIP: Final = b"PK\x03\x04"
_ZIP_HEADER: Final = 30
"""Bytes of a local header before the name."""

Beginning = Unsafe | Literal["safe", "undecided"]
"""What is unsafe; or that nothing is, or that the rest of the file has to be seen."""


class _TooShortError(Exception):
    """Bytes beyond the beginning are asked for."""


def judge_beginning(path: str, size: int, head: bytes) -> Beginning:
    """What the first bytes `head` of the file `path` of `size` bytes tell. What is said to be safe
    is so for all of the file.
    """
    if (found := unsafe_by_name(path)) is not None:
        return found
    if _begins_with_a_pickle(head):
        return Unsafe("it has a pickle inside: loading it runs code", _first_name(head))

    def read(offset: int, length: int) -> bytes:
        stop = min(size, offset + length)
        if stop > len(head):
            raise _TooShortError
        return head[offset:stop]

    try:
        return find_unsafe(path, size, read) or "safe"
    except _TooShortError:
        return "undecided"


def _begins_with_a_pickle(head: bytes) -> bool:
    """PyTorch writes its pickle as the first member of a zip; the zip's directory is at its end."""
    return unsafe_by_name(_first_name(head)) is not None


def _first_name(head: bytes) -> str:
    if not head.startswith(_ZIP) or len(head) < _ZIP_HEADER:
        return ""
    (length,) = struct.unpack_from("<H", head, 26)
    return head[_ZIP_HEADER : _ZIP_HEADER + length].decode("utf-8", "replace")
