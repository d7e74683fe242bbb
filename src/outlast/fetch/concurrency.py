"""How many requests a source takes at once: no server says it, so it is learned.

Additive increase, multiplicative decrease, for each source and each of its files. A request more
than ever before is sent only when all before it were answered, one at a time, so that a limit
costs one refusal. A request that is refused beside others says nothing of what it asked for: it is
sent again with fewer beside it. One that is refused alone has its answer.
"""

import contextlib
import threading
import time
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Final

from outlast.core.errors import OutlastError
from outlast.fetch.tuning import TUNING, Tuning
from outlast.sources.base import Source

_LONG_AGO: Final = float("-inf")
_MOST_DOUBLINGS: Final = 16


@dataclass(slots=True, eq=False)
class Request:
    """A request to a source for the file `key`, from the moment of sending to its last byte.

    `others` and `same`: the most requests that were under way beside it until it was answered,
    to the source and for the same file. `solo`: it is sent alone, to learn why it was refused.
    """

    key: str
    sent: float
    solo: bool
    others: int = 0
    same: int = 0
    answered: bool = False
    ended: bool = False


@dataclass(slots=True)
class RequestWindow:
    """How many requests may be under way at once."""

    tuning: Tuning
    size: int = 1
    proven: int = 1
    """So many were served at one time."""
    capped: bool = False
    cautious: bool = False
    """After a refusal, until an answer: the next request waits for what becomes of the last."""
    refusals: int = 0
    _answers: int = 0
    """Since the last refusal."""
    _cut_at: float = _LONG_AGO

    def answer(self, others: int, served: int) -> None:
        """A request was answered that had so many `others` beside it, while so many are served."""
        self.proven = max(self.proven, served + 1)
        self._answers += 1
        self.cautious = False
        doublings = min(max(0, self.refusals - 1), _MOST_DOUBLINGS)
        if self.capped and self._answers >= self.tuning.probe_after << doublings:
            self.capped = False
        more = 0 if self.capped else max(others + 2, self.proven + 1)
        self.size = max(self.size, self.proven, more)

    def refuse(self, others: int, sent: float, now: float, *, to_one: bool = False) -> None:
        """A request was refused that was `sent` at that time, and had so many beside it. `to_one`:
        the last cut was not enough.
        """
        if sent < self._cut_at:
            return  # it was under way when the limit was found: it says nothing new
        if to_one:
            self.size = 1
        else:
            self.size = max(self.proven if self.tries_more(others) else 1, others // 2)
        self.proven = min(self.proven, self.size)
        self.capped = self.cautious = True
        self.refusals += 1
        self._answers = 0
        self._cut_at = now

    def tries_more(self, others: int) -> bool:
        """Whether a request with so many beside it is one more than were ever served at once."""
        return others >= self.proven

    def for_next(self) -> "RequestWindow":
        """The window with which another file of the source begins."""
        return replace(
            self, cautious=False, refusals=int(self.capped), _answers=0, _cut_at=_LONG_AGO
        )


@dataclass(slots=True)
class _FileRequests:
    window: RequestWindow
    under_way: int = 0
    answered: bool = False
    refusals: int = 0
    refused_alone: bool = False
    """Refused with nothing beside it, and not answered since: it fails by itself."""


@dataclass(slots=True)
class _Doubt:
    """A request for a file that never came, which was refused beside so many for other files."""

    others: int
    sent: float


@dataclass(slots=True)
class _Queue:
    """Files whose refused request is to be sent again alone, the first of them next."""

    doubts: dict[str, _Doubt] = field(default_factory=dict)
    idle_since: float | None = None
    """Since when nothing is under way, and the first of them is not sent all the same."""

    @property
    def first(self) -> str | None:
        return next(iter(self.doubts), None)


class Concurrency:
    """The requests to one source, by everything in this process that fetches from it, and how many
    may be under way. Times are monotonic seconds. Thread-safe.
    """

    def __init__(
        self, tuning: Tuning = TUNING, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._tuning = tuning
        self._clock = clock
        self._lock = threading.Lock()
        self._window = RequestWindow(tuning)
        self._typical = RequestWindow(tuning)
        self._files: OrderedDict[str, _FileRequests] = OrderedDict()
        self._live: set[Request] = set()
        self._served_at = _LONG_AGO
        """When a request that was answered came to its end: a server may still count it."""
        self._queue = _Queue()
        self._listeners: list[Callable[[], None]] = []

    @contextlib.contextmanager
    def heard_by(self, listener: Callable[[], None]) -> Iterator[None]:
        """Until the block ends, `listener` is called whenever another request may be sent. It may
        take a lock, which callers of `answer` and `end` must not hold.
        """
        with self._lock:
            self._listeners.append(listener)
        try:
            yield
        finally:
            with self._lock:
                self._listeners.remove(listener)

    @property
    def under_way(self) -> int:
        """Requests that were sent and are not at their end."""
        with self._lock:
            return len(self._live)

    @property
    def is_full(self) -> bool:
        """Whether no request may be sent now, for whatever file."""
        with self._lock:
            if self._queue.doubts:
                return bool(self._live)
            return len(self._live) >= self._window.size

    @property
    def solo(self) -> str | None:
        """The only file that may be asked for now, if there is one."""
        with self._lock:
            return self._next_solo(self._clock())

    def may_send(self, key: str) -> bool:
        """Whether a request for the file `key` may be sent now."""
        with self._lock:
            return self._admit(key, self._clock()) is not None

    def send(self, key: str) -> Request | None:
        """A request for the file `key` that may be sent now, and counts as under way from here on;
        None while there may not be another.
        """
        now = self._clock()
        with self._lock:
            solo = self._admit(key, now)
            if solo is None:
                return None
            self._queue.idle_since = None
            file = self._file(key)
            request = Request(key, now, solo)
            file.under_way += 1
            self._live.add(request)
            self._note_neighbours()
            return request

    def _note_neighbours(self) -> None:
        """What is under way beside each request that is not answered yet."""
        for request in self._live:
            if not request.answered:
                same = self._files[request.key].under_way - 1
                request.others = max(request.others, len(self._live) - 1)
                request.same = max(request.same, same)

    def _admit(self, key: str, now: float) -> bool | None:
        """Whether a request that may be sent now has to be sent alone; None if none may be sent."""
        first = self._next_solo(now)
        if first is not None:
            ready = not self._live and now - self._served_at >= self._tuning.settle
            return True if first == key and ready else None
        if len(self._live) >= self._window.size:
            return None
        waiting = [one.key for one in self._live if not one.answered]
        if waiting and self._window.cautious:
            return None
        file = self._files.get(key)
        if file is None:
            return False
        one_by_one = file.window.cautious or file.refusals > self._tuning.file_probes
        if waiting.count(key) >= (1 if one_by_one else self._tuning.unanswered):
            return None
        most = file.window.size if file.answered else 1
        if file.under_way >= most:
            return None
        more_of_all = self._window.tries_more(len(self._live))
        more_of_file = file.window.tries_more(file.under_way)
        if (more_of_all and waiting) or (more_of_file and key in waiting):
            return None
        tries = more_of_all or more_of_file
        return None if tries and file.refusals > self._tuning.file_probes else False

    def _next_solo(self, now: float) -> str | None:
        queue = self._queue
        if queue.first is not None and not self._live:
            if queue.idle_since is None:
                queue.idle_since = now
            if now - queue.idle_since > self._tuning.solo_patience:  # it is not wanted any more
                queue.doubts.pop(queue.first)
                queue.idle_since = None
        return queue.first

    def _file(self, key: str) -> _FileRequests:
        file = self._files.get(key)
        if file is None:
            file = self._files[key] = _FileRequests(self._typical.for_next())
            while len(self._files) > self._tuning.remembered_files:
                oldest = next((k for k, f in self._files.items() if not f.under_way), key)
                if oldest == key:
                    break
                del self._files[oldest]
        self._files.move_to_end(key)
        return file

    def answer(self, request: Request) -> None:
        """The source has begun to send what was asked for."""
        with self._lock:
            if request.answered or request.ended:
                return
            request.answered = True
            file = self._files[request.key]
            served = [one for one in self._live if one.answered and one is not request]
            file.answered, file.refused_alone = True, False
            same = sum(one.key == request.key for one in served)
            file.window.answer(request.same, same)
            if file.window.proven > self._typical.proven and not self._typical.capped:
                self._typical = file.window.for_next()
            self._window.answer(request.others, len(served))
            if request.solo:
                self._settle_solo(request)
        self._tell()

    def _settle_solo(self, request: Request) -> None:
        """Alone it was answered: beside others it was one too many. So were the others in doubt."""
        doubt = self._queue.doubts.get(request.key)
        if doubt is not None and doubt.others:
            self._window.refuse(doubt.others, doubt.sent, self._clock())
        self._queue.doubts.clear()

    def end(self, request: Request, error: OutlastError | None = None) -> bool:
        """The request is at its end. True if it failed with `error` because too many were under
        way: then it is sent again, and it is no failure of the file or the source.
        """
        now = self._clock()
        with self._lock:
            if request.ended:
                return False
            request.ended = True
            self._live.discard(request)
            quiet = request.sent - self._served_at
            if request.answered:
                self._served_at = now
            file = self._files[request.key]
            file.under_way -= 1
            limited = (
                error is not None
                and error.may_be_limit
                and self._is_limit(request, file, now, quiet=quiet)
            )
            if request.solo:
                self._queue.doubts.pop(request.key, None)
        self._tell()
        return limited

    def _is_limit(self, request: Request, file: _FileRequests, now: float, *, quiet: float) -> bool:
        """Whether a refusal may have come of other requests. Cuts the window, or sees to it that
        the request is sent again alone.
        """
        file.refusals += 1
        source_tried = self._window.tries_more(request.others)
        if request.same and (file.window.tries_more(request.same) or not source_tried):
            to_one = file.window.cautious
            file.window.refuse(request.same, request.sent, now, to_one=to_one)
            self._typical = file.window.for_next()
            return not request.answered
        if request.answered:
            return False
        alone = not request.others and quiet >= self._tuning.settle
        if alone or request.solo or file.refused_alone:
            file.refused_alone = True
            return False
        first = source_tried and file.refusals == 1
        if request.others and (first or file.answered):
            self._window.refuse(request.others, request.sent, now)
            return True
        self._queue.doubts.setdefault(request.key, _Doubt(request.others, request.sent))
        return True

    def _tell(self) -> None:
        with self._lock:
            listeners = tuple(self._listeners)
        for listener in listeners:
            listener()


_known: Final[weakref.WeakKeyDictionary[Source, Concurrency]] = weakref.WeakKeyDictionary()
_known_lock: Final = threading.Lock()


def concurrency_of(source: Source) -> Concurrency:
    """What is known of `source` in this process: as long as the source itself is."""
    with _known_lock:
        found = _known.get(source)
        if found is None:
            found = _known[source] = Concurrency()
        return found
