"""The steps of a TUF client: what is asked of a place, in which order, and what is kept of it.

Source of the order: the specification of TUF 1.0.33, section 5 ("Detailed client workflow").
"""

from typing import Protocol

from tuf.api.metadata import TargetFile, Targets

from outlast.core.errors import CatalogueRefusedError, NotFoundError
from outlast.features.trust.catalogue.names import metadata_path
from outlast.features.trust.catalogue.places import CataloguePlace
from outlast.features.trust.catalogue.trusted import (
    ROOT,
    SNAPSHOT,
    TARGETS,
    TIMESTAMP,
    TrustedSet,
)
from outlast.features.trust.catalogue.tuning import TUNING, CatalogueTuning


class KeptFiles(Protocol):
    """The files that were trusted last. What it has is verified again before it is used."""

    def get(self, role: str) -> bytes | None:
        """The file of a role; None where there is none, or it cannot be read."""

    def keep(self, role: str, version: int, data: bytes) -> None:
        """A file that is trusted from now on."""


class Workflow:
    """One refresh of a repository, and the search in it."""

    def __init__(
        self,
        place: CataloguePlace,
        kept: KeptFiles,
        trusted: TrustedSet,
        tuning: CatalogueTuning = TUNING,
    ) -> None:
        self._place = place
        self._kept = kept
        self.tuning = tuning
        self.trusted = trusted
        self.received = 0
        """Bytes that came from the place."""

    def refresh(self) -> None:
        """Roots, timestamp, snapshot, targets. Raises :class:`CatalogueRefusedError`, and the
        errors of the place.
        """
        self._refresh_root()
        self._refresh_timestamp()
        self._refresh_snapshot()
        self.load(TARGETS, ROOT)

    def _refresh_root(self) -> None:
        for _ in range(self.tuning.rotations):
            version = self.trusted.root.version + 1
            try:
                data = self._read(ROOT, version, self.tuning.root)
            except NotFoundError:
                return
            self.trusted.take_root(data)
            self._kept.keep(ROOT, version, data)

    def _refresh_timestamp(self) -> None:
        if (last := self._kept.get(TIMESTAMP)) is not None:
            # Under a root with other keys the last one counts no more: so a catalogue recovers from
            # a timestamp with too high a number.
            self._remember(self.trusted.remember_timestamp, last)
        data = self._read(TIMESTAMP, None, self.tuning.timestamp)
        if self.trusted.take_timestamp(data):
            assert self.trusted.timestamp is not None
            self._kept.keep(TIMESTAMP, self.trusted.timestamp.version, data)

    def _refresh_snapshot(self) -> None:
        if (last := self._kept.get(SNAPSHOT)) is not None:
            self._remember(self.trusted.remember_snapshot, last)
        if self.trusted.is_final:
            self.trusted.check_snapshot()
            return
        assert self.trusted.timestamp is not None
        meta = self.trusted.timestamp.snapshot_meta
        most = _length(meta.length, self.tuning.snapshot, SNAPSHOT)
        data = self._read(SNAPSHOT, self._numbered(meta.version), most)
        self.trusted.take_snapshot(data)
        self._kept.keep(SNAPSHOT, meta.version, data)

    def _remember(self, take: "Take", data: bytes) -> None:
        try:
            take(data)
        except CatalogueRefusedError:
            return

    def load(self, role: str, delegator: str) -> Targets:
        """A list of targets: as it was kept, if that is the version which the snapshot names."""
        if (found := self.trusted.role(role, delegator)) is not None:
            return found
        if (last := self._kept.get(role)) is not None:
            try:
                return self.trusted.take_role(last, role, delegator)
            except CatalogueRefusedError:
                pass  # another version, another key, or damaged: the place has the right one
        meta = self.trusted.meta_of(role)
        most = _length(meta.length, self.tuning.role, role)
        data = self._read(role, self._numbered(meta.version), most)
        targets = self.trusted.take_role(data, role, delegator)
        self._kept.keep(role, meta.version, data)
        return targets

    def find(self, path: str) -> TargetFile | None:
        """The target of that path, in the first role that has it, in the order of delegations."""
        todo, visited = [(TARGETS, ROOT)], set[str]()
        while todo and len(visited) <= self.tuning.visited:
            role, delegator = todo.pop()
            if role in visited:
                continue
            targets = self.load(role, delegator)
            visited.add(role)
            if (found := targets.targets.get(path)) is not None:
                return found
            if targets.delegations is None:
                continue
            below: list[tuple[str, str]] = []
            for name, terminating in targets.delegations.get_roles_for_target(path):
                below.append((name, role))
                if terminating:
                    todo = []
                    break
            todo += reversed(below)
        return None

    def _numbered(self, version: int) -> int | None:
        return version if self.trusted.root.consistent_snapshot else None

    def _read(self, role: str, version: int | None, most: int) -> bytes:
        data = self._place.read(metadata_path(role, version), most)
        self.received += len(data)
        return data


class Take(Protocol):
    """Takes a file, or raises :class:`CatalogueRefusedError`."""

    def __call__(self, data: bytes) -> object: ...


def _length(told: int | None, most: int, role: str) -> int:
    """How many bytes of a file are read."""
    if told is not None and told > most:
        raise CatalogueRefusedError(f"{role!r} has {told} bytes: more than {most}")
    return most if told is None else told
