"""Blobs as requests open them: capsules stay open for the requests that follow."""

import asyncio
import os
import threading
from collections import Counter, OrderedDict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from outlast.core.cancel import Cancel
from outlast.core.closing import Closing
from outlast.core.control import Control
from outlast.core.digest import Digest
from outlast.intake.local_file import ingest
from outlast.intake.working_copies import changed
from outlast.store import disk
from outlast.store.archive import Archive
from outlast.store.forms import stamp_of
from outlast.store.reading import BlobReader


class OpenBlobs:
    """Opens blobs and remembers open capsules, whose directories take time to read. The plain form
    counts where it is there, also when it came after the capsule was opened. Thread-safe.
    """

    def __init__(self, archive: Archive, kept: int) -> None:
        self._archive = archive
        self._most = kept
        self._lock = threading.Lock()
        self._open: OrderedDict[Digest, BlobReader] = OrderedDict()
        self._users: Counter[BlobReader] = Counter()

    def take(self, digest: Digest) -> BlobReader:
        """The blob, open until it is given back. Raises what `Archive.open_blob` raises."""
        plain = self._archive.layout.blob(digest).exists()
        file = None if plain else _identity(self._archive.layout.capsule(digest))
        with self._lock:
            known = self._open.get(digest)
            if known is not None and file == _identity(known):
                self._users[known] += 1
                self._open.move_to_end(digest)
                return known
        blob = self._archive.open_blob(digest)
        with self._lock:
            self._users[blob] += 1
            if blob.capsule is not None:
                before = self._open.pop(digest, None)
                self._open[digest] = blob
                if before is not None and before not in self._users:
                    before.close()
                self._close_some()
        return blob

    def give_back(self, blob: BlobReader) -> None:
        """Ends one use of a blob that was taken."""
        with self._lock:
            self._users[blob] -= 1
            if self._users[blob]:
                return
            del self._users[blob]
            if self._open.get(blob.digest) is not blob:
                blob.close()
            self._close_some()

    def tidy(self) -> None:
        """Closes what was removed from the disk, so that its room is free."""
        with self._lock:
            for digest, blob in list(self._open.items()):
                if blob not in self._users and not blob.stat().st_nlink:
                    self._open.pop(digest).close()

    def _close_some(self) -> None:
        spare = len(self._open) - self._most
        for digest, blob in list(self._open.items()) if spare > 0 else ():
            if blob not in self._users and spare > 0:
                spare -= 1
                self._open.pop(digest).close()


class Rechecks(Closing):
    """Hashes plain files again that have other names and changed, before their bytes are sent: once
    for all requests, and again only after the next change. It belongs to one event loop.
    """

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._cancel = Cancel()
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="recheck")
        self._known: dict[Digest, tuple[str, bool]] = {}  # at most one for each blob
        self._under_way: dict[tuple[Digest, str], asyncio.Future[bool]] = {}

    def close(self) -> None:
        self._cancel.set()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def is_due(self, blob: BlobReader) -> bool:
        """Whether :meth:`check` has to be asked; reads the index."""
        if blob.path is None:
            return False
        stat = blob.stat()
        if self._known.get(blob.digest) == (stamp_of(stat), True):
            return False
        return self._archive.index.is_doubtful(blob.digest, stat)

    async def check(self, blob: BlobReader) -> None:
        """Raises :class:`CorruptError` if an open plain file is damaged, and
        :class:`TransientError` if it changes meanwhile. A request that is given up ends nothing.
        """
        stamp = stamp_of(blob.stat())
        known = self._known.get(blob.digest)
        if known is not None and known[0] == stamp:
            right = known[1]
        else:
            right = await asyncio.shield(self._job(blob, stamp))
        if not right:
            raise changed(blob.digest)

    def _job(self, blob: BlobReader, stamp: str) -> asyncio.Future[bool]:
        key = blob.digest, stamp
        job = self._under_way.get(key)
        if job is None:
            fd = os.dup(blob.fileno())  # the request may end before
            loop = asyncio.get_running_loop()
            job = loop.run_in_executor(self._pool, self._is_right, fd, blob.digest)
            self._under_way[key] = job
            job.add_done_callback(lambda done: self._ended(key, done))
        return job

    def _ended(self, key: tuple[Digest, str], done: asyncio.Future[bool]) -> None:
        del self._under_way[key]
        if not done.cancelled():
            done.exception()  # is seen, also where each request was given up

    def _is_right(self, fd: int, digest: Digest) -> bool:
        with disk.reporting(self._archive.layout.blob(digest)):
            try:
                stat = os.fstat(fd)  # before the bytes, so that a write meanwhile shows
                control = Control(cancel=self._cancel)
                right = ingest(fd, None, f"blob {digest.short}", control).sha256 == digest
            finally:
                os.close(fd)
        self._known[digest] = stamp_of(stat), right
        if right:
            self._archive.index.note_checked(digest, stat)
        return right


def _identity(file: Path | BlobReader) -> tuple[int, int] | None:
    """Of a file that is there."""
    try:
        stat = file.stat()
    except FileNotFoundError:
        return None
    return stat.st_dev, stat.st_ino
