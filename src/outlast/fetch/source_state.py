"""The state of each source of a transfer: what it delivered, and how it failed."""

import logging
import secrets
import time
from dataclasses import dataclass, field

from outlast.core.cancel import Cancel
from outlast.core.errors import (
    EntryNotFoundError,
    IntegrityError,
    MalformedError,
    NotFoundError,
    OutlastError,
    PolicyError,
    TransientError,
)
from outlast.core.events import Emit, SourceBanned, SourceWaiting
from outlast.fetch.tuning import TUNING, Tuning
from outlast.sources.base import PayloadSource, Source

SOURCE_FAULTS = (IntegrityError, NotFoundError, PolicyError, TransientError)
"""What can be a source's fault. Anything else is the disk's, the user's or our own."""
_log = logging.getLogger(__name__)
_random = secrets.SystemRandom()


@dataclass(frozen=True, slots=True)
class Patience:
    """When a source is given up. `tries`: failures in a row, with nothing received between them;
    `longest`: the longest pause (seconds) that a source may ask for. `tuning` has our own pauses.
    """

    tries: int = 7
    longest: float = 600.0
    tuning: Tuning = TUNING

    def wait_after(self, failures: int, error: OutlastError) -> float | None:
        """Seconds until the next try, with jitter; None where there should be none."""
        asked = error.retry_after if isinstance(error, TransientError) else None
        if failures >= self.tries or (asked or 0) > self.longest:
            return None
        doubled = self.tuning.first_wait * 2 ** (failures - 1)
        own = min(self.tuning.longest_wait, doubled) * _random.uniform(0.5, 1)
        return own if asked is None else asked + _random.uniform(0, min(1.0, own))


METADATA_PATIENCE = Patience(tries=4)
"""For questions about a model: a person waits for the answer."""


@dataclass(slots=True, eq=False)
class SourceState:
    """A source and its record. Guarded by the lock of the transfer that owns it."""

    client: Source
    patience: Patience
    emit: Emit
    lost: OutlastError | None = None
    banned: bool = False
    received: int = 0
    not_before: float = 0.0
    heard: float = 0.0
    """When its last byte came (monotonic seconds)."""
    ranges: bool = True
    _failures: int = 0
    _failed_at: float = 0.0
    _ignored_ranges: int = 0
    _lacks: set[str] = field(default_factory=set)

    @property
    def name(self) -> str:
        return self.client.name

    @property
    def is_peer(self) -> bool:
        """Whether the source is a node like this one, which has what it says that it has."""
        return isinstance(self.client, PayloadSource)

    def serves(self, key: str) -> bool:
        """Whether it is worth asking this source for the file `key`."""
        return self.lost is None and key not in self._lacks

    def refuses(self, key: str) -> bool:
        """Whether it will not give the file `key` in this run, however long one waits."""
        lost = self.lost is not None and not isinstance(self.lost, TransientError)
        return lost or key in self._lacks

    def record_success(self, count: int) -> None:
        """It delivered `count` bytes."""
        self.received += count
        self._failures = 0

    def note_ignored_range(self) -> None:
        """It answered a range with the whole file; from the second time on that is its nature."""
        self._ignored_ranges += 1
        if self._ignored_ranges > 1:
            self.ranges = False

    def record_failure(self, error: OutlastError, *, path: str, key: str, started: float) -> None:
        """Records a failure of a request that began at `started` (monotonic seconds).

        Wrong bytes ban the source for this run, a lacking file concerns that file only, and what
        may pass is tried again later; failures of requests made at once count as one.
        """
        if isinstance(error, EntryNotFoundError):
            _log.debug("%s lacks %s", self.name, path)
            self._lacks.add(key)
        elif isinstance(error, IntegrityError) and not isinstance(error, MalformedError):
            self.ban(error, path)
        elif not isinstance(error, TransientError | MalformedError):
            self._lose(error)
        elif started >= self._failed_at:
            self._failed_at = time.monotonic()
            self._failures += 1
            wait = self.patience.wait_after(self._failures, error)
            if wait is None:
                self._lose(error)
            else:
                self.not_before = self._failed_at + wait
                _log.debug("%s is asked again in %.1f s: %s", self.name, wait, error)
                self.emit(SourceWaiting(self.name, round(wait, 2), str(error)))

    def _lose(self, error: OutlastError) -> None:
        _log.debug("%s is given up: %s", self.name, error)
        self.lost = error

    def reset(self) -> None:
        """It is given another chance."""
        self.lost = None
        self._failures = 0
        self.not_before = 0.0

    def pause(self, cancel: Cancel) -> None:
        """Waits until it may be asked again."""
        cancel.wait(max(0.0, self.not_before - time.monotonic()))

    def ban(self, error: OutlastError, path: str) -> None:
        """It served wrong bytes: it is named, and not asked again in this run."""
        if not self.banned:
            _log.debug("%s is banned: %s", self.name, error)
            self.banned = True
            self.lost = error
            self.emit(SourceBanned(self.name, path, str(error)))
