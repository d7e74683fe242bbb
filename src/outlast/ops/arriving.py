"""Files that arrive while clients already read them: one fetch, however many ask."""

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from outlast.model import merkle
from outlast.model.digest import GitOid
from outlast.model.errors import OutlastError
from outlast.model.manifest import FileEntry
from outlast.model.names import RepoId
from outlast.ops.arrival import Arrival
from outlast.ops.pull import Crew, fetch_files
from outlast.ops.scribe import Scribe
from outlast.store import poison

_AT_ONCE = 6


class Arriving:
    """One file on its way through a mirror, as its readers see it.

    Readers may have the bytes below `readable`; the last piece only when the whole is verified.
    A reader that began in an `epoch` that is over holds bytes that proved wrong, and gets no more.
    """

    def __init__(self, entry: FileEntry) -> None:
        self.entry = entry
        self.epoch = 0
        self.finished = False
        self.error: OutlastError | None = None
        self._lock = threading.Lock()
        self._arrival: Arrival | None = None
        self._listeners: set[Callable[[], None]] = set()
        self._sent = 0
        self.bad: list[poison.Poisoned] = []

    @property
    def readable(self) -> int:
        """Bytes from the start that readers may have."""
        if self.finished:
            return self.entry.size
        arrival = self._arrival
        if arrival is None:
            return 0
        held_back = (arrival.count - 1) * merkle.PIECE
        return min(arrival.frontier * merkle.PIECE, held_back)

    def open(self) -> int | None:
        """A descriptor of the bytes so far (to be closed by the caller); None before the first."""
        arrival = self._arrival
        if arrival is None:
            return None
        try:
            return os.open(arrival.partial.path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:  # it just became a blob
            return None

    def grant(self, epoch: int, stop: int) -> bool:
        """Notes that a reader gets the bytes up to `stop`; False where its epoch is over."""
        with self._lock:
            if epoch != self.epoch or self.error is not None:
                return False
            self._sent = max(self._sent, stop)
            return True

    def listen(self, listener: Callable[[], None]) -> None:
        """Calls `listener` (which must not block) whenever something changed."""
        with self._lock:
            self._listeners.add(listener)

    def unlisten(self, listener: Callable[[], None]) -> None:
        with self._lock:
            self._listeners.discard(listener)

    # Called by the transfer

    def started(self, arrival: Arrival) -> None:
        self._arrival = arrival
        arrival.watcher = self
        self.advanced()

    def advanced(self) -> None:
        with self._lock:
            listeners = list(self._listeners)
        for listener in listeners:
            listener()

    def mismatched(self, hashes: list[bytes]) -> None:
        with self._lock:
            self.epoch += 1
            if self._sent:
                pieces = merkle.piece_count(self._sent)
                known = tuple(digest.hex() for digest in hashes[:pieces])
                self.bad.append(poison.Poisoned(self._sent, known))

    def end(self, error: OutlastError | None) -> None:
        with self._lock:
            self.error = error
            self.finished = error is None
        self.advanced()


class Arrivals:
    """All files that a mirror is fetching. One fetch per content, a bounded number at once."""

    def __init__(self, crew: Callable[[], Crew], sealed: Callable[[RepoId, GitOid], None]) -> None:
        self._crew = crew
        self._sealed = sealed
        self._lock = threading.Lock()
        self._running: dict[str, Arriving] = {}
        self._pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="fetch")

    def fetch(self, repo: RepoId, commit: GitOid, entry: FileEntry) -> Arriving:
        """The fetch of `entry`, under way or begun now."""
        with self._lock:
            arriving = self._running.get(entry.key)
            if arriving is None:
                arriving = self._running[entry.key] = Arriving(entry)
                self._pool.submit(self._run, repo, commit, arriving)
        return arriving

    @property
    def count(self) -> int:
        return len(self._running)

    def close(self) -> None:
        """Waits for nothing: what is under way resumes when it is asked for again."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _run(self, repo: RepoId, commit: GitOid, arriving: Arriving) -> None:
        error: OutlastError | None = None
        try:
            crew = self._crew()
            with crew.writer:
                try:
                    self._fetch(crew, repo, commit, arriving)
                finally:
                    for bad in arriving.bad:
                        poison.record(crew.archive, crew.writer, arriving.entry.key, bad)
        except OutlastError as caught:
            error = caught
        except BaseException as caught:
            error = OutlastError(f"a bug in outlast: {caught!r}")
            raise
        finally:
            # Out of the table before the readers hear of the end: who asks again starts anew.
            with self._lock:
                self._running.pop(arriving.entry.key, None)
            arriving.end(error)
        if error is None:
            self._sealed(repo, commit)

    def _fetch(self, crew: Crew, repo: RepoId, commit: GitOid, arriving: Arriving) -> None:
        with Scribe(crew.archive, repo, commit, crew.control.emit) as scribe:
            watch = arriving.started
            done = fetch_files(crew, repo, commit, [arriving.entry], scribe, watch=watch)
        arriving.entry = done.files[0]
