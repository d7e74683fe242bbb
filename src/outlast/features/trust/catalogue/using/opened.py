"""Followed catalogues, open for reading: what they list of a model, verified, and how fresh it is.

Thread-safe. Reads the folders of this archive alone, and asks no network.
"""

import logging
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from tuf.api.metadata import Targets

from outlast.core.errors import CatalogueRefusedError, OutlastError
from outlast.core.names import RepoId
from outlast.features.trust.catalogue.clock import Freshness, judge
from outlast.features.trust.catalogue.entries import CatalogueEntry
from outlast.features.trust.catalogue.folders import FollowRecord, followed_names, read_record
from outlast.features.trust.catalogue.index import CatalogueIndex, read_index
from outlast.features.trust.catalogue.listing import (
    CatalogueRole,
    RoleList,
    entries_of,
    publishers_of,
    roles_of,
    succinct,
)
from outlast.features.trust.catalogue.names import metadata_path
from outlast.features.trust.catalogue.state import FollowedState
from outlast.features.trust.catalogue.sync import freshness_of
from outlast.features.trust.catalogue.trusted import TARGETS, TIMESTAMP
from outlast.features.trust.catalogue.tuning import TUNING

_log = logging.getLogger(__name__)
Clock = Callable[[], datetime]


def utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class ListedEntry:
    """An entry, the catalogue that lists it, and how fresh that is."""

    entry: CatalogueEntry
    record: FollowRecord
    freshness: Freshness


class OpenCatalogue:
    """One catalogue, as it lies here at this moment."""

    def __init__(self, home: Path, name: str, now: datetime) -> None:
        """Raises :class:`CatalogueRefusedError` where it was never synced whole, and
        :class:`CorruptError`.
        """
        self.record = read_record(home, name)
        self._state = FollowedState(home, self.record)
        self._trusted, newest_root = self._state.read(now)
        self._now = now
        self.freshness = freshness_of(self._state, self._trusted, now, newest_root=newest_root)
        self.index: CatalogueIndex = read_index(self._state.folder)
        self._roles = {role.name: role for role in roles_of(self._trusted.targets)}
        self._publishers = publishers_of(tuple(self._roles.values()))
        self._models = self.index.by_model()
        self._lists: dict[str, dict[str, CatalogueEntry]] = {}

    @property
    def version(self) -> int:
        """Of the snapshot."""
        return 0 if self._state.snapshot is None else self._state.snapshot.version

    @property
    def synced(self) -> datetime | None:
        return self._state.synced

    @property
    def models(self) -> list[RepoId]:
        """The models that it lists, their names folded."""
        return sorted(self._models)

    def of_model(self, repo: RepoId) -> list[ListedEntry]:
        """What it lists of a model; a list that is damaged here lists nothing."""
        found = []
        for path, name in self._models.get(repo.folded, ()):
            entry, fresh = self._entry(name, path)
            if entry is not None:
                found.append(ListedEntry(entry, self.record, fresh))
        return found

    def all(self) -> Iterator[ListedEntry]:
        for repo in self.models:
            yield from self.of_model(repo)

    def _entry(self, name: str, path: str) -> tuple[CatalogueEntry | None, Freshness]:
        try:
            where, targets = self._load(name)
            if name not in self._lists:
                head = self._state.load(self._trusted, where.role.name, TARGETS)
                bins = None if where.delegator == TARGETS else succinct(head.delegations)
                entries = entries_of(targets, where, self._publishers, bins).entries
                self._lists[name] = {entry.name.path: entry for entry in entries}
        except CatalogueRefusedError as error:
            _log.warning("%s: %s", self.record.name, error)
            return None, self.freshness
        return self._lists[name].get(path), self._fresh(where, targets)

    def _load(self, name: str) -> tuple[RoleList, Targets]:
        """A list and its role, both verified. The index says where it hangs, and is not believed:
        another role has not signed for it.
        """
        delegator = self.index.lists[name].delegator
        role = self._roles.get(name if delegator == TARGETS else delegator)
        if role is None:
            raise CatalogueRefusedError(f"no role has the list {name!r}")
        self._state.load(self._trusted, role.name, TARGETS)
        targets = self._state.load(self._trusted, name, delegator)
        return RoleList(name, delegator, CatalogueRole(role.name, role.organisation)), targets

    def _fresh(self, where: RoleList, targets: Targets) -> Freshness:
        """That of the catalogue, unless the list expired before."""
        if not self.freshness.is_current:
            return self.freshness
        head = self._state.load(self._trusted, where.role.name, TARGETS)
        expires = min(head.expires, targets.expires)
        return judge(expires, self._now, self._state.known(), TUNING.clock_slack)


class OpenCatalogues:
    """All that are followed, or the one `name`; opened when they are asked for, and again when they
    have changed, or an hour has passed.
    """

    _AGAIN = 3600.0

    def __init__(self, home: Path, name: str = "", clock: Clock = utc_now) -> None:
        self._home = home
        self._name = name
        self._clock = clock
        self._lock = threading.RLock()
        self._open: dict[str, tuple[tuple[int, ...], datetime, OpenCatalogue]] = {}

    def of_model(self, repo: RepoId) -> list[ListedEntry]:
        """What they list of a model: of those that are current first, then by name."""
        with self._lock:
            found = [one for catalogue in self.each() for one in catalogue.of_model(repo)]
        return sorted(found, key=lambda one: (not one.freshness.is_current, one.record.name))

    def each(self) -> list[OpenCatalogue]:
        """Those that can be read; why others cannot is logged, and `ls` says it."""
        with self._lock:
            found = []
            for name in followed_names(self._home):
                if self._name in ("", name):
                    try:
                        found.append(self._opened(name))
                    except OutlastError as error:
                        _log.warning("the catalogue %s cannot be used: %s", name, error)
            return found

    def _opened(self, name: str) -> OpenCatalogue:
        stamp, now = self._stamp(name), self._clock()
        known = self._open.get(name)
        if known is not None:
            old, when, catalogue = known
            if old == stamp and 0 <= (now - when).total_seconds() < self._AGAIN:
                return catalogue
        made = OpenCatalogue(self._home, name, now)
        self._open[name] = stamp, now, made
        return made

    def _stamp(self, name: str) -> tuple[int, ...]:
        record = read_record(self._home, name)
        folder = FollowedState(self._home, record).folder
        try:
            stat = os.stat(folder / metadata_path(TIMESTAMP, None))
        except FileNotFoundError:
            return (0,)
        return stat.st_ino, stat.st_mtime_ns, stat.st_size
