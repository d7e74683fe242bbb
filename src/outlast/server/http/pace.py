"""How fast replies go out: one bandwidth cap that all of them share, in turns."""

import time
from collections.abc import Callable
from typing import Protocol

from outlast.core.ratelimit import TokenBucket

_UNLIMITED_TURN = 16 * 1024 * 1024
"""Bytes of a turn where there is no cap, so that replies under way soon feel a new one."""
_SHORTEST_TURN = 16 * 1024
"""Bytes: below this the cost of a turn shows."""
_TURN = 0.05
"""Seconds that a turn takes at the cap."""
_BURST = 0.25
"""Seconds' worth that an idle port saves up."""
_ASK_EVERY = 1.0
"""Seconds between two looks at the cap, which follows a schedule."""


class Pace(Protocol):
    """Tells a reply how much it may send next."""

    def reserve(self, most: int) -> tuple[int, float]:
        """How many of `most` bytes may go, at least one, and in how many seconds."""


class SharedPace:
    """A cap in bytes per second for all replies that share it. Turns come in the order in which
    they were reserved, so that slow and fast clients get the same. Belongs to one thread.
    """

    def __init__(
        self, rate: Callable[[], int], clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`rate` is asked once a second; 0 is no limit."""
        self._ask = rate
        self._clock = clock
        self._asked = clock()
        self._bucket = self._new_bucket(rate())

    def _new_bucket(self, rate: int) -> TokenBucket | None:
        if rate <= 0:
            return None
        return TokenBucket(rate, burst=_BURST, full=False, clock=self._clock)

    def reserve(self, most: int) -> tuple[int, float]:
        """See :class:`Pace`."""
        self._follow()
        bucket = self._bucket
        if bucket is None:
            return min(most, _UNLIMITED_TURN), 0.0
        count = min(most, max(_SHORTEST_TURN, int(bucket.rate * _TURN)))
        return count, bucket.spend(count)

    def _follow(self) -> None:
        """Takes up a cap that has changed; what was reserved before still counts."""
        now = self._clock()
        if now - self._asked < _ASK_EVERY:
            return
        self._asked = now
        rate = self._ask()
        if rate > 0 and self._bucket is not None:
            self._bucket.rate = rate
        else:
            self._bucket = self._new_bucket(rate)
