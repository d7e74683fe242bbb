"""Work in the background that never keeps the process alive."""

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

from outlast.core.cancel import Cancel

T = TypeVar("T")
_POLL = 0.1


class DaemonPool:
    """A bounded number of daemon threads. Unlike those of the standard library's executors, they
    are not joined when the interpreter exits: one may be waiting for a dead peer.
    """

    def __init__(self, threads: int, name: str) -> None:
        self._most = threads
        self._name = name
        self._lock = threading.Lock()
        self._started = 0
        self._unfinished = 0
        self._tasks: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()

    def submit(self, work: Callable[..., T], *args: object) -> Future[T]:
        """Runs `work` as soon as a thread is free."""
        future: Future[T] = Future()

        def task() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                result = work(*args)
            except BaseException as error:  # noqa: BLE001 - raised again by the future
                future.set_exception(error)
            else:
                future.set_result(result)

        with self._lock:
            self._tasks.put(task)
            self._unfinished += 1
            if self._started < min(self._most, self._unfinished):
                self._started += 1
                name = f"{self._name}-{self._started}"
                threading.Thread(target=self._run, name=name, daemon=True).start()
        return future

    def _run(self) -> None:
        while True:
            self._tasks.get()()
            with self._lock:
                self._unfinished -= 1


def interruptible(work: Callable[[], T], cancel: Cancel) -> T:
    """The result of `work`, which may block for long; raises :class:`Cancelled` as soon as
    `cancel` is set, and leaves the work to itself then.
    """
    future = DaemonPool(1, "ask").submit(work)
    while True:
        cancel.check()
        try:
            return future.result(timeout=_POLL)
        except TimeoutError:
            if future.done():
                raise
