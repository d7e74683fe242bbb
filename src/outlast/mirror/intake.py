"""What clients may make a mirror fetch: how much, how fast, and how many files at once.

A mirror keeps what it fetches, and every client may name a model. So each asker has a
share of the fetches and a quota, and the disk a part that stays free.
"""

import contextlib
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from outlast.core.asker import ASKER
from outlast.core.errors import DiskFullError, ExhaustedError
from outlast.core.threads import DaemonPool
from outlast.mirror.limits import IntakeLimits
from outlast.mirror.tuning import TUNING, MirrorTuning
from outlast.store import disk

_HOUR: Final = 3600.0


@dataclass(slots=True)
class _Account:
    """What one asker had since `since` (monotonic seconds)."""

    since: float
    fetched: int = 0
    questions: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class _Waiting:
    """A fetch whose turn has not come. `wanted` tells whether a client waits for it."""

    small: bool
    work: Callable[[], None]
    wanted: Callable[[], bool]


@dataclass(slots=True)
class _Line:
    """The fetches of one asker: those that run, by whether they are small, and those that wait."""

    running: Counter[bool] = field(default_factory=Counter)
    waiting: list[_Waiting] = field(default_factory=list)

    def next(self, *, small: bool) -> _Waiting | None:
        """The one to begin: the first that a client waits for, else the first of all."""
        found = [one for one in self.waiting if one.small == small]
        return next((one for one in found if one.wanted()), found[0] if found else None)


class Admission:
    """Lets fetches begin. Thread-safe."""

    def __init__(
        self,
        home: Path,
        limits: IntakeLimits,
        tuning: MirrorTuning = TUNING,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._home = home
        self._limits = limits
        self._tuning = tuning
        self._clock = clock
        self._lock = threading.Lock()
        self._accounts: OrderedDict[str, _Account] = OrderedDict()
        self._awaited = 0
        """Bytes of all fetches, of which some are on the disk already:"""
        self._written: dict[object, Callable[[], int]] = {}
        """so many, of each that is under way."""
        self._lines: OrderedDict[str, _Line] = OrderedDict()
        self._running: Counter[bool] = Counter()
        """Fetches under way, by whether they are small."""
        threads = (tuning.fetches + tuning.small_fetches) * tuning.crowding
        self._pool = DaemonPool(threads, "fetch")

    def question(self) -> None:
        """The asker wants to know of something that is not here. Raises :class:`ExhaustedError`."""
        with self._lock:
            account = self._account(ASKER.get())
            if account.questions >= self._tuning.questions:
                raise self._over(account, "asked for too many models that are not here")
            account.questions += 1

    def admit(self, size: int) -> None:
        """The asker wants a file of `size` bytes fetched, which `submit` then does. Raises
        :class:`ExhaustedError`, or :class:`DiskFullError`.
        """
        asker = ASKER.get()
        with self._lock:
            line = self._lines.get(asker)
            if not size:
                return
            if (
                line is not None
                and line.running.total() + len(line.waiting) >= self._tuning.fetches_each
            ):
                raise ExhaustedError("this client waits for too many files", retry_after=5.0)
            account, hourly = self._account(asker), self._limits.hourly
            if hourly and account.fetched and account.fetched + size > hourly:
                raise self._over(account, f"had {hourly:,} bytes fetched, its quota for an hour")
            keep = self._keep_free()
            if self._unpromised() - size < keep:
                raise DiskFullError(
                    f"no room for a file of {size:,} bytes: {keep:,} bytes of the disk stay free",
                    hint="the operator can free space, or set keep-free in [serve]",
                )
            account.fetched += size

    @contextlib.contextmanager
    def beside(self) -> Iterator[Callable[[int], bool]]:
        """For the time of a fetch, what asks for bytes of the disk beside those of its file, as a
        capsule takes while the plain form is still there. They are promised as those of files are,
        and the answer is no where they would come from what stays free.
        """
        claimed = 0

        def claim(size: int) -> bool:
            nonlocal claimed
            with self._lock:
                if self._unpromised() - size < self._keep_free():
                    return False
                self._awaited += size
                claimed += size
                return True

        try:
            yield claim
        finally:
            with self._lock:
                self._awaited -= claimed

    def _unpromised(self) -> int:
        """Bytes of the disk that no fetch needs."""
        written = sum(count() for count in self._written.values())
        return disk.free_bytes(self._home) - self._awaited + written

    def _keep_free(self) -> int:
        if self._limits.keep_free is not None:
            return self._limits.keep_free
        share = int(disk.total_bytes(self._home) * self._tuning.keep_free_share)
        return min(self._tuning.keep_free, share)

    def _account(self, asker: str) -> _Account:
        now = self._clock()
        account = self._accounts.get(asker)
        if account is None or now - account.since >= _HOUR:
            account = self._accounts[asker] = _Account(now)
        self._accounts.move_to_end(asker)
        while len(self._accounts) > self._tuning.accounts:
            self._accounts.popitem(last=False)
        return account

    def _over(self, account: _Account, what: str) -> ExhaustedError:
        left = max(1.0, account.since + _HOUR - self._clock())
        return ExhaustedError(f"this client {what}: wait {left:.0f} s", retry_after=left)

    def submit(
        self,
        size: int,
        work: Callable[[], None],
        wanted: Callable[[], bool] = lambda: True,
        written: Callable[[], int] = lambda: 0,
    ) -> None:
        """Runs `work`, a fetch of `size` bytes, in a thread as soon as it is the asker's turn.
        Askers take turns; one that has none under way begins at once, even if others have all.
        Small files do not wait for large ones, and what a client waits for (`wanted`) comes first.
        `written` says how many bytes are on the disk: these are promised no more. It must not
        block.
        """
        asker = ASKER.get()
        small = size <= self._tuning.small_fetch

        def run() -> None:
            with self._lock:
                self._written[run] = lambda: min(size, written())
            try:
                work()
            finally:
                self._ended(asker, size, run, small=small)

        with self._lock:
            self._awaited += size
            line = self._lines.setdefault(asker, _Line())
            line.waiting.append(_Waiting(small, run, wanted))
            self._start_some()

    def _ended(self, asker: str, size: int, run: object, *, small: bool) -> None:
        with self._lock:
            self._awaited -= size
            del self._written[run]
            self._running[small] -= 1
            line = self._lines[asker]
            line.running[small] -= 1
            if not line.running.total() and not line.waiting:
                del self._lines[asker]
            self._start_some()

    def _start_some(self) -> None:
        self._start(self._tuning.small_fetches, small=True)
        self._start(self._tuning.fetches, small=False)

    def _start(self, most: int, *, small: bool) -> None:
        """Starts what may run, `most` at once: always the next of the asker that has the fewest."""
        while True:
            found = [(line, line.next(small=small)) for line in self._lines.values()]
            waiting = [(line, one) for line, one in found if one is not None]
            if not waiting:
                return
            line, one = min(waiting, key=lambda pair: pair[0].running[small])
            crowding = 1 if line.running[small] else self._tuning.crowding
            if self._running[small] >= most * crowding:
                return
            self._running[small] += 1
            line.running[small] += 1
            line.waiting.remove(one)
            self._pool.submit(one.work)
