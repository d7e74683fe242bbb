"""A token bucket: the one way in which anything here is held to a rate."""

import threading
import time
from collections.abc import Callable

from outlast.core.cancel import Cancel


class TokenBucket:
    """Earns `rate` tokens per second and saves up to `burst` seconds' worth of them. Thread-safe.

    A token is whatever the caller counts: bytes, datagrams. `clock` gives seconds of any origin;
    where it stands still or goes back, nothing is earned.
    """

    def __init__(
        self,
        rate: float,
        *,
        burst: float = 1.0,
        full: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`full`: the first burst is there at once; otherwise it has to be earned."""
        self._rate = rate
        self._burst = burst
        self._clock = clock
        self._lock = threading.Lock()
        self._level = rate * burst if full else 0.0
        self._at = clock()

    @property
    def rate(self) -> float:
        """Tokens per second."""
        return self._rate

    @rate.setter
    def rate(self, rate: float) -> None:
        """Takes effect from the last use on: a burst saved at a higher rate is cut."""
        with self._lock:
            self._rate = rate

    def take(self, count: float, cancel: Cancel) -> None:
        """Takes `count` tokens, waiting until they are earned, or until `cancel` is set."""
        seconds = self.spend(count)
        if seconds > 0:
            cancel.wait(seconds)

    def try_take(self, count: float = 1.0) -> bool:
        """Takes `count` tokens if they are there; otherwise takes none and returns False."""
        with self._lock:
            self._earn()
            if self._level < count:
                return False
            self._level -= count
            return True

    def spend(self, count: float) -> float:
        """Takes `count` tokens at once, as a debt if need be. Returns the seconds until the debt
        is paid: callers take turns in the order in which they called. Needs a rate above 0.
        """
        with self._lock:
            self._earn()
            self._level -= count
            return max(0.0, -self._level / self._rate)

    def _earn(self) -> None:
        now = self._clock()
        passed, self._at = max(0.0, now - self._at), now
        self._level = min(self._rate * self._burst, self._level + passed * self._rate)
