"""Bandwidth caps, each shared by all connections."""

import threading
import time
from collections.abc import Callable

from outlast.core.addresses import is_local, plain_address
from outlast.core.cancel import Cancel
from outlast.swarm.schedule import Rates


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


class Incoming:
    """The caps on what peers send over HTTP, for the LAN and beyond it; `rates` is asked which
    hold now. Thread-safe.
    """

    def __init__(self, rates: Callable[[], Rates]) -> None:
        self._rates = rates
        self._lock = threading.Lock()
        self._paces: dict[bool, tuple[int, Pace]] = {}

    def take(self, host: str, count: int, cancel: Cancel) -> None:
        """Waits until `count` bytes may come from the address `host`."""
        near = is_local(plain_address(host))
        rates = self._rates()
        rate = rates.lan_down if near else rates.down
        if rate <= 0:
            return
        with self._lock:
            known = self._paces.get(near)
            if known is None or known[0] != rate:
                known = self._paces[near] = rate, Pace(rate)
        known[1].take(count, cancel)
