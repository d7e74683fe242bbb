"""What clients may make a mirror fetch: how much, how fast, and how many files at once.

A mirror keeps what it fetches, and every client may name a model. So each asker has a
share of the fetches and a quota, and the disk a part that stays free.
"""

import contextlib
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from outlast.core.asker import ASKER
from outlast.core.errors import DiskFullError, ExhaustedError
from outlast.core.threads import DaemonPool
from outlast.mirror.fetch_queue import Fetch, FetchQueue
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
        self.clock = clock
        self._lock = threading.Lock()
        self._accounts: OrderedDict[str, _Account] = OrderedDict()
        self._awaited = 0
        """Bytes of all fetches, of which some are on the disk already:"""
        self._written: dict[object, Callable[[], int]] = {}
        """so many, of each that is under way."""
        self._queue = FetchQueue(tuning)
        self._watched = False
        """Whether a thread looks at which fetches are deserted."""
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
            if not size:
                return
            if self._queue.count(asker) >= self._tuning.fetches_each:
                raise ExhaustedError("this client waits for too many files", retry_after=5.0)
            account, hourly = self._account(asker), self._limits.hourly
            if hourly and account.fetched and account.fetched + size > hourly:
                raise self._over(account, f"had {hourly:,} bytes fetched, its quota for an hour")
            self._require(size, f"a file of {size:,} bytes")
            account.fetched += size

    def require_room(self, size: int, what: str) -> None:
        """Raises :class:`DiskFullError` unless `size` bytes for `what` leave what stays free."""
        with self._lock:
            self._require(size, what)

    def _require(self, size: int, what: str) -> None:
        keep = self._keep_free()
        if self._unpromised() - size < keep:
            raise DiskFullError(
                f"no room for {what}: {keep:,} bytes of the disk stay free",
                hint="the operator can free space, or set keep-free in [serve]",
            )

    def outstanding(self) -> int:
        """Bytes of the files that are fetched, or wait for it, which are not on the disk yet."""
        with self._lock:
            return max(0, self._awaited - sum(count() for count in self._written.values()))

    def lacking(self, size: int) -> int:
        """How many bytes of the disk have to become free before a file of `size` is let in."""
        with self._lock:
            return max(0, self._keep_free() - (self._unpromised() - size))

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
        now = self.clock()
        account = self._accounts.get(asker)
        if account is None or now - account.since >= _HOUR:
            account = self._accounts[asker] = _Account(now)
        self._accounts.move_to_end(asker)
        while len(self._accounts) > self._tuning.accounts:
            self._accounts.popitem(last=False)
        return account

    def _over(self, account: _Account, what: str) -> ExhaustedError:
        left = max(1.0, account.since + _HOUR - self.clock())
        return ExhaustedError(f"this client {what}: wait {left:.0f} s", retry_after=left)

    def submit(
        self,
        size: int,
        work: Callable[[], bool],
        deserted: Callable[[], float | None] = lambda: None,
        pause: Callable[[], None] = lambda: None,
        written: Callable[[], int] = lambda: 0,
    ) -> None:
        """Runs `work`, a fetch of `size` bytes, in a thread as soon as it is the asker's turn.
        Askers take turns; one that has none under way begins at once, even if others have all.
        Small files do not wait for large ones, and what a client waits for comes first.

        `deserted` says since when no client follows it (by this clock), None while one does. Where
        a client waits for another large file, it is told to `pause`; when `work` then returns True
        it is the last in the queue. `written` says how many bytes are on the disk: these are
        promised no more. None of the three may block.
        """
        asker = ASKER.get()

        def run() -> bool:
            with self._lock:
                self._written[run] = lambda: min(size, written())
            again = False
            try:
                again = work()
            finally:
                self._ended(fetch, size, again=again)
            return again

        fetch = Fetch(asker, size <= self._tuning.small_fetch, run, deserted, pause)
        with self._lock:
            self._awaited += size
            self._queue.add(fetch)
            self._look()

    def _ended(self, fetch: Fetch, size: int, *, again: bool) -> None:
        with self._lock:
            if not again:  # what a paused one has written stays on the disk
                self._awaited -= size
                del self._written[fetch.work]
            self._queue.end(fetch, again=again)
            self._look()

    def _look(self) -> None:
        """Starts what may run, and lets others make room for what clients wait for."""
        now = self.clock()
        for fetch in self._queue.begin(now):
            self._pool.submit(fetch.work)
        for fetch in self._queue.yielding(now):
            fetch.pausing = True
            fetch.pause()
        if self._queue.someone_waits and not self._watched:
            self._watched = True
            threading.Thread(target=self._watch, name="turns", daemon=True).start()

    def _watch(self) -> None:
        """Looks again and again while a file waits: nothing else tells of clients that go, and of
        hubs that are slow.
        """
        while True:
            time.sleep(self._tuning.look)
            with self._lock:
                self._watched = self._queue.someone_waits
                if not self._watched:
                    return
                self._look()
