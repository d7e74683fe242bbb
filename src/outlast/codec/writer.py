"""Encoding a blob, as far as its bytes are there."""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from typing import Final, Protocol

from outlast.codec import format as fmt
from outlast.codec import kernels
from outlast.codec.format import BaseRef, Block, Directory, Span
from outlast.codec.layout import BaseTensors, spans
from outlast.codec.tensors import Container, parse
from outlast.model.digest import Digest

PAYS: Final = 0.97
"""A capsule is kept where it is at most this part of the blob's size."""

_MAX_BLOCK: Final = max(element * count for element, count in fmt.SHAPES.values())


class Readable(Protocol):
    """Bytes at any offset. `readinto` fills the buffer, or raises."""

    @property
    def size(self) -> int: ...

    def readinto(self, offset: int, buffer: memoryview) -> None: ...


@dataclass(frozen=True, slots=True)
class Base:
    """A blob to lean on, and its bytes."""

    sha256: Digest
    blob: Readable


class _NotYetError(Exception):
    """The container's header goes further than the bytes that are there."""

    def __init__(self, needed: int) -> None:
        self.needed = needed


class Workspaces:
    """Scratch memory of the kernels, one for each thread that works."""

    def __init__(self) -> None:
        self._local = threading.local()

    def get(self) -> kernels.Workspace:
        space: kernels.Workspace | None = getattr(self._local, "space", None)
        if space is None:
            space = self._local.space = kernels.Workspace()
        return space


_workspaces = Workspaces()


def workspace() -> kernels.Workspace:
    """The calling thread's scratch memory."""
    return _workspaces.get()


class CapsuleWriter:
    """Writes the capsule of `blob` to `write`, in order, while the blob's bytes arrive.

    `executor`, if any, encodes up to `ahead` blocks at once; the capsule is the same. Memory: two
    buffers of up to 2 MiB a block under way, and 12 bytes of directory a block.
    """

    def __init__(
        self,
        blob: Readable,
        write: Callable[[memoryview | bytes], object],
        *,
        bases: Sequence[Base] = (),
        executor: Executor | None = None,
        ahead: int = 4,
    ) -> None:
        self._blob = blob
        self._write = write
        self._bases = tuple(bases)
        self._executor = executor
        self._ahead = ahead
        self._frontier = 0
        self._needed = 1  # bytes before it is worth parsing the container again
        self._plan: Directory | None = None
        self._next = 0
        self._entries: list[bytes] = []
        self._under_way: deque[Future[tuple[bytes, memoryview]]] = deque()
        self.written = 0
        self._put(fmt.HEAD)

    def advance(self, frontier: int) -> None:
        """Encodes what can be, now that the first `frontier` bytes of the blob are there."""
        self._frontier = frontier
        if self._plan is None and not self._make_plan():
            return
        assert self._plan is not None
        while self._next < self._plan.block_count:
            block = self._plan.block(self._next)
            if block.offset + block.length > frontier:
                return
            self._next += 1
            if self._executor is None:
                self._finish_block(*self._encode(block))
                continue
            self._under_way.append(self._executor.submit(self._encode, block))
            while len(self._under_way) >= self._ahead:
                self._finish_block(*self._under_way.popleft().result())

    def finish(self, sha256: Digest) -> Directory:
        """Writes what follows the blocks. The whole blob must be there; `sha256` is its name."""
        self.advance(self._blob.size)
        while self._under_way:
            self._finish_block(*self._under_way.popleft().result())
        assert self._plan is not None
        refs = [BaseRef(base.sha256, base.blob.size) for base in self._bases]
        directory = Directory(sha256, refs, self._plan.spans, b"".join(self._entries))
        self._put(directory.pack_end())
        return directory

    def _make_plan(self) -> bool:
        if self._frontier < min(self._needed, self._blob.size):
            return False
        try:
            container = parse(self._read_header, self._blob.size)
        except _NotYetError as error:
            # Twice as far each time, so that all attempts together take linear time.
            self._needed = max(error.needed, 2 * self._frontier)
            return False
        bases = None
        if self._bases:
            sizes = [base.blob.size for base in self._bases]
            bases = BaseTensors([_container(base.blob) for base in self._bases], sizes)
        planned = spans(container, self._blob.size, bases)
        self._plan = _empty_directory(planned)
        return True

    def _read_header(self, offset: int, length: int) -> bytes:
        end = min(offset + length, self._blob.size)
        if end > self._frontier:
            raise _NotYetError(end)
        return _read(self._blob, offset, max(0, end - offset))

    def _encode(self, block: Block) -> tuple[bytes, memoryview]:
        data = memoryview(bytearray(block.length))
        self._blob.readinto(block.offset, data)
        base = None
        if block.base:
            base = memoryview(bytearray(block.length))
            self._bases[block.base - 1].blob.readinto(block.base_offset, base)
        out = memoryview(bytearray(block.length))
        tag, length = kernels.encode_block(workspace(), block.kind, data, base, out)
        payload = out[:length]
        return fmt.pack_entry(tag, length, kernels.xxh3(payload)), payload

    def _finish_block(self, entry: bytes, payload: memoryview) -> None:
        self._entries.append(entry)
        self._put(payload)

    def _put(self, data: memoryview | bytes) -> None:
        self._write(data)
        self.written += len(data)


def _empty_directory(planned: list[Span]) -> Directory:
    count = sum(span.block_count for span in planned)
    return Directory(Digest("0" * 64), [], planned, bytes(12 * count))


def _read(blob: Readable, offset: int, length: int) -> bytes:
    buffer = bytearray(length)
    blob.readinto(offset, memoryview(buffer))
    return bytes(buffer)


def _container(blob: Readable) -> Container | None:
    def read(offset: int, length: int) -> bytes:
        return _read(blob, offset, max(0, min(length, blob.size - offset)))

    return parse(read, blob.size)
