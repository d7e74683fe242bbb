"""Work in the background that never keeps the process alive."""

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Executor, Future, wait
from contextvars import copy_context
from typing import TypeVar

from outlast.core.cancel import Cancel

S = TypeVar("S")
T = TypeVar("T")
_POLL = 0.1


class DaemonPool:
    """A bounded number of daemon threads, each of which ends when nothing is left to do. Unlike the
    threads of the standard library's executors, they are not joined when the interpreter exits: a
    thread may be waiting for a dead peer.
    """

    def __init__(self, threads: int, name: str) -> None:
        self._most = threads
        self._name = name
        self._lock = threading.Lock()
        self._running = 0
        self._tasks: deque[Callable[[], None]] = deque()

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
            self._tasks.append(task)
            if self._running < self._most:
                self._running += 1
                name = f"{self._name}-{self._running}"
                threading.Thread(target=self._run, name=name, daemon=True).start()
        return future

    def _run(self) -> None:
        while True:
            with self._lock:
                if not self._tasks:
                    self._running -= 1
                    return
                task = self._tasks.popleft()
            task()


def beside(work: Callable[..., T], *args: object) -> Future[T]:
    """Runs `work` in a thread of its own, in the context of the caller."""
    return DaemonPool(1, "ask").submit(copy_context().run, work, *args)


def interruptible(work: Callable[[], T], cancel: Cancel) -> T:
    """The result of `work`, which may block for long. Raises :class:`Cancelled` as soon as `cancel`
    is set; the work then goes on in the background, and its result is dropped.
    """
    future = beside(work)
    while True:
        cancel.check()
        try:
            return future.result(timeout=_POLL)
        except TimeoutError:
            if future.done():
                raise


def one_ahead(
    read: Callable[[S, int], T], jobs: Iterable[S], executor: Executor
) -> Generator[T, None, None]:
    """The results of `read` for each job, in order: the next is read while the caller uses the last
    one. `read` also gets 0 and 1 in turns: which of two buffers no caller uses meanwhile.
    """
    coming: Future[T] | None = None
    try:
        for number, job in enumerate(jobs):
            last, coming = coming, executor.submit(read, job, number % 2)
            if last is not None:
                yield last.result()
        if coming is not None:
            yield coming.result()
    finally:
        if coming is not None:
            coming.cancel()
            wait([coming])  # what it reads from and into may be closed next
