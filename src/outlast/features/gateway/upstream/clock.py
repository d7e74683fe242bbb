"""The clock of one exchange with an upstream: one timer, however many limits follow each other."""

import asyncio
from collections.abc import Callable

from outlast.features.gateway.upstream.faults import Fault, FaultKind

CLIENT_POLL = 0.5
"""Seconds between two looks whether the caller still waits. Guess: so much work may be in vain."""
Fails = Callable[[Fault], object]


class CallerLeft(Exception):  # noqa: N818 - what happened
    """The caller does not wait for its answer any more."""


class Clock:
    """Ends what is bound to it when a limit passes, or when the caller is gone. Belongs to the
    event loop; stop it in every case.
    """

    def __init__(self, caller_left: Callable[[], bool], whole: float) -> None:
        """`whole` is the limit of all of it, in seconds from now."""
        self._loop = asyncio.get_running_loop()
        self.caller_left = caller_left
        self.began = self._loop.time()
        self._end = self.began + whole
        self._until, self._kind, self._text = self._end, FaultKind.SLOW, "it takes too long"
        self._seconds = whole
        self._fails: Fails | None = None
        self.left = False
        self._timer: asyncio.TimerHandle | None = None
        self._arm()

    def bind(self, fails: Fails) -> None:
        """What is ended from now on."""
        self._fails = fails

    def hold(self) -> None:
        """Nothing has to happen for now, but in the time of all: it is the caller that is slow."""
        self._until, self._kind, self._text = self._end, FaultKind.SLOW, "it takes too long"

    def again(self) -> None:
        """The seconds of the last limit count from now: what came before was no fault of the
        target's.
        """
        self.limit(self._seconds, self._kind, self._text)

    def limit(self, seconds: float, kind: FaultKind, text: str) -> None:
        """The next thing has to happen in `seconds`, else it is a fault of this kind."""
        self._seconds = seconds
        until = self._loop.time() + seconds
        self._until, self._kind, self._text = min(until, self._end), kind, text
        if self._timer is None or self._timer.when() > self._until:
            self._arm()

    @property
    def elapsed(self) -> float:
        """Seconds since it was started."""
        return self._loop.time() - self.began

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self) -> None:
        self.stop()
        soon = self._loop.time() + CLIENT_POLL
        due = self._until if self._until > self._loop.time() else soon  # else nothing is bound yet
        self._timer = self._loop.call_at(min(soon, due), self._tick)

    def _tick(self) -> None:
        self._timer = None
        if self.caller_left():
            self.left = True
        if self._fails is not None and self.left:
            self._fails(Fault(FaultKind.CUT, "the caller left"))
        elif self._fails is not None and self._loop.time() >= self._until:
            self._fails(Fault(self._kind, self._text))
        else:
            self._arm()
