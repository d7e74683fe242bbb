"""Long work for a caller who waits: it runs in a thread of its own, and its events come to the
caller's thread.

So Ctrl-C never strikes in the middle of a step: the caller's thread gets it, stops the work tidily
by its token, and waits for it. And a callback may do what the caller may.
"""

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Generic, TypeAlias, TypeVar

from outlast.core.cancel import Cancel
from outlast.core.control import Control
from outlast.core.errors import Cancelled, ExhaustedError
from outlast.core.events import Event, Planned, Progress, ignore

T = TypeVar("T")
OnEvent: TypeAlias = Callable[[Event], object]
"""Gets what happens, in the thread of the call that it was given to, one event at a time. If it
raises, the work is stopped and the call raises the same."""


def run(
    work: Callable[[Control], T], progress: OnEvent | None = None, cancel: Cancel | None = None
) -> T:
    """The result of `work`, which is done in another thread; raises what that raises. Whatever ends
    the wait (a signal, an error of `progress`) sets the token and is raised once the work has
    ended; a second signal is raised at once.
    """
    token = cancel or Cancel()
    job = _Call(work, token, follows=progress is not None)
    try:
        job.start()
        while events := job.wait():
            for event in events:
                if progress is not None:
                    progress(event)
    except BaseException:
        token.set()
        job.finish()
        raise
    job.finish()
    return job.result()


class _Call(Generic[T]):
    """The work, and the events that its caller has not seen yet: no more of them than there are
    files, however slow the caller is, because progress of the same file adds up.
    """

    def __init__(self, work: Callable[[Control], T], cancel: Cancel, *, follows: bool) -> None:
        self._work = work
        self._control = Control(self._take if follows else ignore, cancel)
        self._changed = threading.Condition()
        self._events: list[Event] = []
        self._places: dict[tuple[str, str], int] = {}
        self._results: list[T] = []
        self._error: BaseException | None = None
        self._ended = False
        self._thread = threading.Thread(target=self._run, name="outlast")

    def start(self) -> None:
        try:
            self._thread.start()
        except RuntimeError as error:  # the system has no thread left
            self._ended = True
            raise ExhaustedError(str(error)) from error

    def wait(self) -> list[Event]:
        """The events since the last call, once there are any; none at the end of the work."""
        with self._changed:
            while not (self._events or self._ended):
                self._changed.wait()
            found, self._events = self._events, []
            self._places.clear()
            return found

    def finish(self) -> None:
        """Waits for the end of the work. What a signal interrupts is no wait for a thread: Python
        3.11 would take the thread for ended.
        """
        with self._changed:
            while not self._ended:
                self._changed.wait()
        if self._thread.ident is not None:
            self._thread.join()

    def result(self) -> T:
        if isinstance(self._error, Cancelled):
            hint = "call it again: what was done is kept"
            raise Cancelled(str(self._error), hint=hint) from self._error
        if self._error is not None:
            raise self._error
        return self._results[0]

    def _run(self) -> None:
        try:
            self._results.append(self._work(self._control))
        except BaseException as error:  # noqa: BLE001 - `result` raises it for the caller
            self._error = error
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def _take(self, event: Event) -> None:
        """Comes from any thread of the work."""
        with self._changed:
            if isinstance(event, Progress):
                self._add_up(event)
            else:
                if isinstance(event, Planned):
                    self._places.clear()  # what follows belongs to another job
                self._events.append(event)
            self._changed.notify_all()

    def _add_up(self, event: Progress) -> None:
        place = self._places.setdefault((event.path, event.source), len(self._events))
        if place == len(self._events):
            self._events.append(event)
            return
        known = self._events[place]
        assert isinstance(known, Progress)
        self._events[place] = replace(known, count=known.count + event.count)
