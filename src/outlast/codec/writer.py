"""Encoding a blob, as far as its bytes are there."""

import contextlib
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from typing import Final

from outlast.codec import format as fmt
from outlast.codec import kernels
from outlast.codec.format import BaseRef, Block, CapsuleSpan, Directory
from outlast.codec.layout import BaseTensors, spans
from outlast.codec.memory import Readable, read, window, workspace
from outlast.codec.tensors import Container, parse
from outlast.core.digest import Digest

__all__ = ["PAYS", "Base", "CapsuleWriter", "Readable", "pays"]

PAYS: Final = 97
"""A capsule is kept where it is at most this part of the blob's size, in percent."""


def pays(capsule: int, blob: int) -> bool:
    """Whether a capsule of `capsule` bytes is kept instead of its blob of `blob` bytes."""
    return 100 * capsule <= PAYS * blob


@dataclass(frozen=True, slots=True)
class Base:
    """A blob to encode against, and its bytes."""

    sha256: Digest
    blob: Readable


class _NotYetError(Exception):
    """The container's header goes further than the bytes that are there."""

    def __init__(self, needed: int) -> None:
        self.needed = needed


class _Buffers:
    """Room for payloads that wait for their turn, used again."""

    def __init__(self) -> None:
        self._free: list[bytearray] = []

    def take(self, length: int) -> bytearray:
        buffer = self._free.pop() if self._free else bytearray()
        return buffer if len(buffer) >= length else bytearray(length)

    def give_back(self, buffer: bytearray) -> None:
        self._free.append(buffer)


@dataclass(frozen=True, slots=True)
class _Encoded:
    """A block's entry and payload, which lies in `buffer`."""

    entry: bytes
    payload: memoryview
    buffer: bytearray


class CapsuleWriter:
    """Writes the capsule of `blob` to `write`, in order, while the blob's bytes arrive.

    `executor`, if any, encodes up to `ahead` blocks at once; the capsule is the same. Memory: two
    buffers of up to 2 MiB a block under way, and 12 bytes of directory a block. With `check` every
    block is decoded at once and compared, so that no fault of the codec or the machine can come
    between the blob's bytes and the capsule. Raises :class:`ValueError` for more than 255 bases.
    """

    def __init__(
        self,
        blob: Readable,
        write: Callable[[memoryview | bytes], object],
        *,
        bases: Sequence[Base] = (),
        executor: Executor | None = None,
        ahead: int = 4,
        check: bool = True,
    ) -> None:
        if len(bases) > fmt.MAX_BASES:
            raise ValueError(f"a capsule has at most {fmt.MAX_BASES} bases")
        self._blob = blob
        self._write = write
        self._bases = tuple(bases)
        self._executor = executor
        self._ahead = ahead
        self._check = check
        self._buffers = _Buffers()
        self._frontier = 0
        self._needed = 1  # bytes before it is worth parsing the container again
        self._plan: Directory | None = None
        self._next = 0
        self._entries: list[bytes] = []
        self._under_way: deque[Future[_Encoded]] = deque()
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
                self._finish_block(self._encode(block))
                continue
            self._under_way.append(self._executor.submit(self._encode, block))
            while len(self._under_way) >= self._ahead:
                self._finish_block(self._under_way.popleft().result())

    def finish(self, sha256: Digest) -> Directory:
        """Writes what follows the blocks. The whole blob must be there; `sha256` is its name."""
        self.advance(self._blob.size)
        while self._under_way:
            self._finish_block(self._under_way.popleft().result())
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
        return read(self._blob, offset, max(0, end - offset))

    def _encode(self, block: Block) -> _Encoded:
        with contextlib.ExitStack() as stack:
            data = stack.enter_context(window(self._blob, block.offset, block.length))
            base = None
            if block.base:
                blob = self._bases[block.base - 1].blob
                base = stack.enter_context(window(blob, block.base_offset, block.length))
            return self._encode_bytes(block, data, base)

    def _encode_bytes(self, block: Block, data: memoryview, base: memoryview | None) -> _Encoded:
        buffer = self._buffers.take(block.length + fmt.RESTORED_BYTES)
        room = memoryview(buffer)
        out = room[fmt.RESTORED_BYTES :]
        tag, length = kernels.encode_block(workspace(), block.kind, data, base, out, self._check)
        payload = out[:length]
        if fmt.needs_base(tag, block.base):
            payload = room[: fmt.RESTORED_BYTES + length]
            payload[: fmt.RESTORED_BYTES] = fmt.checksum(data)
            if len(payload) >= block.length:
                tag, payload = fmt.STORED, room[: block.length]
                payload[:] = data
        entry = fmt.pack_entry(tag, len(payload), kernels.xxh3(payload))
        return _Encoded(entry, payload, buffer)

    def _finish_block(self, encoded: _Encoded) -> None:
        self._entries.append(encoded.entry)
        self._put(encoded.payload)
        encoded.payload.release()
        self._buffers.give_back(encoded.buffer)

    def _put(self, data: memoryview | bytes) -> None:
        self._write(data)
        self.written += len(data)


def _empty_directory(planned: list[CapsuleSpan]) -> Directory:
    count = sum(span.block_count for span in planned)
    return Directory(Digest("0" * 64), [], planned, bytes(12 * count))


def _container(blob: Readable) -> Container | None:
    def read_some(offset: int, length: int) -> bytes:
        return read(blob, offset, max(0, min(length, blob.size - offset)))

    return parse(read_some, blob.size)
