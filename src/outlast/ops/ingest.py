"""Reading a local file once: copied, hashed and verified in the same pass, on two cores."""

import os
import queue
import threading
from concurrent.futures import Future, ThreadPoolExecutor

from outlast.codec import merkle
from outlast.codec.hashing import GIT_LIMIT, BlobHasher, names_of
from outlast.model.control import Control
from outlast.model.digest import Names
from outlast.model.errors import TransientError
from outlast.model.events import Progress
from outlast.store import disk

_BUFFERS = 8
_SYNC_EVERY = 256


def ingest(source: int, target: int | None, path: str, control: Control) -> Names:
    """Hashes the open file `source`, and writes it to the open file `target`, if any.

    Raises :class:`TransientError` where the file changes meanwhile. `path` is for events.
    """
    before = os.fstat(source)
    run = _Run(before.st_size, target, path, control)
    names = run.read(source)
    after = os.fstat(source)
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise TransientError(f"{path} changed while it was read")
    return names


class _Run:
    """A ring of buffers: one thread reads, two write and hash leaves, one hashes in order."""

    def __init__(self, size: int, target: int | None, path: str, control: Control) -> None:
        self._size = size
        self._target = target
        self._path = path
        self._control = control
        self._free: queue.SimpleQueue[memoryview] = queue.SimpleQueue()
        self._full: queue.SimpleQueue[tuple[memoryview, int, Future[bytes]] | None] = (
            queue.SimpleQueue()
        )
        for _ in range(min(_BUFFERS, merkle.piece_count(size))):
            self._free.put(memoryview(bytearray(min(merkle.PIECE, size))))
        self._hasher = BlobHasher(size, git=size <= GIT_LIMIT)
        self._error: BaseException | None = None

    def read(self, source: int) -> Names:
        if self._size <= merkle.PIECE:
            return self._read_small(source)
        hashing = threading.Thread(target=self._hash_in_order, daemon=True)
        hashing.start()
        try:
            with ThreadPoolExecutor(2) as pool:
                self._read_pieces(source, pool)
        finally:
            self._full.put(None)
            hashing.join()
        if self._error is not None:
            raise self._error
        return self._hasher.names()

    def _read_small(self, source: int) -> Names:
        data = bytearray(self._size)
        if not disk.read_exactly(source, memoryview(data), 0):
            raise TransientError(f"{self._path} became shorter while it was read")
        if self._target is not None:
            disk.write_all(self._target, data, 0)
        self._control.emit(Progress(self._path, self._size))
        return names_of(data)

    def _read_pieces(self, source: int, pool: ThreadPoolExecutor) -> None:
        for offset in range(0, self._size, merkle.PIECE):
            self._control.cancel.check()
            if self._error is not None:
                return
            buffer = self._free.get()
            piece = buffer[: min(merkle.PIECE, self._size - offset)]
            if not disk.read_exactly(source, piece, offset):
                raise TransientError(f"{self._path} became shorter while it was read")
            self._full.put((buffer, len(piece), pool.submit(self._write, piece, offset)))

    def _write(self, piece: memoryview, offset: int) -> bytes:
        if self._target is not None:
            disk.write_all(self._target, piece, offset)
            if offset // merkle.PIECE % _SYNC_EVERY == _SYNC_EVERY - 1:
                os.fsync(self._target)  # the disk works while we hash
        return merkle.piece_hash(piece)

    def _hash_in_order(self) -> None:
        while (item := self._full.get()) is not None:
            buffer, length, piece_hash = item
            try:
                if self._error is None:
                    self._hasher.update(buffer[:length], piece_hash.result())
                    self._control.emit(Progress(self._path, length))
            except BaseException as error:  # noqa: BLE001 - raised again by `read`
                self._error = error
            self._free.put(buffer)
