"""Screens publishers for the operator's rules, against the lists that the settings name."""

import datetime as dt
import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from outlast.core.errors import OutlastError
from outlast.features.trust.rules.countries import UNKNOWN
from outlast.features.trust.rules.publishers import Publisher
from outlast.features.trust.rules.screen import PartyMatch, Screened
from outlast.features.trust.screening.lists.party import ListKind, PartyList
from outlast.features.trust.screening.lists.reading import check_age, read_list
from outlast.features.trust.screening.names.matching import Alike, ListedHit, NameIndex

_log = logging.getLogger(__name__)
_MATCHES: Final = {
    Alike.NONE: PartyMatch.NONE,
    Alike.POSSIBLE: PartyMatch.POSSIBLE,
    Alike.MATCH: PartyMatch.MATCH,
    Alike.UNKNOWN: PartyMatch.UNKNOWN,
}
_Stamp = tuple[tuple[int, int, int] | None, ...]


@dataclass(frozen=True, slots=True)
class NamedList:
    """A file of a list; its kind, and the day that it is of, where the operator says them."""

    path: Path
    kind: ListKind | None = None
    as_of: dt.date | None = None

    @classmethod
    def parse(cls, text: str) -> "NamedList":
        """``[KIND=]FILE[@DATE]``."""
        name, equals, rest = text.partition("=")
        kind = ListKind(name) if equals and name in set(ListKind) else None
        path = rest if kind is not None else text
        before, at, day = path.rpartition("@")
        try:
            as_of = dt.date.fromisoformat(day) if at else None
        except ValueError:
            as_of = None
        return cls(Path(path if as_of is None else before), kind, as_of)

    def read(self, today: dt.date, most_days: float) -> PartyList:
        """The list. Raises :class:`StaleListError` where it is older than `most_days`, and as
        :func:`outlast.features.trust.screening.lists.reading.read_list`.
        """
        found = read_list(self.path, kind=self.kind, as_of=self.as_of)
        check_age(found.facts, today, most_days)
        return found


def _utc_now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


class ListScreen:
    """Implements :class:`outlast.features.trust.rules.screen.PartyScreen`. Thread-safe; follows its
    files. Where one of them cannot be read, or is too old, nothing is known of any publisher.
    """

    def __init__(
        self,
        lists: Sequence[NamedList],
        most_days: float,
        clock: Callable[[], dt.datetime] = _utc_now,
    ) -> None:
        self._lists = lists
        self._most_days = most_days
        self._clock = clock
        self._lock = threading.Lock()
        self._loaded: tuple[_Stamp, dt.date, NameIndex | str] | None = None

    def screen(self, publisher: Publisher) -> Screened:
        """The likest row for any name of a publisher."""
        index = self._index()
        if isinstance(index, str):
            return Screened(PartyMatch.UNKNOWN, index)
        names = [(publisher.organisation, True), (publisher.parent, True)]
        if publisher.legal_entity != UNKNOWN:
            names.append((publisher.legal_entity, False))
        hits = [
            hit for name, is_handle in names if name for hit in index.find(name, handle=is_handle)
        ]
        if not publisher.organisation and not hits:
            return Screened(PartyMatch.UNKNOWN, "the model's name has no publisher")
        worst = max(hits, key=_weight, default=None)
        return Screened(PartyMatch.NONE) if worst is None else _screened(worst)

    def _index(self) -> NameIndex | str:
        """The lists, read again where one changed, or a day is over; or why they cannot be used."""
        stamp = tuple(_stamp(one.path) for one in self._lists)
        today = self._clock().date()
        with self._lock:
            if self._loaded is None or self._loaded[:2] != (stamp, today):
                self._loaded = stamp, today, self._read(today)
            return self._loaded[2]

    def _read(self, today: dt.date) -> NameIndex | str:
        try:
            return NameIndex([one.read(today, self._most_days) for one in self._lists])
        except (OutlastError, ImportError) as error:
            _log.warning("no party is screened: %s", error)
            return f"the lists cannot be used: {error}"


def _weight(hit: ListedHit) -> tuple[bool, float]:
    return hit.alike is Alike.MATCH, hit.score


def _screened(hit: ListedHit) -> Screened:
    return Screened(
        _MATCHES[hit.alike], f"{hit.name} ({hit.party.list_name}, id {hit.party.id}, {hit.score})"
    )


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_ino, stat.st_size, stat.st_mtime_ns
