"""Which manifests the operator of this archive vouches for: those of folders that were added here
by hand, and those that were accepted by their digest. A record is bound to the manifest's digest,
so it says nothing of other files, another name or another revision. No source, bundle or node
writes one.
"""

import json
import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Self

from outlast.core.digest import Digest, GitOid
from outlast.core.errors import BadNameError, CorruptError, DamagedRecordError, MalformedError
from outlast.core.names import RepoId
from outlast.store import disk
from outlast.store.records.equals import text_of
from outlast.store.records.facts import load_document
from outlast.store.records.records import Records
from outlast.store.writer import WriteSession


class WordKind(StrEnum):
    """How the operator came to vouch for a manifest."""

    ADDED = "added"
    """A folder or file of this machine was added by hand."""
    ADOPTED = "adopted"
    """A cache of this machine was adopted by hand."""
    ACCEPTED = "accepted"
    """Its digest was named."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """The operator's word for `manifest`, which is `commit` of `repo`. `since`: when it was given
    (ISO 8601, UTC).
    """

    manifest: Digest
    repo: RepoId
    commit: GitOid
    how: WordKind
    since: str

    def encode(self) -> bytes:
        document = {
            "repo": self.repo.api_path,
            "commit": self.commit.hex,
            "how": self.how.value,
            "since": self.since,
        }
        return json.dumps(document, sort_keys=True).encode() + b"\n"

    @classmethod
    def decode(cls, manifest: Digest, body: bytes) -> Self:
        """The inverse. Raises :class:`CorruptError`."""
        document = load_document(body)
        try:
            return cls(
                manifest,
                RepoId.parse(text_of(document["repo"])),
                GitOid(text_of(document["commit"])),
                WordKind(text_of(document["how"])),
                text_of(document["since"]),
            )
        except (MalformedError, BadNameError, KeyError, ValueError) as error:
            raise CorruptError(f"it accepts nothing: {error}") from None


class AcceptedManifests:
    """Those of an archive. Thread-safe; what other processes write is seen by the next question."""

    def __init__(self, records: Records) -> None:
        self._records = records
        self._folder = records.layout.accepted
        self._lock = threading.Lock()
        self._stamp: tuple[int, int] | None = None
        self._known: Mapping[Digest, Accepted] = {}

    @disk.reported
    def of(self, manifest: Digest) -> Accepted | None:
        """The operator's word for a manifest; None where there is none, or it cannot be read."""
        path = self._path(manifest)
        try:
            return Accepted.decode(manifest, self._records.read(path))
        except FileNotFoundError:
            return None
        except (DamagedRecordError, CorruptError):
            body = self._records.read_second(path)
        try:
            return None if body is None else Accepted.decode(manifest, body)
        except CorruptError:
            return None

    @disk.reported
    def all(self) -> Mapping[Digest, Accepted]:
        """All of them, by digest; those that cannot be read are left out. The files are read again
        where the folder has changed.
        """
        stamp = self._now()
        with self._lock:
            if stamp is None or stamp != self._stamp:
                names = sorted(filter(Digest.is_valid, self._records.names(self._folder)))
                found = [self.of(Digest(name)) for name in names]
                self._known = {one.manifest: one for one in found if one is not None}
                self._stamp = stamp
            return self._known

    def note(self, writer: WriteSession, accepted: Accepted) -> bool:
        """Remembers it, durably; False where it is known already: that record stays."""
        if self.of(accepted.manifest) is not None:
            return False
        path = self._path(accepted.manifest)
        with disk.reporting(path):
            self._records.write_twice(writer, path, accepted.encode())
            disk.touch(self._folder)
        with self._lock:
            self._stamp = None
        return True

    @disk.reported
    def delete(self, manifest: Digest) -> bool:
        """Takes it back, durably; False where there was none."""
        gone = self._records.delete(self._path(manifest))
        if gone:
            disk.touch(self._folder)
        with self._lock:
            self._stamp = None
        return gone

    def _now(self) -> tuple[int, int] | None:
        """Changes with the folder; None where there is none."""
        try:
            stat = os.stat(self._folder)
        except FileNotFoundError:
            return None
        return stat.st_mtime_ns, stat.st_ino

    def _path(self, manifest: Digest) -> Path:
        return self._folder / manifest.hex
