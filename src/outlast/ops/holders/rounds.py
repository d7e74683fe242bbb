"""Questions to many at once, of whom some never answer."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from outlast.core.control import Control
from outlast.core.errors import OutlastError
from outlast.core.threads import DaemonPool
from outlast.ops.holders.tuning import Tuning

T = TypeVar("T")


@dataclass(slots=True)
class Round(Generic[T]):
    """Questions that go out at once, each with the name of whom it is for."""

    pool: DaemonPool
    control: Control
    tuning: Tuning
    _asked: list[tuple[str, Future[T]]] = field(default_factory=list)
    _began: float = field(default_factory=time.monotonic)

    def ask(self, name: str, work: Callable[[], T]) -> None:
        self._asked.append((name, self.pool.submit(work)))

    def answers(self) -> Iterator[tuple[str, T | BaseException | None]]:
        """Waits until all have answered, or their time is over; what each answered, in the order of
        the questions: None where nothing came in time. A bug is raised.
        """
        until = self._began + self.tuning.answer
        while time.monotonic() < until and not all(future.done() for _, future in self._asked):
            self.control.cancel.check()
            self.control.cancel.wait(self.tuning.poll)
        for name, future in self._asked:
            if not future.done():
                future.cancel()
                yield name, None
                continue
            error = future.exception()
            if error is not None and not isinstance(error, OutlastError):
                raise error
            yield name, future.result() if error is None else error
