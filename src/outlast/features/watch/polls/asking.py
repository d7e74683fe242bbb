"""A hub, asked within its limits: requests are counted, failures tried again, and what is wrong
with the hub as a whole is told apart from what is wrong with one answer.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeVar

from outlast.core.control import Control
from outlast.core.errors import Cancelled, OutlastError, RateLimitedError
from outlast.core.events import SourceWaiting
from outlast.features.watch.changes import Change, ChangeKind
from outlast.features.watch.memory import Memory
from outlast.features.watch.polls.schedule import TUNING, HubHealth, Tuning, day_of, moment
from outlast.sources.hub_watch import HubWatch

T = TypeVar("T")
Clock = Callable[[], float]
"""Seconds since 1970."""
_log = logging.getLogger(__name__)
_FLUSH: Final = 20
"""Requests that are counted before the count is written down: what a crash may forget."""


@dataclass(frozen=True, slots=True)
class Context:
    """Where passes run. `rest` waits for so many seconds, or raises where it is cancelled."""

    memory: Memory
    control: Control
    clock: Clock
    rest: Callable[[float], None]
    tuning: Tuning = TUNING


class PassOverError(Exception):
    """The hub is left alone for now: it is dark, or asked for patience."""


class PoliteHub:
    """One hub during one pass. `told` receives what happened to the hub as a whole, once it is
    written down.
    """

    def __init__(
        self,
        hub: HubWatch,
        context: Context,
        told: Callable[[Change], None],
    ) -> None:
        self.hub = hub
        self.health = HubHealth.from_json(context.memory.hub_state(hub.name))
        self._memory = context.memory
        self._control = context.control
        self._clock = context.clock
        self._rest = context.rest
        self._tuning = context.tuning
        self._told = told
        self.waited = 0.0
        """Seconds for answers."""
        self._counted = hub.requests
        self._spent = context.memory.spent(hub.name, day_of(context.clock()))

    @property
    def spent(self) -> int:
        """Requests of today."""
        return self._spent + self.hub.requests - self._counted

    def ask(self, work: Callable[[], T]) -> T:
        """What `work` returns. Raises its error if the hub answers other questions, and
        :class:`PassOverError` if it does not, or wants to be left alone.
        """
        error: OutlastError | None = None
        for attempt in range(self._tuning.tries):
            if self.health.rests(self._clock(), self._tuning):
                raise PassOverError
            if attempt:
                self._rest(self._tuning.rest * 2 ** (attempt - 1))
            before, began = self.hub.requests, self._clock()
            try:
                found = work()
            except Cancelled:
                raise
            except RateLimitedError as limit:
                self._be_patient(limit.retry_after or self._tuning.limit_wait, str(limit))
                raise PassOverError from limit
            except OutlastError as problem:
                _log.info("%s: %s", self.hub.name, problem)
                error = problem
                continue
            finally:
                self.waited += max(0.0, self._clock() - began)
            self._answered()
            if self.hub.wait > 0:
                self._be_patient(self.hub.wait, "its limit of requests is reached")
            self._pause(self.hub.requests - before)
            return found
        assert error is not None
        if self.hub.answers():
            self._answered()
            raise error
        self._went_dark(str(error))
        raise PassOverError from error

    def doubt(self, reason: str) -> None:
        """Makes sure that the hub as a whole does answer. Raises :class:`PassOverError` if not."""
        if self.health.rests(self._clock(), self._tuning):
            raise PassOverError
        if not self.hub.answers():
            self._went_dark(reason)
            raise PassOverError
        self._answered()

    def close(self) -> None:
        """Writes down what was counted."""
        count = self.hub.requests - self._counted
        if count:
            self._memory.spend(self.hub.name, day_of(self._clock()), count)
            self._spent += count
            self._counted = self.hub.requests

    def _pause(self, requests: int) -> None:
        if self.hub.requests - self._counted >= _FLUSH:
            self.close()
        self._rest(self._tuning.pace * requests)

    def _be_patient(self, seconds: float, reason: str) -> None:
        self._control.emit(SourceWaiting(self.hub.name, seconds, reason))
        self._put(self.health.resting(self._clock() + seconds))

    def _answered(self) -> None:
        self._put(self.health.after_answer(self._clock(), self._tuning))

    def _went_dark(self, reason: str) -> None:
        after = self.health.after_failure(self.hub.name, self._clock(), self._tuning)
        self._put(after, reason)

    def _put(self, after: HubHealth, reason: str = "") -> None:
        before, self.health = self.health, after
        if after == before:
            return
        changes = []
        if after.dark != before.dark:
            kind = ChangeKind.HUB_DARK if after.dark else ChangeKind.HUB_BACK
            changes = [Change(kind, self.hub.name, moment(self._clock()), reason=reason)]
        name = self.hub.name
        if self._memory.put_hub_state(name, before.to_json(), after.to_json(), changes):
            for change in changes:
                self._told(change)
        else:  # another process has told it
            self.health = HubHealth.from_json(self._memory.hub_state(name))
