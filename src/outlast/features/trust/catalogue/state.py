"""What is here of a followed catalogue: its files, under the names that they have at its place.

The file of the timestamp names the snapshot, and that each list by version. So all other files are
written first, under numbers that nothing refers to yet, and the timestamp last: a crash at any
point leaves the state that was there before. What nothing refers to any more is removed afterwards.
"""

import json
import os
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Final

from tuf.api.metadata import Snapshot, Targets, Timestamp

from outlast.core.digest import Digest
from outlast.core.errors import CatalogueRefusedError, CorruptError, MalformedError, OutlastError
from outlast.core.manifest import load_json
from outlast.features.trust.catalogue.clock import SIGNED, KnownTime, read_time, write_time
from outlast.features.trust.catalogue.folders import (
    MODE,
    FollowRecord,
    followed_folder,
    read_small,
    write_small,
)
from outlast.features.trust.catalogue.names import metadata_path
from outlast.features.trust.catalogue.reading import read_snapshot, read_timestamp
from outlast.features.trust.catalogue.trusted import ROOT, SNAPSHOT, TIMESTAMP, TrustedSet
from outlast.features.trust.catalogue.tuning import TUNING, CatalogueTuning
from outlast.store import disk

_SEEN: Final = "seen.json"
_SYNCED: Final = "synced.json"


class FollowedState:
    """Implements :class:`~outlast.features.trust.catalogue.workflow.KeptFiles` over the files of a
    followed catalogue. What is kept counts from :meth:`commit` on. Not thread-safe.
    """

    def __init__(self, home: Path, record: FollowRecord, tuning: CatalogueTuning = TUNING) -> None:
        self.record = record
        self.folder = followed_folder(home, record.name)
        self._tuning = tuning
        self._new: dict[str, Path] = {}
        self._timestamp: bytes | None = None
        self.timestamp = self._read_timestamp()
        self.snapshot = self._read_snapshot()

    # What is here

    def _read_timestamp(self) -> Timestamp | None:
        data = self._file(TIMESTAMP, None, self._tuning.timestamp)
        if data is None:
            return None
        try:
            return read_timestamp(data, self._tuning.timestamp).signed
        except CatalogueRefusedError:
            return None

    def _read_snapshot(self) -> Snapshot | None:
        if self.timestamp is None:
            return None
        data = self._file(SNAPSHOT, self.timestamp.snapshot_meta.version, self._tuning.snapshot)
        if data is None:
            return None
        try:
            return read_snapshot(data, self._tuning.snapshot).signed
        except CatalogueRefusedError:
            return None

    def has(self, role: str, version: int) -> bool:
        """Whether there is a file of that version; it is verified when it is read."""
        return (self.folder / metadata_path(role, version)).exists()

    def version(self, role: str) -> int | None:
        """The version of a list that the snapshot here has."""
        meta = None if self.snapshot is None else self.snapshot.meta.get(f"{role}.json")
        return None if meta is None else meta.version

    def get(self, role: str) -> bytes | None:
        if role == TIMESTAMP:
            return self._file(TIMESTAMP, None, self._tuning.timestamp)
        if role == SNAPSHOT:
            if self.timestamp is None:
                return None
            version = self.timestamp.snapshot_meta.version
            return self._file(SNAPSHOT, version, self._tuning.snapshot)
        known = self.version(role)
        return None if known is None else self._file(role, known, self._tuning.role)

    def _file(self, role: str, version: int | None, most: int) -> bytes | None:
        try:
            return read_small(self.folder / metadata_path(role, version), most)
        except CorruptError:
            return None

    # Roots

    def trusted(self, now: datetime) -> TrustedSet:
        """What is trusted here: the first root, and those after it that are here. Raises
        :class:`CorruptError` where the first one is lost.
        """
        return self._up_to(now, None)

    def _up_to(self, now: datetime, last: int | None) -> TrustedSet:
        record = self.record
        first = self._file(ROOT, record.root_version, self._tuning.root)
        if first is None or Digest.of(first) != record.root:
            raise CorruptError(
                f"the root of the catalogue {record.name!r} is lost or damaged here",
                hint="'outlast catalogue unfollow' it, and follow it again with --root",
            )
        found = TrustedSet(first, now, tuning=self._tuning)
        while last is None or found.root.version < last:
            data = self._file(ROOT, found.root.version + 1, self._tuning.root)
            if data is None:
                break
            try:
                found.take_root(data)
            except CatalogueRefusedError:  # half written by a process that was killed
                break
        return found

    def read(self, now: datetime) -> tuple[TrustedSet, bool]:
        """What is trusted here, down to the targets of the top; and whether under the newest root
        that is known. A root may have come without the rest: then the rest stands as it was, under
        the root before. Raises :class:`CatalogueRefusedError` where it never was synced whole.
        """
        newest = self._up_to(now, None)
        fault: OutlastError | None = None
        for version in range(newest.root.version, self.record.root_version - 1, -1):
            found = newest if version == newest.root.version else self._up_to(now, version)
            try:
                self._take_rest(found)
            except CatalogueRefusedError as error:
                fault = fault or error
            else:
                return found, version == newest.root.version
        raise fault or CatalogueRefusedError("the catalogue was not synced yet")

    def _take_rest(self, found: TrustedSet) -> None:
        for role, take in ((TIMESTAMP, found.take_timestamp), (SNAPSHOT, found.take_snapshot)):
            data = self.get(role)
            if data is None:
                raise CatalogueRefusedError(
                    f"the catalogue {self.record.name!r} was not synced yet"
                )
            take(data)
        self.load(found, "targets", ROOT)

    def load(self, trusted: TrustedSet, role: str, delegator: str) -> Targets:
        """A list that is here, verified. Raises :class:`CatalogueRefusedError`."""
        if (known := trusted.role(role, delegator)) is not None:
            return known
        data = self._file(role, trusted.meta_of(role).version, self._tuning.role)
        if data is None:
            raise CatalogueRefusedError(
                f"the list {role!r} of the catalogue {self.record.name!r} is missing here",
                hint=f"'outlast catalogue sync {self.record.name}' fetches it again",
            )
        return trusted.take_role(data, role, delegator)

    # Changing

    def keep(self, role: str, version: int, data: bytes) -> None:
        if role == TIMESTAMP:
            self._timestamp = data
            return
        path = self.folder / metadata_path(role, version)
        if role == ROOT:  # a root that was verified is trusted, whatever comes of the rest
            write_small(path, data)
            return
        with disk.reporting(path):
            disk.make_dir(path.parent)
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, MODE)
            try:
                disk.write_all(fd, data, 0)
            finally:
                os.close(fd)
        self._new[role] = path

    def commit(self, referred: Iterable[tuple[str, int]]) -> None:
        """Makes what was kept the state. `referred`: the lists that the new snapshot has, with
        their versions; other files are removed.
        """
        folder = self.folder / "metadata"
        with disk.reporting(folder):
            # All are written before the first one is waited for: so the disk takes them together.
            for path in self._new.values():
                fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
                try:
                    disk.fsync(fd)
                finally:
                    os.close(fd)
            if self._new:
                disk.fsync_dir(folder)
        if self._timestamp is not None:
            write_small(self.folder / metadata_path(TIMESTAMP, None), self._timestamp)
            self._timestamp = None
        self._new.clear()
        self._sweep({metadata_path(role, version) for role, version in referred})

    def _sweep(self, referred: set[str]) -> None:
        timestamp = metadata_path(TIMESTAMP, None)
        for name in disk.listed(self.folder / "metadata"):
            path = f"metadata/{name}"
            if path not in referred and path != timestamp and not name.endswith(".root.json"):
                with disk.reporting(self.folder / path):
                    disk.remove(self.folder / path)

    # The clock

    def known(self) -> KnownTime:
        """What is known of the time."""
        signed = None
        if self.timestamp is not None:
            signed = read_time(self.timestamp.unrecognized_fields.get(SIGNED))
        return KnownTime(signed, self._time_in(_SEEN))

    def note_seen(self, moment: datetime) -> None:
        self._write_time(_SEEN, moment)

    @property
    def synced(self) -> datetime | None:
        """When the last sync ended well, as the clock said."""
        return self._time_in(_SYNCED)

    def note_synced(self, moment: datetime) -> None:
        self._write_time(_SYNCED, moment)

    def _write_time(self, name: str, moment: datetime) -> None:
        write_small(self.folder / name, json.dumps({"time": write_time(moment)}).encode() + b"\n")

    def _time_in(self, name: str) -> datetime | None:
        data = read_small(self.folder / name)
        if data is None:
            return None
        try:
            said = load_json(data, 4096)
        except MalformedError:
            return None
        return read_time(said.get("time")) if isinstance(said, dict) else None
