"""Bytes at any offset, and memory that is used again: fresh pages cost as much as decoding."""

import contextlib
import threading
from collections.abc import Iterator
from typing import Final, Protocol

from outlast.codec import kernels

_GRAIN: Final = 1 << 18


class Readable(Protocol):
    """Bytes at any offset. `readinto` fills the buffer, or raises."""

    @property
    def size(self) -> int: ...

    def readinto(self, offset: int, buffer: memoryview) -> None: ...


class InMemory:
    """A :class:`Readable` over bytes."""

    def __init__(self, data: bytes | bytearray | memoryview) -> None:
        self._view = memoryview(data)

    @property
    def size(self) -> int:
        return len(self._view)

    def readinto(self, offset: int, buffer: memoryview) -> None:
        buffer[:] = self.view(offset, len(buffer))

    def view(self, offset: int, length: int) -> memoryview:
        """The bytes themselves, without a copy."""
        found = self._view[offset : offset + length]
        if len(found) != length:
            raise EOFError
        return found


class _Local(threading.local):
    def __init__(self) -> None:
        self.free: list[bytearray] = []
        self.workspace = kernels.Workspace()


_local = _Local()


def workspace() -> kernels.Workspace:
    """The calling thread's scratch memory for the kernels."""
    return _local.workspace


@contextlib.contextmanager
def scratch(length: int) -> Iterator[memoryview]:
    """`length` bytes of the calling thread's, whatever is in them; may nest."""
    free = _local.free
    buffer = free.pop() if free else bytearray()
    if len(buffer) < length:
        buffer = bytearray(-(-length // _GRAIN) * _GRAIN)
    try:
        with memoryview(buffer) as whole, whole[:length] as part:
            yield part
    finally:
        free.append(buffer)


@contextlib.contextmanager
def window(blob: Readable, offset: int, length: int) -> Iterator[memoryview]:
    """`length` bytes of `blob`, for as long as the context lasts."""
    if isinstance(blob, InMemory):
        yield blob.view(offset, length)
        return
    with scratch(length) as buffer:
        blob.readinto(offset, buffer)
        yield buffer


def read(blob: Readable, offset: int, length: int) -> bytes:
    """A copy of `length` bytes of `blob`."""
    with window(blob, offset, length) as found:
        return bytes(found)
