"""Blobs as requests open them: capsules stay open for the requests that follow."""

import threading
from collections import Counter, OrderedDict
from pathlib import Path

from outlast.core.digest import Digest
from outlast.store.archive import Archive
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


def _identity(file: Path | BlobReader) -> tuple[int, int] | None:
    """Of a file that is there."""
    try:
        stat = file.stat()
    except FileNotFoundError:
        return None
    return stat.st_dev, stat.st_ino
