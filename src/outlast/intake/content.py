"""Does a file hold what its name promises? Judged by its name, its head and its tail, without
reading the rest. What is found is a warning: the bytes may well be those that a hub published.
"""

import json
import string
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from outlast.codec import gguf, safetensors
from outlast.codec.claims import CutShortError, OpaqueError
from outlast.core.errors import MalformedError, one_line
from outlast.core.manifest import load_json

Read = Callable[[int, int], bytes]
"""`read(offset, length)` returns `length` bytes, or fewer where the file ends before."""


def _suffixes(names: str) -> frozenset[str]:
    return frozenset(f".{name}" for name in names.split())


_WEIGHTS: Final = _suffixes(
    "safetensors gguf ggml bin pt pth ckpt onnx h5 keras msgpack npz npy pkl tflite pdparams nemo "
    "ot mlmodel model"
)
_DATA: Final = _suffixes(
    "parquet arrow zip gz bz2 xz zst 7z tar tgz png jpg jpeg webp gif mp3 wav flac ogg mp4 webm "
    "mkv pdf"
)
_BINARY: Final = _WEIGHTS | _DATA
_HEAD: Final = 1024
"""Bytes of the start that are looked at. Git LFS holds files of up to so many for pointers."""
_SMALL_JSON: Final = 64 * 1024
"""A JSON document of more bytes is no error message. A guess."""
_MOST_HEADER: Final = 16 * 1024 * 1024
"""Bytes of a safetensors header that is read to its end. The largest that we met has 0.5 MB."""
_ZIP_TAIL: Final = 22 + 65535
"""Bytes in which a zip file's end record begins: its own, and its longest comment."""
_QUOTED: Final = 60
_POINTERS: Final = (
    b"version https://git-lfs.github.com/spec/",
    b"version https://hawser.github.com/",
)
_PAGES: Final = (b"<!doctype html", b"<html", b"<head", b"<body", b"<?xml", b"<error", b"<!--")
_PARQUET: Final = (b"PAR1", b"PARE")
_TEXT: Final = frozenset(string.printable.encode())


class Flaw(StrEnum):
    """In which way a file contradicts its name."""

    POINTER = "lfs-pointer"
    PAGE = "page"
    EMPTY = "empty"
    TRUNCATED = "truncated"
    HEADER = "header"
    SHARD = "shard-missing"
    INDEX = "index"


@dataclass(frozen=True, slots=True)
class Suspect:
    """A file that is not what its name says, and why, in a few words."""

    path: str
    flaw: Flaw
    reason: str


def is_judged(path: str, size: int) -> bool:
    """Whether the bytes of a file have to be read to judge it."""
    return bool(size) and (size <= _HEAD or _suffix(path) in _BINARY)


def judge(path: str, size: int, read: Read) -> Suspect | None:
    """What is wrong with the file `path` of `size` bytes; None where nothing is. Raises only what
    `read` raises.
    """
    suffix = _suffix(path)
    if not size:
        kind = "weights" if suffix in _WEIGHTS else "data"
        reason = f"the file is empty, and its name promises {kind}"
        return Suspect(path, Flaw.EMPTY, reason) if suffix in _BINARY else None
    if not is_judged(path, size):
        return None
    head = read(0, min(size, _HEAD))
    if size <= _HEAD and head.startswith(_POINTERS):
        return Suspect(path, Flaw.POINTER, "a Git LFS pointer, not the file that it points to")
    if suffix not in _BINARY:
        return None
    found = _page(size, head, read) or _container(suffix, size, head, read)
    return None if found is None else Suspect(path, *found)


def _suffix(path: str) -> str:
    name = path.rpartition("/")[2]
    return f".{name.rpartition('.')[2].lower()}" if "." in name else ""


def _page(size: int, head: bytes, read: Read) -> tuple[Flaw, str] | None:
    """Text in place of bytes: what a server sends that does not send the file."""
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if start.lower().startswith(_PAGES):
        return Flaw.PAGE, "an HTML or XML page"
    if start[:1] in {b"{", b"["} and size <= _SMALL_JSON and _is_json(read(0, size)):
        return Flaw.PAGE, f"a JSON document: {_quoted(start)}"
    if size <= _HEAD and _TEXT.issuperset(head) and any(c in b" \n" for c in head.strip()):
        return Flaw.PAGE, f"a text of {size} bytes: {_quoted(start)}"
    return None


def _is_json(data: bytes) -> bool:
    try:
        return isinstance(load_json(data, _SMALL_JSON), dict | list)
    except MalformedError:
        return False


def _quoted(text: bytes) -> str:
    return json.dumps(one_line(text[:_QUOTED].decode("utf-8", "replace"), _QUOTED))


def _container(suffix: str, size: int, head: bytes, read: Read) -> tuple[Flaw, str] | None:
    check = _CONTAINERS.get(suffix)
    if check is not None:
        return check(size, head, read)
    if head.startswith(b"PK\x03\x04"):  # PyTorch's files too
        return _zip(size, head, read)
    return None


def _safetensors(size: int, head: bytes, read: Read) -> tuple[Flaw, str] | None:
    if size < 8:
        return Flaw.TRUNCATED, f"it ends after {size} bytes, before its header"
    length = int.from_bytes(head[:8], "little")
    if length > size - 8:
        text = f"its header would end at byte {8 + length}, the file ends at {size}"
        return Flaw.TRUNCATED, text
    if head[8:9] != b"{":
        return Flaw.HEADER, "it does not begin as a safetensors file"
    if length > _MOST_HEADER:
        return None
    try:
        claims = safetensors.read_claims(read, size)
    except CutShortError as error:
        return Flaw.TRUNCATED, str(error)
    except OpaqueError as error:
        return Flaw.HEADER, f"its safetensors header is not valid: {error}"
    return _extent(max((begin + count for *_, begin, count in claims), default=0), size)


def _gguf(size: int, head: bytes, read: Read) -> tuple[Flaw, str] | None:
    if not head.startswith(gguf.MAGIC):
        return Flaw.HEADER, "it does not begin as a GGUF file"
    try:
        header = gguf.read_header(read, size)
    except CutShortError as error:
        return Flaw.TRUNCATED, str(error)
    except OpaqueError:  # of a version or a byte order that we do not read
        return None
    end = max((tensor.end for tensor in header.tensors), default=0)
    return _extent(header.data + end, size) if end else None


def _extent(end: int, size: int) -> tuple[Flaw, str] | None:
    if end <= size:
        return None
    return Flaw.TRUNCATED, f"its tensors end at byte {end}, the file ends at {size}"


def _zip(size: int, head: bytes, read: Read) -> tuple[Flaw, str] | None:
    if not head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return Flaw.HEADER, "it does not begin as a zip file"
    if b"PK\x05\x06" in read(max(0, size - _ZIP_TAIL), _ZIP_TAIL):
        return None
    return Flaw.TRUNCATED, "the end of its zip archive is missing"


def _parquet(size: int, head: bytes, read: Read) -> tuple[Flaw, str] | None:
    if not head.startswith(_PARQUET):
        return Flaw.HEADER, "it does not begin as a Parquet file"
    if read(max(0, size - 4), 4) in _PARQUET:
        return None
    return Flaw.TRUNCATED, "the end of its Parquet file is missing"


_CONTAINERS: Final[Mapping[str, Callable[[int, bytes, Read], tuple[Flaw, str] | None]]] = {
    ".safetensors": _safetensors,
    ".gguf": _gguf,
    ".npz": _zip,
    ".zip": _zip,
    ".parquet": _parquet,
}
