"""The audit records of an archive: what was found of endpoints."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from outlast.core.errors import OutlastError
from outlast.core.records.audit import MAX_AUDIT, AuditRecord
from outlast.store import disk

if TYPE_CHECKING:
    from outlast.store.archive import Archive

EndpointModel = tuple[str, str]
"""The URL of an endpoint up to ``/v1``, and a model's name there."""
_MOST: Final = 10_000
"""Endpoints and models with a record. Guess: a hundred times what an archive has."""


class Audits:
    """The newest record about each model of each endpoint; read again when statements came. Not
    thread-safe.
    """

    def __init__(self, archive: "Archive") -> None:
        self._archive = archive
        self._stamp: object = None
        self._found: dict[EndpointModel, AuditRecord] = {}

    def newest(self) -> Mapping[EndpointModel, AuditRecord]:
        """By endpoint and model; those that have expired too. A file that is no record is passed
        over. Raises :class:`~outlast.core.errors.StorageError`.
        """
        stamp = self._now()
        if stamp != self._stamp:
            self._found = self._read()
            self._stamp = stamp
        return self._found

    def _now(self) -> object:
        root = self._archive.layout.attestations
        try:
            stat = root.stat()
        except FileNotFoundError:
            return ()
        return stat.st_mtime_ns, stat.st_ino, len(disk.listed(root))

    def _read(self) -> dict[EndpointModel, AuditRecord]:
        found: dict[EndpointModel, AuditRecord] = {}
        for manifest in self._archive.attestations.manifests():
            for stored in self._archive.attestations.of(manifest):
                if len(stored.data) > MAX_AUDIT:
                    continue
                try:
                    record = AuditRecord.from_bytes(stored.data)
                except OutlastError:
                    continue
                if record is None or record.manifest != manifest:
                    continue
                place = record.endpoint, record.model
                before = found.get(place)
                if before is None and len(found) >= _MOST:
                    continue
                if before is None or before.time <= record.time:
                    found[place] = record
        return found
