"""The state of each source of a transfer: what it delivered, and how it failed."""

import logging
import secrets
import time
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field

from outlast.core.cancel import Cancel
from outlast.core.errors import (
    AccessDeniedError,
    DamagedThereError,
    EntryNotFoundError,
    IntegrityError,
    MalformedError,
    NotFoundError,
    OutlastError,
    PolicyError,
    TransientError,
    WithdrawnError,
)
from outlast.core.events import Emit, SourceBanned, SourceWaiting, SourceWithdrew
from outlast.fetch.concurrency import Concurrency
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
        if isinstance(error, TransientError) and not error.again:
            return None
        if failures >= self.tries or (asked or 0) > self.longest:
            return None
        doubled = self.tuning.first_wait * 2 ** (failures - 1)
        own = min(self.tuning.longest_wait, doubled) * _random.uniform(0.5, 1)
        return own if asked is None else asked + _random.uniform(0, min(1.0, own))


METADATA_PATIENCE = Patience(tries=4)
"""For questions about a model: a person waits for the answer."""


@dataclass(slots=True)
class _Trouble:
    """Failures in a row of one file at a source, which had answered so many requests for `others`
    by the last one.
    """

    failures: int = 0
    failed_at: float = 0.0
    others: int = 0
    not_before: float = 0.0


@dataclass(slots=True, eq=False)
class SourceState:
    """A source and its record. Guarded by the lock of the transfer that owns it, but for its
    `concurrency`, which all transfers of the process share. `under_way`: requests of this one;
    `failing`: those of them that have failed, while it is not known yet what follows.
    """

    client: Source
    patience: Patience
    emit: Emit
    concurrency: Concurrency = field(default_factory=Concurrency)
    under_way: int = 0
    failing: int = 0
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
    _refusals: int = 0
    _fails: bool = False
    """Whether the last that is known of it is a failure."""
    _answers: Counter[str] = field(default_factory=Counter)
    """By file, the requests that were answered."""
    _lacks: dict[str, OutlastError] = field(default_factory=dict)
    _wrong: dict[str, tuple[DamagedThereError, set[int]]] = field(default_factory=dict)
    """By file, the pieces that it knows to be damaged at its place, and what it said last."""
    _troubles: dict[str, _Trouble] = field(default_factory=dict)

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

    def is_due(self, key: str, now: float) -> bool:
        """Whether the file `key` may be asked for already, after it failed."""
        trouble = self._troubles.get(key)
        return trouble is None or now >= trouble.not_before

    def why_not(self, key: str) -> OutlastError | None:
        """Why this source does not serve the file `key`, beyond that it has none."""
        error = self._lacks.get(key)
        if error is None and self.lost is None and key in self._wrong:
            return self._wrong[key][0]
        return self.lost if error is None or isinstance(error, EntryNotFoundError) else error

    def wrong_pieces(self, key: str) -> Collection[int]:
        """The pieces of the file `key` that it does not have right."""
        return self._wrong[key][1] if key in self._wrong else ()

    def note_wrong_piece(self, key: str, piece: int, error: DamagedThereError) -> None:
        """It does not have this piece right; it may be asked for others."""
        known = self.wrong_pieces(key)
        self._wrong[key] = error, {*known, piece}

    def refuses(self, key: str) -> bool:
        """Whether it will not give the file `key` in this run, however long one waits."""
        lost = self.lost is not None and not isinstance(self.lost, TransientError)
        return lost or key in self._lacks

    def record_answer(self, key: str) -> None:
        """It has begun to send the file `key`."""
        self._answers[key] += 1
        self._fails = False

    def record_success(self, count: int, key: str) -> None:
        """It delivered `count` bytes of the file `key`."""
        self.received += count
        self._failures = self._refusals = 0
        self._troubles.pop(key, None)

    def note_ignored_range(self) -> None:
        """It answered a range with the whole file; from the second time on that is its nature."""
        self._ignored_ranges += 1
        if self._ignored_ranges > 1:
            self.ranges = False

    def record_failure(self, error: OutlastError, *, path: str, key: str, started: float) -> None:
        """Records a failure of a request that began at `started` (monotonic seconds).

        Wrong bytes ban the source for this run, a lacking or refused file concerns that file only,
        and what may pass is tried again later; failures of requests made at once count as one.
        """
        if key in self._wrong and error is self._wrong[key][0]:
            _log.debug("%s: one piece of %s is damaged there: %s", self.name, path, error)
        elif isinstance(error, EntryNotFoundError | DamagedThereError):
            _log.debug("%s lacks %s", self.name, path)
            self._lacks[key] = error
        elif isinstance(error, WithdrawnError) or (
            isinstance(error, AccessDeniedError) and error.may_be_limit
        ):
            self._refuse(error, path, key)
        elif isinstance(error, IntegrityError) and not isinstance(error, MalformedError):
            self.ban(error, path)
        elif not isinstance(error, TransientError | MalformedError):
            self._lose(error)
        else:
            self._wait_after(error, key, started)

    def record_limit(self, error: OutlastError) -> None:
        """A request was refused because others were under way: no failure, but if the source asks
        for time, it gets that.
        """
        asked = error.retry_after if isinstance(error, TransientError) else None
        if asked is not None and asked > self.patience.longest:
            self._lose(error)
        elif asked:
            self._pause(time.monotonic() + asked, asked, error)

    def _refuse(self, error: OutlastError, path: str, key: str) -> None:
        """It does not give out a file, nor the next ones if it refuses several in a row."""
        _log.debug("%s refuses %s: %s", self.name, path or "the model", error)
        self._lacks[key] = error
        self._refusals += 1
        if isinstance(error, WithdrawnError):
            self.emit(SourceWithdrew(self.name, path, str(error)))
        if self._refusals >= self.patience.tuning.refusals:
            self._lose(error)

    def _wait_after(self, error: OutlastError, key: str, started: float) -> None:
        """Pauses the source; or, if it serves other files meanwhile, only what fails."""
        trouble = self._troubles.setdefault(key, _Trouble())
        others = self._answers.total() - self._answers[key]
        by_itself = others > trouble.others and (trouble.failures > 0 or not self._fails)
        if started < (trouble.failed_at if by_itself else self._failed_at):
            return
        now = time.monotonic()
        trouble.failures += 1
        trouble.failed_at, trouble.others = now, others
        self._fails = True
        if not by_itself:
            self._failed_at = now
            self._failures += 1
        failures = trouble.failures if by_itself else self._failures
        wait = self.patience.wait_after(failures, error)
        if wait is None and by_itself:
            _log.debug("%s is not asked for a file any more: %s", self.name, error)
            self._lacks[key] = error
        elif wait is None:
            self._lose(error)
        else:
            trouble.not_before = now + wait
            asked = error.retry_after if isinstance(error, TransientError) else None
            self._pause(now if by_itself and not asked else now + wait, wait, error)

    def _pause(self, until: float, seconds: float, error: OutlastError) -> None:
        self.not_before = max(self.not_before, until)
        _log.debug("%s is asked again in %.1f s: %s", self.name, seconds, error)
        self.emit(SourceWaiting(self.name, round(seconds, 2), str(error)))

    def _lose(self, error: OutlastError) -> None:
        _log.debug("%s is given up: %s", self.name, error)
        self.lost = error

    def reset(self) -> None:
        """It is given another chance."""
        self.lost = None
        self._failures = self._refusals = 0
        self.not_before = 0.0
        self._troubles.clear()

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
