"""The accounts of the gateway, as its handler uses them: who asks, may they, what did it take."""

import contextlib
import fnmatch
import logging
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, Self

from outlast.core.errors import (
    BudgetSpentError,
    DiskFullError,
    ModelForbiddenError,
    OutlastError,
)
from outlast.features.gateway.accounts import budgets, ledger
from outlast.features.gateway.accounts.database import FILE, change, open_database, reporting
from outlast.features.gateway.accounts.keys import ALL_ROUTES, UserKeys
from outlast.features.gateway.accounts.ledger import LedgerRow, PendingRows
from outlast.features.gateway.accounts.owners import OwnerLock, forget, is_gone
from outlast.features.gateway.accounts.periods import Period, period_at
from outlast.features.gateway.accounts.values import (
    Caller,
    Estimate,
    Limit,
    Reservation,
    Spent,
    merged,
)

_log = logging.getLogger(__name__)

FOLDER: Final = "gateway"
"""In the archive's folder."""
FLUSH_SECONDS: Final = 2.0
"""Between two writes of what has no budget: the most that a crash loses of it."""
_LOOK_SECONDS: Final = 10.0
"""Between two looks for processes that have ended."""
_LOOK_AGAIN: Final = 1.0
"""Seconds after such a look in which a refused request does not look by itself."""
_CHECKPOINT_CHANGES: Final = 500
"""Reservations after which the log is moved into the database, so that it stays below 20 MB."""
_MOST_UNSETTLED: Final = 10_000
"""Settlements that wait for the disk; further ones count as their estimates."""


class GatewayAccounts:
    """Keys, budgets and the ledger of the archive in `home`; several processes may share them.
    `limits` are budgets of routes. `clock`: seconds since 1970. Thread-safe; a call takes 0.1 ms,
    and waits for other processes' calls: at worst 10 s, then it raises
    :class:`~outlast.core.errors.BusyError`. Close it.
    """

    def __init__(
        self,
        home: Path,
        limits: Mapping[str, Sequence[Limit]] | None = None,
        *,
        keep_days: int | None = None,
        clock: Callable[[], float] = time.time,
        flush_seconds: float = FLUSH_SECONDS,
    ) -> None:
        """Raises :class:`~outlast.core.errors.CorruptError` for a database that is damaged or
        gone, :class:`~outlast.core.errors.StorageError`.
        """
        folder = home / FOLDER
        self._folder: Final = folder
        self._path: Final = folder / FILE
        self._routes = dict(limits or {})
        self._clock: Final = clock
        self._keep_days: Final = keep_days
        self._flush_seconds: Final = flush_seconds
        self._pending: Final = PendingRows()
        self._unsettled: Final[deque[tuple[Reservation, tuple[Spent, ...]]]] = deque()
        self._known: Final[dict[tuple[Caller, str], tuple[Limit, ...]]] = {}
        self.keys: Final = UserKeys(folder)
        self._lock: Final = threading.Lock()
        self._ending = False
        self._changes = 0
        self._looked = 0.0
        self._wake: Final = threading.Event()
        self._db: Final = open_database(folder)
        try:
            self._own: Final = OwnerLock(folder)
            with reporting(self._path), change(self._db):
                self._owner: Final = budgets.enter(self._db, self._own.mark)
        except BaseException:
            self._db.close()
            raise
        self.take_back_of_the_dead()
        self._drop_old()
        self._thread: Final = threading.Thread(
            target=self._keep_up, name="gateway-ledger", daemon=True
        )
        self._thread.start()

    def use_limits(self, limits: Mapping[str, Sequence[Limit]]) -> None:
        """From now on these are the budgets of routes."""
        self._routes = dict(limits)
        self._known.clear()

    # What the handler calls

    def authenticate(self, secret: str | None) -> Caller:
        """Whom a key stands for; any caller, where no key was ever made. Raises
        :class:`~outlast.core.errors.KeyRefusedError`.
        """
        return self.keys.check(secret)

    def may_use(self, caller: Caller, route: str) -> bool:
        """Whether the key may use a route: a model's public name."""
        return any(fnmatch.fnmatchcase(route, glob) for glob in caller.models)

    def reserve(self, caller: Caller, route: str, model: str, estimate: Estimate) -> Reservation:
        """Sets the most that a request can take aside, in all budgets that it counts against.
        `route` is the public name of the model that was asked for, `model` that of the first
        target. Raises :class:`~outlast.core.errors.BudgetSpentError` and
        :class:`~outlast.core.errors.ModelForbiddenError`; then nothing is set aside.
        """
        if not self.may_use(caller, route):
            raise ModelForbiddenError(f"the key {caller.name} may not use {route}")
        found = Reservation(caller, route, model, estimate)
        limits = self.limits_of(caller, route)
        if not limits:
            if self._pending.is_full:
                raise DiskFullError("the usage ledger cannot be written, and too much waits")
            return found
        budgets.refuse_unknown(limits, estimate)
        try:
            self._take(found, limits)
        except BudgetSpentError:
            # They may hold what is needed here.
            if time.monotonic() - self._looked < _LOOK_AGAIN or not self.take_back_of_the_dead():
                raise
            self._take(found, limits)
        return found

    def settle(self, reservation: Reservation, *spent: Spent) -> None:
        """Counts what a request took, at each target that took part, in place of what was set
        aside; a second time it does nothing. Where the disk refuses, it is tried again later, and
        the estimate counts until then.
        """
        if reservation.done:
            return
        reservation.done = True
        if reservation.hold is None:
            self._note(reservation, spent)
            return
        try:
            self._settle(reservation, spent)
        except OutlastError as error:
            _log.warning("a settlement waits: %s", error)
            if len(self._unsettled) < _MOST_UNSETTLED:
                self._unsettled.append((reservation, spent))

    def release(self, reservation: Reservation) -> None:
        """Gives back what was set aside for a request that took nothing."""
        self.settle(reservation)

    # What commands ask

    def limits_of(self, caller: Caller, route: str) -> tuple[Limit, ...]:
        """The budgets that a request of `caller` on `route` counts against."""
        found = self._known.get((caller, route))
        if found is None:
            own = tuple(limit for name, limit in caller.limits if name in {ALL_ROUTES, route})
            found = merged((*own, *self._routes.get(route, ())))
            if len(self._known) > 10_000:  # keys that changed
                self._known.clear()
            self._known[caller, route] = found
        return found

    def standings(self, limits: Sequence[Limit]) -> list[budgets.BudgetStanding]:
        """What is spent and set aside of each."""
        with self._lock, reporting(self._path):
            return budgets.standings(self._db, limits, self._clock())

    def usage(self, first: str, last: str) -> list[LedgerRow]:
        """The ledger of the days from `first` to `last` (``2026-11-30``, UTC)."""
        self.flush()
        with self._lock, reporting(self._path):
            return ledger.read_rows(self._db, first, last)

    # What is done beside

    def flush(self) -> None:
        """Writes what waits. Raises :class:`~outlast.core.errors.StorageError`; then it still
        waits.
        """
        rows = self._pending.take()
        if rows:
            try:
                with self._lock, reporting(self._path), change(self._db):
                    ledger.add_rows(self._db, rows)
            except BaseException:
                self._pending.put_back(rows)
                raise
        for _ in range(len(self._unsettled)):
            with contextlib.suppress(IndexError):  # another thread took it
                waiting = self._unsettled.popleft()
                try:
                    self._settle(*waiting)
                except BaseException:
                    self._unsettled.appendleft(waiting)
                    raise

    def take_back_of_the_dead(self) -> int:
        """Counts what ended processes had set aside as spent; returns of how many requests."""
        taken = 0
        self._looked = time.monotonic()
        with self._lock, reporting(self._path):
            others = [
                (number, mark)
                for number, mark in budgets.owners(self._db)
                if number != self._owner and is_gone(self._folder, mark)
            ]
            for number, mark in others:
                with change(self._db):
                    taken += budgets.take_back(self._db, number, self._today())
                forget(self._folder, mark)
        if taken:
            _log.warning("%d requests of processes that ended count as their estimates", taken)
        return taken

    def close(self) -> None:
        """Writes what waits, and ends. What is still reserved counts as spent. Raises
        :class:`~outlast.core.errors.StorageError` if something could not be written.
        """
        self._ending = True
        self._wake.set()
        self._thread.join()
        try:
            self.flush()
            with self._lock, reporting(self._path), change(self._db):
                budgets.take_back(self._db, self._owner, self._today())
        finally:
            with self._lock:
                self._db.close()
            self._own.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _take(self, reservation: Reservation, limits: Sequence[Limit]) -> None:
        with self._lock, reporting(self._path), change(self._db):
            budgets.take(self._db, self._owner, reservation, limits, self._clock())
        self._changes += 1
        if self._changes >= _CHECKPOINT_CHANGES:
            self._changes = 0
            self._wake.set()

    def _settle(self, reservation: Reservation, spent: Sequence[Spent]) -> None:
        with self._lock, reporting(self._path), change(self._db):
            if not budgets.settle(self._db, reservation, spent, self._today()):
                _log.warning("a request of %s was counted as its estimate", reservation.route)

    def _note(self, reservation: Reservation, spent: Sequence[Spent]) -> None:
        today = self._today()
        for one in spent:
            believed, certain = budgets.believed(one, reservation.estimate)
            self._pending.note(
                today, reservation.caller.key, reservation.route, believed, certain=certain
            )

    def _today(self) -> str:
        return period_at(Period.DAY, self._clock())

    def _drop_old(self) -> None:
        if self._keep_days is None:
            return
        first = period_at(Period.DAY, self._clock() - self._keep_days * 86_400)
        with self._lock, reporting(self._path), change(self._db):
            ledger.drop_before(self._db, first)

    def _keep_up(self) -> None:
        """Flushes, looks for processes that have ended, and moves the log into the database."""
        while True:
            self._wake.wait(self._flush_seconds)
            self._wake.clear()
            if self._ending:
                return
            try:
                self.flush()
                if time.monotonic() - self._looked >= _LOOK_SECONDS:
                    self.take_back_of_the_dead()
                self._checkpoint()
            except OutlastError as error:
                _log.warning("the usage ledger waits: %s", error)

    def _checkpoint(self) -> None:
        """In a connection of its own: it waits for the disk, and no request for it."""
        with reporting(self._path), contextlib.closing(sqlite3.connect(self._path)) as db:
            db.execute("PRAGMA wal_checkpoint(PASSIVE)")
