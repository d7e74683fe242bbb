"""Downloads in progress: they survive a crash, and cost at most what was in flight.

A partial is a sparse data file and a journal with one byte per 1 MiB piece. It is a cache of work
and is never trusted: the whole blob is verified before it is acknowledged. Its lock is the data
file's, so that two processes never download the same blob twice at once.
"""

import contextlib
import os
import struct
from pathlib import Path
from types import TracebackType
from typing import Self

from outlast.codec import merkle
from outlast.core.digest import Digest
from outlast.core.errors import BusyError, StorageError
from outlast.store import disk, locks
from outlast.store.layout import Layout
from outlast.store.writer import WriteSession

_HEADER = struct.Struct("<8sQQ")
_MAGIC = b"olpart01"
_HAVE = b"\x01"
CAPSULE = ".capsule"
"""What the key of a partial ends in that is not of a blob but of its capsule."""


class Partial:
    """One blob on its way in. Pieces may be written from several threads, each piece once."""

    def __init__(self, layout: Layout, key: str, size: int) -> None:
        """Opens or creates the partial of the blob `key` (see `FileEntry.key`) of `size` bytes;
        raises :class:`BusyError` where another process or thread has it.
        """
        self.size = size
        self.path = layout.partial / f"{key}.data"
        self._journal_path = layout.partial / f"{key}.have"
        self._kept_as = self.path, self._journal_path
        with disk.reporting(self.path):
            if locks.fault(layout.lock):  # else another process could write into what is published
                self._make_own()
            self.fd = _open_locked(self.path, layout.lock)
            try:
                self._journal = os.open(
                    self._journal_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, disk.PRIVATE
                )
                self.have = self._load()
            except BaseException:
                os.close(self.fd)
                raise

    def _make_own(self) -> None:
        """Gives the files, or those that are made, names that only this process has."""
        _, journal = self._kept_as
        self.path = locks.own_name(self.path)
        self._journal_path = self.path.with_suffix(".have")
        with contextlib.suppress(FileNotFoundError):
            if self.path.exists():
                os.rename(journal, self._journal_path)

    def _give_back(self) -> None:
        """Gives unfinished files the names under which the next download looks for them, unless
        those of another process have them.
        """
        data, journal = self._kept_as
        if self.path.exists() and not (data.exists() or journal.exists()):
            os.rename(self._journal_path, journal)
            os.rename(self.path, data)
        else:
            disk.remove(self._journal_path)
            disk.remove(self.path)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self._journal)
        os.close(self.fd)
        if self.path != self._kept_as[0]:
            with contextlib.suppress(OSError):  # then collections delete them
                self._give_back()

    def _load(self) -> bytearray:
        header = _HEADER.pack(_MAGIC, self.size, merkle.PIECE)
        count = merkle.piece_count(self.size)
        journal = os.pread(self._journal, _HEADER.size + count + 1, 0)
        if (
            journal[: _HEADER.size] == header
            and len(journal) == _HEADER.size + count
            and os.fstat(self.fd).st_size == self.size
        ):
            return bytearray(journal[_HEADER.size :])
        self._start(header, count)
        return bytearray(count)

    def _start(self, header: bytes, count: int) -> None:
        os.ftruncate(self._journal, 0)
        os.ftruncate(self.fd, 0)
        os.ftruncate(self.fd, self.size)
        disk.write_all(self._journal, header + bytes(count), 0)

    def write(self, index: int, data: bytes | memoryview) -> None:
        """Stores piece `index` and notes it in the journal."""
        with disk.reporting(self.path):
            disk.write_all(self.fd, data, index * merkle.PIECE)
            os.pwrite(self._journal, _HAVE, _HEADER.size + index)
        self.have[index] = 1

    def mark(self, index: int) -> None:
        """Notes that another wrote piece `index` into the data file."""
        with disk.reporting(self.path):
            os.pwrite(self._journal, _HAVE, _HEADER.size + index)
        self.have[index] = 1

    def forget(self, index: int) -> None:
        """Notes that piece `index` is not here: it may be wrong."""
        with disk.reporting(self.path):
            os.pwrite(self._journal, b"\x00", _HEADER.size + index)
        self.have[index] = 0

    def read(self, index: int, buffer: memoryview) -> memoryview:
        """Piece `index`, read into the start of `buffer` (1 MiB)."""
        offset = index * merkle.PIECE
        piece = buffer[: min(merkle.PIECE, self.size - offset)]
        with disk.reporting(self.path):
            disk.read_exactly(self.fd, piece, offset)
        return piece

    def flush(self) -> None:
        """Starts getting the bytes so far onto the disk, so that the last sync is short."""
        with disk.reporting(self.path):
            os.fsync(self.fd)

    def finish(self, writer: WriteSession, digest: Digest, sums: bytes = b"") -> None:
        """Turns the verified bytes into the blob `digest`; `sums` as in `Names`."""
        self.seal()
        writer.publish_blob(self.path, digest, self.size, sums)
        self.drop_journal()

    def seal(self) -> None:
        """Gets all bytes onto the disk, read-only: the file can be published under its name."""
        with disk.reporting(self.path):
            disk.set_mode(self.fd, disk.READ_ONLY)
            disk.fsync(self.fd)
            if not os.path.samestat(os.fstat(self.fd), os.stat(self.path)):
                raise StorageError(f"{self.path} was replaced while it was written")

    def drop_journal(self) -> None:
        """The file has another name now."""
        with disk.reporting(self.path):
            disk.remove(self._journal_path)

    def discard(self) -> None:
        """Deletes the partial and what it holds."""
        with disk.reporting(self.path):
            disk.remove(self._journal_path)
            disk.remove(self.path)


def _open_locked(path: Path, archive_lock: Path) -> int:
    while True:
        try:
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, disk.PRIVATE)
        except PermissionError:
            os.chmod(path, disk.PRIVATE)  # the last process died just before the rename
            fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        if not locks.try_lock(fd, archive_lock):
            os.close(fd)
            raise BusyError(f"another download of {path.stem[:16]}… is under way")
        # The file may have been published or discarded between the open and the lock.
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(fd), os.stat(path)):
                return fd
        os.close(fd)


@disk.reported
def present_bytes(layout: Layout, key: str, size: int) -> int:
    """How many bytes of the partial `key` are already here (for plans; takes no lock)."""
    try:
        journal = (layout.partial / f"{key}.have").read_bytes()
    except FileNotFoundError:
        return 0
    if journal[: _HEADER.size] != _HEADER.pack(_MAGIC, size, merkle.PIECE):
        return 0
    return min(size, journal[_HEADER.size :].count(_HAVE) * merkle.PIECE)
