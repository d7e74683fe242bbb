"""Small records that are bound to a manifest by its digest, which is their name: they say nothing
of other files, another name or another revision.
"""

import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Generic, Protocol, Self, TypeVar

from outlast.core.digest import Digest
from outlast.core.errors import CorruptError, DamagedRecordError
from outlast.store import disk
from outlast.store.records.records import Records
from outlast.store.writer import WriteSession


class ManifestRecord(Protocol):
    """What such a record says of `manifest`."""

    @property
    def manifest(self) -> Digest: ...

    def encode(self) -> bytes:
        """As JSON, a line."""

    @classmethod
    def decode(cls, manifest: Digest, body: bytes) -> Self:
        """The inverse. Raises :class:`CorruptError`."""


T = TypeVar("T", bound=ManifestRecord)


class ByManifest(Generic[T]):
    """The records of one `kind` in `folder`, each in two copies. `unread` stands for one that
    cannot be read in either copy; None says that there is none then. Thread-safe; what other
    processes write is seen by the next question.
    """

    def __init__(
        self,
        records: Records,
        folder: Path,
        kind: type[T],
        unread: Callable[[Digest], T | None] = lambda _manifest: None,
    ) -> None:
        self._records = records
        self._folder = folder
        self._kind = kind
        self._unread = unread
        self._lock = threading.Lock()
        self._stamp: tuple[int, int] | None = None
        self._known: Mapping[Digest, T] = {}

    @disk.reported
    def read(self, manifest: Digest) -> T | None:
        """The record of one manifest, from its file."""
        path = self.path(manifest)
        try:
            return self._kind.decode(manifest, self._records.read(path))
        except FileNotFoundError:
            return None
        except (DamagedRecordError, CorruptError):
            body = self._records.read_second(path)
        try:
            if body is not None:
                return self._kind.decode(manifest, body)
        except CorruptError:
            pass
        return self._unread(manifest)

    @disk.reported
    def all(self) -> Mapping[Digest, T]:
        """All of them, by digest. The files are read again where the folder has changed."""
        stamp = self._now()
        with self._lock:
            if stamp is None or stamp != self._stamp:
                names = filter(Digest.is_valid, self._records.names(self._folder))
                found = [self.read(Digest(name)) for name in names]
                self._known = {one.manifest: one for one in found if one is not None}
                self._stamp = stamp
            return self._known

    def write(self, writer: WriteSession, record: T) -> None:
        """Durably; it takes the place of what was there."""
        path = self.path(record.manifest)
        with disk.reporting(path):
            self._records.write_twice(writer, path, record.encode())
        self._changed()

    @disk.reported
    def delete(self, manifest: Digest) -> bool:
        """Durably; False where there was none."""
        gone = self._records.delete(self.path(manifest))
        if gone:
            self._changed()
        return gone

    def path(self, manifest: Digest) -> Path:
        """The file of a manifest's record."""
        return self._folder / manifest.hex

    def _changed(self) -> None:
        disk.touch(self._folder)
        with self._lock:
            self._stamp = None

    def _now(self) -> tuple[int, int] | None:
        """Changes with the folder; None where there is none, which is quick to find out."""
        try:
            stat = os.stat(self._folder)
        except FileNotFoundError:
            return None
        return stat.st_mtime_ns, stat.st_ino
