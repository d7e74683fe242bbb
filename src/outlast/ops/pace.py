"""A bandwidth cap shared by all connections."""

import threading
import time

from outlast.model.cancel import Cancel


class Pace:
    """A token bucket of `rate` bytes per second that holds at most one second's worth."""

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._lock = threading.Lock()
        self._credit = float(rate)
        self._last = time.monotonic()

    def take(self, count: int, cancel: Cancel) -> None:
        """Waits until `count` bytes may be moved. A debt is paid before the next bytes."""
        with self._lock:
            now = time.monotonic()
            self._credit = min(self._rate, self._credit + (now - self._last) * self._rate)
            self._last = now
            self._credit -= count
            debt = -self._credit / self._rate
        if debt > 0:
            cancel.wait(debt)
