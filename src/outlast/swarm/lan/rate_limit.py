"""How many datagrams are read, of each sender and in all; more are dropped unread."""

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from outlast.core.ratelimit import TokenBucket
from outlast.swarm.tuning import TUNING, LanTuning

PER_SENDER: Final = 400
"""Datagrams per second. A node with 4096 wishes sends 128 on each interface, and many nodes may
share an address."""


class DatagramLimit:
    """Remembers the last senders. Not thread-safe."""

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, tuning: LanTuning = TUNING.lan
    ) -> None:
        self._tuning = tuning
        self._clock = clock
        self._all = self._bucket(tuning.datagrams_in_all)
        self._senders: OrderedDict[str, TokenBucket] = OrderedDict()

    def _bucket(self, rate: float) -> TokenBucket:
        return TokenBucket(rate, burst=self._tuning.burst_s, clock=self._clock)

    def __len__(self) -> int:
        return len(self._senders)

    def allows(self, sender: str) -> bool:
        """Whether one more datagram of `sender` is to be read now."""
        bucket = self._senders.pop(sender, None) or self._bucket(PER_SENDER)
        self._senders[sender] = bucket
        if len(self._senders) > self._tuning.senders:
            self._senders.popitem(last=False)
        return bucket.try_take() and self._all.try_take()
