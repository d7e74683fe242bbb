"""Work on blocks in their order, in a thread of its own, with a bound on how many wait."""

import queue
import threading
from collections.abc import Callable
from typing import Final, Generic, TypeVar

_T = TypeVar("_T")
_MOST: Final = 8


class InOrder(Generic[_T]):
    """Calls `work` with what is put, one after the other. An error of it is raised by the next
    call of any method, and what was put behind it is passed over. `after` is called with all that
    is put, whatever becomes of it. Up to `most` wait.
    """

    def __init__(
        self,
        work: Callable[[_T], object],
        name: str,
        *,
        after: Callable[[_T], object] = bool,
        most: int = _MOST,
    ) -> None:
        self._work = work
        self._after = after
        self._queue: queue.Queue[tuple[_T] | None] = queue.Queue(most)
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def put(self, item: _T) -> None:
        if self._error is not None:
            self._after(item)
            raise self._error
        self._queue.put((item,))

    def settle(self) -> None:
        """Waits until all that was put is done."""
        self._queue.join()
        self._check()

    def close(self) -> None:
        """Waits until all is done, and ends the thread."""
        self.abandon()
        self._check()

    def abandon(self) -> None:
        """The same, whatever errors there were; may be called again."""
        if self._thread.is_alive():
            self._queue.put(None)
            self._thread.join()

    def _check(self) -> None:
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        while (item := self._queue.get()) is not None:
            try:
                if self._error is None:
                    self._work(item[0])
            except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
                self._error = error
            finally:
                self._after(item[0])
                self._queue.task_done()
