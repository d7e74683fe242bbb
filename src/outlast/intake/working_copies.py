"""Paths of blobs for programs that need one: the plain files, and working copies of capsules."""

import hashlib
import logging
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from outlast.core.closing import Closing
from outlast.core.control import Control
from outlast.core.descriptors import is_exhausted
from outlast.core.digest import Digest
from outlast.core.errors import CorruptError, NotArchivedError, TransientError
from outlast.core.events import Planned, Progress
from outlast.core.manifest import FileEntry
from outlast.intake.local_file import ingest
from outlast.store import disk
from outlast.store.archive import Archive
from outlast.store.copies import Copies, default_budget
from outlast.store.reading import BlobReader
from outlast.store.writer import WriteSession

_log = logging.getLogger(__name__)

_THREADS = min(8, os.cpu_count() or 1)
_SYNC_EVERY = 256 * 1024 * 1024
_ANNOUNCED = 64 * 1024 * 1024
"""Bytes of a file whose comparison takes long enough to be told of."""


def require_right(blob: BlobReader, control: Control) -> None:
    """Raises :class:`DamagedError` if an open file has other bytes than those that were verified;
    reads only those that were not compared since it changed.
    """
    name = f"blob {blob.digest.short}"

    def between(count: int) -> None:
        control.cancel.check()
        if blob.size >= _ANNOUNCED:
            control.emit(Progress(name, count))

    if not blob.is_compared(0, blob.size):
        if blob.size >= _ANNOUNCED:
            control.emit(Planned("check", name, 1, blob.size))
        blob.require(0, blob.size, between)


def _rehash(archive: Archive, fd: int, digest: Digest, control: Control) -> bool:
    """Whether an open file has the bytes of a blob; notes that it has."""
    stat = os.fstat(fd)  # before the bytes, so that a write meanwhile shows
    name = f"blob {digest.short}"
    control.emit(Planned("check", name, 1, stat.st_size))
    right = ingest(fd, None, name, control).sha256 == digest
    if right:
        archive.index.note_checked(digest, stat)
    return right


class Working(Closing):
    """The files of an archive by path, until it is closed: working copies are not dropped before.

    All working copies of the archive have at most `budget` bytes together (None: a part of the
    disk). A revision without capsules costs nothing, and may be in an archive that is read-only.
    """

    def __init__(self, archive: Archive, budget: int | None, control: Control) -> None:
        self._archive = archive
        self._budget = budget
        self._control = control
        self._writer: WriteSession | None = None
        self._paths: dict[Digest, Path] = {}
        self._copied: set[Digest] = set()

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()

    def path(self, entry: FileEntry) -> Path:
        """The file of an entry that was prepared."""
        if entry.sha256 is None:
            raise NotArchivedError(f"{entry.path!r} is not in the archive")
        return self._paths[entry.sha256]

    def is_copy(self, entry: FileEntry) -> bool:
        return entry.sha256 in self._copied

    def linked(self, entry: FileEntry, link: Path) -> None:
        """Says that a symbolic link to the entry's file is about to be at `link`."""
        if entry.sha256 in self._copied and self._writer is not None and entry.sha256 is not None:
            self._copies(self._writer).note_link(entry.sha256, link)

    def prepare(self, entries: Iterable[FileEntry]) -> None:
        """Finds the files of `entries`, which must be here, and makes those that are lacking: all
        of them, or none where they do not fit. Raises :class:`StorageError` then. A working copy
        that changed since it was hashed is hashed again, and made again if it is damaged. A
        plain file is compared; raises :class:`DamagedError` if it is damaged.
        """
        lacking: dict[Digest, FileEntry] = {}
        for entry in entries:
            if entry.sha256 is None or entry.sha256 in self._paths:
                continue
            path = self._find(entry.sha256, entry.size)
            if path is None:
                lacking[entry.sha256] = entry
            else:
                self._paths[entry.sha256] = path
        if lacking and self._writer is not None:
            self._make(self._copies(self._writer), lacking)

    def drop(self, entry: FileEntry) -> None:
        """Deletes a working copy that proved damaged; prepare it again."""
        if entry.sha256 is not None and self._writer is not None:
            self._copied.discard(entry.sha256)
            self._paths.pop(entry.sha256, None)
            self._copies(self._writer).drop(entry.sha256)

    def _copies(self, writer: WriteSession) -> Copies:
        if self._budget is None:
            self._budget = default_budget(self._archive.layout)
        return Copies(self._archive.layout, writer, self._budget)

    def _find(self, digest: Digest, size: int) -> Path | None:
        if self._archive.forms.plain_size(digest) == size:
            with self._archive.open_blob(digest, by="a path") as blob:
                require_right(blob, self._control)
                if blob.path is not None:
                    return blob.path
        if self._writer is None:
            self._writer = self._archive.writer()
        copies = self._copies(self._writer)
        path = copies.take(digest, size)
        if path is None:
            return None
        if not self._is_right(digest, path):
            _log.warning("the working copy %s is damaged; making it again", path)
            copies.drop(digest)  # of its names ours only: others are not ours to delete
            return None
        self._copied.add(digest)
        return path

    def _is_right(self, digest: Digest, path: Path) -> bool:
        """Whether a copy still has the bytes of the blob; reads them if it changed since they were
        hashed: programs that got its path, or a hard link of it, may have written to it. False
        where the disk cannot read it, or it changes meanwhile. Raises :class:`ExhaustedError`.
        """
        try:
            return self._is_checked(digest, path) or self._rehash(digest, path)
        except TransientError:
            return False
        except OSError as error:
            if is_exhausted(error):
                raise disk.storage_error(error, path) from error
            return False

    def _is_checked(self, digest: Digest, path: Path) -> bool:
        return self._archive.index.is_checked(digest, os.stat(path))

    def _rehash(self, digest: Digest, path: Path) -> bool:
        _log.info("hashing %s again: it changed since it was hashed, or never was", path)
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            return _rehash(self._archive, fd, digest, self._control)
        finally:
            os.close(fd)

    def _make(self, copies: Copies, lacking: dict[Digest, FileEntry]) -> None:
        temps = copies.reserve([(digest, entry.size) for digest, entry in lacking.items()])
        first, total = next(iter(lacking.values())), sum(e.size for e in lacking.values())
        self._control.emit(Planned("decode", first.path, len(lacking), total))
        for (digest, entry), temp in zip(lacking.items(), temps, strict=True):
            with self._archive.open_blob(digest) as blob, disk.reporting(temp):
                self._decode(blob, temp, entry)
            path = copies.publish(temp, digest)
            self._archive.index.note_checked(digest, path.stat())
            self._paths[digest] = path
            self._copied.add(digest)

    def _decode(self, blob: BlobReader, temp: Path, entry: FileEntry) -> None:
        """Fills `temp`; its bytes are checked against the name of the blob."""
        hasher, position, synced = hashlib.sha256(), 0, 0
        fd = os.open(temp, os.O_WRONLY | os.O_CLOEXEC)
        try:
            with ThreadPoolExecutor(_THREADS) as decoding, ThreadPoolExecutor(1) as hashing:
                for chunk in blob.chunks(decoding):
                    self._control.cancel.check()
                    hashed = hashing.submit(hasher.update, chunk)
                    disk.write_all(fd, chunk, position)
                    hashed.result()
                    position += len(chunk)
                    self._control.emit(Progress(entry.path, len(chunk)))
                    if position - synced >= _SYNC_EVERY:
                        os.fsync(fd)  # so that the last one is short
                        synced = position
            if hasher.hexdigest() != blob.digest.hex or position != entry.size:
                raise CorruptError(f"{entry.path} is damaged: what its capsule holds is not it")
            disk.set_mode(fd, disk.READ_ONLY)
            disk.fsync(fd)
        finally:
            os.close(fd)
