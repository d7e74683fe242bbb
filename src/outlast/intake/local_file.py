"""Reading a local file once: stored, hashed and verified in the same pass, on two cores."""

import contextlib
import os
import queue
import threading
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, Protocol

from outlast.codec import merkle
from outlast.codec.hashing import GIT_LIMIT, BlobHasher, names_of
from outlast.codec.memory import Readable
from outlast.core.cancel import Cancel
from outlast.core.control import Control
from outlast.core.digest import Names
from outlast.core.errors import TransientError
from outlast.core.events import Progress
from outlast.core.threads import one_ahead
from outlast.store import disk

_BUFFERS: Final = 8
_SYNC_EVERY: Final = 256
_WINDOW: Final = 8 * merkle.PIECE


class Sink(Protocol):
    """What becomes of the bytes. Called from one thread, in their order."""

    @property
    def most(self) -> int:
        """Pieces (1 MiB) that it may hold at once. It may become less, never more."""

    def take(self, offset: int, piece: memoryview) -> int:
        """Takes what lies at `offset`; returns where what it still needs begins: earlier pieces
        are used again.
        """


class PlainSink:
    """The bytes as they are, in the open file `target`."""

    most = 0

    def __init__(self, target: int) -> None:
        self._target = target
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="sync")
        self._syncing: Future[None] | None = None

    def take(self, offset: int, piece: memoryview) -> int:
        disk.write_all(self._target, piece, offset)
        if offset // merkle.PIECE % _SYNC_EVERY == _SYNC_EVERY - 1:
            self._settle()
            self._syncing = self._pool.submit(os.fsync, self._target)  # while we hash
        return offset + len(piece)

    def close(self) -> None:
        """Waits for the disk to be done with what it was asked for."""
        self._pool.shutdown()
        self._settle()

    def _settle(self) -> None:
        if self._syncing is not None:
            self._syncing.result()


def ingest(source: int, sink: Sink | None, path: str, control: Control) -> Names:
    """Hashes the open file `source`, and gives its bytes to `sink`, if any.

    Raises :class:`TransientError` where the file changes meanwhile. `path` is for events.
    """
    before = os.fstat(source)
    run = _Pipeline(before.st_size, sink, path, control)
    names = run.read(source)
    after = os.fstat(source)
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise TransientError(f"{path} changed while it was read")
    return names


class Rereading:
    """Hashes a blob that is here, some pieces at a time. Not thread-safe."""

    def __init__(self, blob: Readable) -> None:
        self._blob = blob
        self._hasher = BlobHasher(blob.size, git=blob.size <= GIT_LIMIT)
        self._buffer = memoryview(bytearray(min(_WINDOW, blob.size)))

    @property
    def is_done(self) -> bool:
        return self._hasher.hashed == self._blob.size

    @property
    def end(self) -> int:
        """Where the bytes end that the next :meth:`step` reads."""
        return min(self._hasher.hashed + _WINDOW, self._blob.size)

    def step(self) -> None:
        """Reads and hashes up to :attr:`end`."""
        start = self._hasher.hashed
        # Many pieces at once: a capsule's blocks have other bounds, and are decoded whole.
        window = self._buffer[: self.end - start]
        self._blob.readinto(start, window)
        for at in range(0, len(window), merkle.PIECE):
            self._hasher.update(window[at : at + merkle.PIECE])

    def names(self) -> Names:
        """Of all of it, once that was read."""
        return self._hasher.names()


def hash_blob(blob: Readable, cancel: Cancel) -> Names:
    """The names of a blob that is here, whatever its form. Another thread reads it, decodes it and
    hashes leaves, some pieces ahead of this one, which hashes in order.
    """
    hasher = BlobHasher(blob.size, git=blob.size <= GIT_LIMIT)
    buffers = [memoryview(bytearray(min(_WINDOW, blob.size))) for _ in range(2)]

    def read(start: int, turn: int) -> list[tuple[memoryview, bytes]]:
        window = buffers[turn][: min(_WINDOW, blob.size - start)]
        blob.readinto(start, window)
        pieces = [window[at : at + merkle.PIECE] for at in range(0, len(window), merkle.PIECE)]
        return [(piece, merkle.piece_hash(piece)) for piece in pieces]

    with (
        ThreadPoolExecutor(1, thread_name_prefix="decode") as executor,
        contextlib.closing(one_ahead(read, range(0, blob.size, _WINDOW), executor)) as windows,
    ):
        for window in windows:
            for piece, found in window:
                cancel.check()
                hasher.update(piece, found)
    return hasher.names()


class _Piece:
    """A piece on its way through: `users` are still to see it."""

    def __init__(self, offset: int, buffer: memoryview, length: int, users: int) -> None:
        self.offset = offset
        self.buffer = buffer
        self.data = buffer[:length]
        self.hash = merkle.piece_hash(self.data)
        self.users = users


class _Pipeline:
    """A ring of buffers: one thread reads and hashes leaves, one hashes in order, one stores."""

    def __init__(self, size: int, sink: Sink | None, path: str, control: Control) -> None:
        self._size = size
        self._sink = sink
        self._path = path
        self._control = control
        self._lock = threading.Lock()
        self._free: queue.SimpleQueue[memoryview] = queue.SimpleQueue()
        self._buffers = 0
        self._to_hash: queue.SimpleQueue[_Piece | None] = queue.SimpleQueue()
        self._to_store: queue.SimpleQueue[_Piece | None] = queue.SimpleQueue()
        self._hasher = BlobHasher(size, git=size <= GIT_LIMIT)
        self._error: BaseException | None = None

    def read(self, source: int) -> Names:
        if self._size <= merkle.PIECE:
            return self._read_small(source)
        threads = [threading.Thread(target=self._hash_in_order, daemon=True)]
        if self._sink is not None:
            threads.append(threading.Thread(target=self._store, args=(self._sink,), daemon=True))
        for thread in threads:
            thread.start()
        try:
            self._read_pieces(source)
        finally:
            self._to_hash.put(None)
            self._to_store.put(None)
            for thread in threads:
                thread.join()
        if self._error is not None:
            raise self._error
        return self._hasher.names()

    def _read_small(self, source: int) -> Names:
        data = bytearray(self._size)
        if not disk.read_exactly(source, memoryview(data), 0):
            raise TransientError(f"{self._path} became shorter while it was read")
        if self._sink is not None:
            self._sink.take(0, memoryview(data))
        self._control.emit(Progress(self._path, self._size))
        return names_of(data)

    def _read_pieces(self, source: int) -> None:
        for offset in range(0, self._size, merkle.PIECE):
            self._control.cancel.check()
            if self._error is not None:
                return
            buffer = self._buffer()
            length = min(merkle.PIECE, self._size - offset)
            if not disk.read_exactly(source, buffer[:length], offset):
                raise TransientError(f"{self._path} became shorter while it was read")
            piece = _Piece(offset, buffer, length, 1 if self._sink is None else 2)
            self._to_hash.put(piece)
            if self._sink is not None:
                self._to_store.put(piece)

    def _buffer(self) -> memoryview:
        """One that is free; a new one while there may be more."""
        try:
            return self._free.get_nowait()
        except queue.Empty:
            if self._buffers < _BUFFERS + (self._sink.most if self._sink is not None else 0):
                self._buffers += 1
                return memoryview(bytearray(merkle.PIECE))
            return self._free.get()

    def _release(self, piece: _Piece) -> None:
        with self._lock:
            piece.users -= 1
            if not piece.users:
                self._free.put(piece.buffer)

    def _hash_in_order(self) -> None:
        while (piece := self._to_hash.get()) is not None:
            try:
                if self._error is None:
                    self._hasher.update(piece.data, piece.hash)
                    self._control.emit(Progress(self._path, len(piece.data)))
            except BaseException as error:  # noqa: BLE001 - raised again by `read`
                self._error = error
            self._release(piece)

    def _store(self, sink: Sink) -> None:
        held: deque[_Piece] = deque()
        while (piece := self._to_store.get()) is not None:
            held.append(piece)
            needed = self._size
            try:
                if self._error is None:
                    needed = sink.take(piece.offset, piece.data)
            except BaseException as error:  # noqa: BLE001 - raised again by `read`
                self._error = error
            while held and held[0].offset + len(held[0].data) <= needed:
                self._release(held.popleft())
