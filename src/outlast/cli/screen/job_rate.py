"""How fast a job goes, and how long the rest of it takes."""

import threading
from collections import deque
from collections.abc import Callable
from typing import Final

WINDOW: Final = 30.0
"""Seconds that the rate looks back: long enough for a figure that stands still, short enough for
one that follows."""
_STEP: Final = 1.0
"""Seconds between two samples, and until there is a rate at all."""


class JobRate:
    """What a job has done of `total` bytes (0: not known), of which `present` were
    done before. The rate is that of the last 30 s by `clock`, in seconds. Thread-safe.
    """

    def __init__(self, clock: Callable[[], float], total: int, present: int = 0) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._total = max(0, total)
        self._done = present
        self._worked = 0
        self._samples: deque[tuple[float, int]] = deque([(clock(), 0)])

    @property
    def done(self) -> int:
        """Bytes that are done, at most all of them."""
        return max(0, min(self._done, self._total) if self._total else self._done)

    @property
    def percent(self) -> int | None:
        """From 0 to 100, which is all of it; None where the total is not known."""
        if not self._total:
            return None
        return 100 if self._done == self._total else min(99, 100 * self.done // self._total)

    def advance(self, count: int) -> None:
        """`count` more bytes are done."""
        now = self._clock()
        with self._lock:
            self._worked += count
            self._done += count
            if now - self._samples[-1][0] >= _STEP:
                self._samples.append((now, self._worked))
            while len(self._samples) > 1 and self._samples[1][0] <= now - WINDOW:
                self._samples.popleft()

    def repeat(self, count: int) -> None:
        """`count` of the bytes that were done have to be done again."""
        with self._lock:
            self._done -= count

    def rate(self) -> float | None:
        """Bytes per second; None in the first second."""
        now = self._clock()
        with self._lock:
            since, before = self._samples[0]
            for moment, worked in self._samples:
                if moment > now - WINDOW:
                    break
                since, before = moment, worked
            elapsed = now - max(since, now - WINDOW)
            return (self._worked - before) / elapsed if elapsed >= _STEP else None

    def left(self) -> float | None:
        """Seconds until the rest is done; None where nothing tells: the total is not known, the
        job has done more than was planned, or nothing was done of late.
        """
        rate = self.rate()
        rest = self._total - self._done
        if not self._total or rest < 0 or not rate or rate < 1:
            return None
        return rest / rate


def duration(seconds: float) -> str:
    """The two largest units: ``2 h 05 min``."""
    whole = int(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60:02} min"
    days = whole // 86400
    return f"{days:,} {'day' if days == 1 else 'days'} {whole % 86400 // 3600} h"
