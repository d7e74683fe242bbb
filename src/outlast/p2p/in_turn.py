"""Asks one source after the other. One that is silent is asked on, beside the next."""

import time
from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from outlast.core.cancel import Cancel
from outlast.core.threads import beside
from outlast.sources.base import Source
from outlast.sources.in_time import QUESTION, OpenSockets, check_ended

T = TypeVar("T")
_LOOK: Final = 0.1
"""Between two looks at whether the caller gave up (s)."""


@dataclass(frozen=True, slots=True)
class _Turn(Generic[T]):
    """A source that is being asked, by its number."""

    number: int
    future: Future[T]
    sockets: OpenSockets


def in_turn(
    ask: Callable[[int, Source], T],
    sources: Sequence[Source],
    cancel: Cancel,
    *,
    patience: float,
) -> Generator[tuple[int, Future[T]]]:
    """What `ask` says of each source, with the number of that, as it comes. The next source is
    asked when the caller wants another answer, and when those before have been silent for
    `patience` seconds. When the caller closes the generator, those that are still asked are ended:
    their connections too. Raises :class:`Cancelled`.
    """
    waiting = deque(enumerate(sources))
    asked: list[_Turn[T]] = []
    due = time.monotonic()
    try:
        while waiting or asked:
            now = time.monotonic()
            if waiting and now >= due:
                asked.append(_begin(ask, *waiting.popleft()))
                due = now + patience
            left = min(_LOOK, max(0.0, due - now)) if waiting else _LOOK
            wait([one.future for one in asked], left, FIRST_COMPLETED)
            cancel.check()
            check_ended()
            done = next((one for one in asked if one.future.done()), None)
            if done is not None:
                asked.remove(done)
                yield done.number, done.future
                due = time.monotonic()
    finally:
        for one in asked:
            one.sockets.close()


def _begin(ask: Callable[[int, Source], T], number: int, source: Source) -> _Turn[T]:
    sockets = OpenSockets()

    def work() -> T:
        QUESTION.set(sockets)
        return ask(number, source)

    return _Turn(number, beside(work), sockets)
