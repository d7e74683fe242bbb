"""An answer before it is sent: status, headers, and a body that is read piece by piece."""

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from tests.hubsim.repo import StoredFile

_UNSAFE = re.compile(r"[^\x20-\x7e]")


class Body(Protocol):
    """`size` bytes that can be read from any position."""

    @property
    def size(self) -> int: ...

    def read(self, position: int, count: int) -> bytes: ...

    def on_disk(self) -> tuple[Path, int] | None:
        """The file and the offset that hold just these bytes, if they are unaltered."""


@dataclass(frozen=True, slots=True)
class Memory:
    """A body held in memory."""

    data: bytes

    @property
    def size(self) -> int:
        return len(self.data)

    def read(self, position: int, count: int) -> bytes:
        return self.data[position : position + count]

    def on_disk(self) -> tuple[Path, int] | None:
        return None


@dataclass(frozen=True, slots=True)
class Filler:
    """A huge body that is never in memory: `head`, one byte over and over, `tail`."""

    head: bytes
    tail: bytes
    size: int
    fill: bytes = b"a"

    def read(self, position: int, count: int) -> bytes:
        end = min(position + count, self.size)
        middle_end = self.size - len(self.tail)
        filled = max(0, min(end, middle_end) - max(position, len(self.head)))
        closing = self.tail[max(0, position - middle_end) : max(0, end - middle_end)]
        return self.head[position:end] + self.fill * filled + closing

    def on_disk(self) -> tuple[Path, int] | None:
        return None


@dataclass(frozen=True, slots=True)
class Content:
    """A stored file as this request sees it: as it is, or altered by a fault."""

    file: StoredFile
    etag: str
    size: int
    xor: int = 0
    flips: range = range(0)
    mask: int = 1

    @property
    def altered(self) -> bool:
        return bool(self.xor or self.flips or self.size > self.file.size)

    def read(self, position: int, count: int) -> bytes:
        """Bytes of the altered file; past the stored file's end they are zeros."""
        count = max(0, min(count, self.size - position))
        stored = max(0, min(count, self.file.size - position))
        data = bytearray(count)
        data[:stored] = _pread(self.file.source, self.file.offset + position, stored)
        if self.xor:
            data = bytearray(data.translate(bytes(value ^ self.xor for value in range(256))))
        for at in _within(self.flips, position, position + count):
            data[at - position] ^= self.mask
        return bytes(data)


def _within(numbers: range, start: int, end: int) -> range:
    """Those of the numbers, which ascend, that are in [start, end)."""
    first = max(0, -(-(start - numbers.start) // numbers.step))
    return range(numbers.start + first * numbers.step, min(end, numbers.stop), numbers.step)


@dataclass(frozen=True, slots=True)
class Part:
    """`size` bytes of a content from `start`."""

    content: Content
    start: int
    size: int

    def read(self, position: int, count: int) -> bytes:
        return self.content.read(self.start + position, min(count, self.size - position))

    def on_disk(self) -> tuple[Path, int] | None:
        if self.content.altered:
            return None
        return Path(self.content.file.source), self.content.file.offset + self.start


@dataclass(slots=True)
class Reply:
    """What to send. With `chunked` there is no Content-Length."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: Body = field(default_factory=lambda: Memory(b""))
    chunked: bool = False


def json_reply(value: Any, headers: Mapping[str, str] | None = None, status: int = 200) -> Reply:
    """An API answer."""
    data = json.dumps(value, separators=(",", ":")).encode()
    kind = {"Content-Type": "application/json; charset=utf-8"}
    return Reply(status, kind | dict(headers or {}), Memory(data))


def error_reply(
    status: int, message: str, code: str | None = None, headers: Mapping[str, str] | None = None
) -> Reply:
    """An error as the hub words it: in the body and in X-Error-Code and X-Error-Message."""
    extra = dict(headers or {}) | {"X-Error-Message": _UNSAFE.sub("?", message)}
    if code is not None:
        extra["X-Error-Code"] = code
    return json_reply({"error": message}, extra, status)


def redirect_reply(status: int, location: str, headers: Mapping[str, str] | None = None) -> Reply:
    """A redirect, with the short text body that the hub sends."""
    text = f"Redirecting to {location}".encode()
    kind = {"Content-Type": "text/plain; charset=utf-8", "Location": location}
    return Reply(status, kind | dict(headers or {}), Memory(text))


def _pread(source: str, offset: int, count: int) -> bytes:
    if count == 0:
        return b""
    descriptor = os.open(source, os.O_RDONLY)
    try:
        return os.pread(descriptor, count, offset)
    finally:
        os.close(descriptor)
