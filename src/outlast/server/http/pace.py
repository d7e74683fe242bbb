"""How fast replies may go out: a bucket of tokens that all of them share."""

import time
from collections.abc import Callable
from typing import Protocol

_FREE = 16 * 1024 * 1024
_LEAST = 16 * 1024
_TURN = 0.05
_BURST = 0.25
_ASK_EVERY = 1.0


class Pace(Protocol):
    """What tells a reply how much it may send next."""

    def reserve(self, most: int) -> tuple[int, float]:
        """How many of `most` bytes may go, at least one, and in how many seconds."""


class Bucket:
    """Bytes per second, the same for all who share it; `rate` is asked every second, 0 is no
    limit. Turns come in the order in which they were reserved, so that slow and fast clients get
    the same. It belongs to one thread.
    """

    def __init__(
        self, rate: Callable[[], int], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._rate = rate
        self._clock = clock
        self._level = 0.0
        self._at = self._asked = clock()
        self._now = rate()

    def reserve(self, most: int) -> tuple[int, float]:
        """See :class:`Pace`. Where there is no limit a turn is 16 MiB, so that one that comes into
        force is soon felt by replies that are under way.
        """
        now = self._clock()
        since, self._at = now - self._at, now
        if now - self._asked >= _ASK_EVERY:
            self._asked, self._now = now, self._rate()
        rate = self._now
        if rate <= 0:
            self._level = 0.0
            return min(most, _FREE), 0.0
        self._level = min(rate * _BURST, self._level + since * rate)
        count = min(most, max(_LEAST, int(rate * _TURN)))
        self._level -= count
        return count, max(0.0, -self._level / rate)
