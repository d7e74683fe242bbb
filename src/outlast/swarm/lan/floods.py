"""How many datagrams are read, of each sender and in all: what is beyond that is dropped unread."""

from collections import OrderedDict
from typing import Final

PER_SENDER: Final = 400.0
"""Datagrams per second. A node with 4096 wishes sends 128 on each interface; many nodes may share
an address."""
IN_ALL: Final = 2000.0
MAX_SENDERS: Final = 512
_SECONDS: Final = 2.0
"""So much of a rate may come at once."""


class Bucket:
    """A token bucket: `rate` a second, two seconds' worth at once."""

    __slots__ = ("_at", "_left", "_rate")

    def __init__(self, rate: float, now: float) -> None:
        self._rate = rate
        self._left = rate * _SECONDS
        self._at = now

    def take(self, now: float) -> bool:
        passed = max(0.0, now - self._at)
        self._left = min(self._rate * _SECONDS, self._left + passed * self._rate)
        self._at = now
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True


class Floods:
    """Remembers the last 512 senders. Not thread-safe."""

    def __init__(self, now: float) -> None:
        self._all = Bucket(IN_ALL, now)
        self._senders: OrderedDict[str, Bucket] = OrderedDict()

    def __len__(self) -> int:
        return len(self._senders)

    def allows(self, sender: str, now: float) -> bool:
        """Whether one more datagram of `sender` is to be read at `now` (seconds, any origin)."""
        bucket = self._senders.pop(sender, None) or Bucket(PER_SENDER, now)
        self._senders[sender] = bucket
        if len(self._senders) > MAX_SENDERS:
            self._senders.popitem(last=False)
        return bucket.take(now) and self._all.take(now)
