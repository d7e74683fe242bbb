"""The bandwidth caps on what peers send over HTTP, each shared by all connections."""

import threading
import time
from collections.abc import Callable

from outlast.core.addresses import is_local, plain_address
from outlast.core.cancel import Cancel
from outlast.core.ratelimit import TokenBucket
from outlast.swarm.schedule import Rates


class PeerDownloadLimit:
    """One cap for the LAN, one for what lies beyond it. `rates` is asked which caps hold now: they
    follow a schedule. Thread-safe.
    """

    def __init__(
        self, rates: Callable[[], Rates], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._rates = rates
        self._clock = clock
        self._lock = threading.Lock()
        self._buckets: dict[bool, TokenBucket] = {}
        self._received = 0

    @property
    def received(self) -> int:
        """Bytes that came so far."""
        return self._received

    def take(self, host: str, count: int, cancel: Cancel) -> None:
        """Of `count` bytes that came from the address `host`: waits until more may come."""
        with self._lock:
            self._received += count
        near = is_local(plain_address(host))
        rates = self._rates()
        rate = rates.lan_down if near else rates.down
        if rate > 0:
            self._bucket(rate, near=near).take(count, cancel)

    def _bucket(self, rate: int, *, near: bool) -> TokenBucket:
        """A cap that has changed starts anew: a debt at the old rate is not paid at the new one."""
        with self._lock:
            found = self._buckets.get(near)
            if found is None or found.rate != rate:
                found = self._buckets[near] = TokenBucket(rate, clock=self._clock)
            return found
