"""The threads that ask upstream for clients: so many at once. One that takes longer than a client
waits makes room where another question waits, so that hubs that drip keep no mirror from others.
"""

import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, TypeVar

from outlast.core.errors import Cancelled, ExhaustedError
from outlast.core.threads import DaemonPool
from outlast.mirror.tuning import MirrorTuning
from outlast.sources.in_time import QUESTION, OpenSockets

T = TypeVar("T")


@dataclass(slots=True, eq=False)
class _Place:
    """A question that has a place since `began` (by the clock of the places)."""

    began: float
    sockets: OpenSockets = field(default_factory=OpenSockets)


class Places:
    """Thread-safe. A question whose place was taken raises :class:`ExhaustedError`."""

    def __init__(
        self,
        tuning: MirrorTuning,
        name: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._tuning = tuning
        self._clock = clock
        self._lock = threading.Lock()
        self._waiting: deque[object] = deque()
        self._asked: list[_Place] = []
        """In the order in which they began."""
        self._watched = False
        """Whether a thread looks at how long the questions take."""
        self._pool = DaemonPool(tuning.askers, name)

    def submit(self, work: Callable[..., T], *args: Any) -> Future[T]:
        """Runs `work`, which asks sources, as soon as there is a place."""
        ticket = object()

        def run() -> T:
            asked = _Place(self._clock())
            with self._lock:
                self._waiting.remove(ticket)
                self._asked.append(asked)
            before = QUESTION.set(asked.sockets)
            try:
                return work(*args)
            except Cancelled as error:
                if not asked.sockets.closed:
                    raise
                raise ExhaustedError(
                    "upstream takes too long to answer, and others wait to ask", retry_after=5.0
                ) from error
            finally:
                QUESTION.reset(before)
                with self._lock:
                    self._asked.remove(asked)

        with self._lock:
            self._waiting.append(ticket)
            future = self._pool.submit(run)
            full = len(self._waiting) + len(self._asked) > self._tuning.askers
            if full and not self._watched:
                self._watched = True
                threading.Thread(target=self._watch, name="places", daemon=True).start()
        return future

    def _watch(self) -> None:
        """Looks again and again while a question waits."""
        while True:
            time.sleep(self._tuning.look)
            with self._lock:
                self._watched = bool(self._waiting)
                if not self._watched:
                    return
                ending = self._overdue()
            for asked in ending:
                asked.sockets.close()

    def _overdue(self) -> list[_Place]:
        """The questions to end: no more than wait, the oldest first."""
        going = [one for one in self._asked if not one.sockets.closed]
        room = len(self._waiting) - (len(self._asked) - len(going))
        due = self._clock() - self._tuning.answer_timeout
        return [one for one in going if one.began < due][: max(0, room)]
