"""Proofs of those that claim to fetch a file: a few bytes of it at a place that they cannot
foresee, compared with what the origin sends.

A node that fetches a file whose tree is not known has nothing to give before the end, so that those
that wait for it see no byte. What it says of its progress costs nothing to invent; this does.
"""

import contextlib
import logging
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from outlast.codec.merkle import PIECE
from outlast.core.digest import Digest
from outlast.core.errors import EntryNotFoundError, OutlastError, UnreachableError
from outlast.core.threads import DaemonPool
from outlast.fetch.job import Job
from outlast.fetch.source_state import SourceState
from outlast.fetch.transfer import Work
from outlast.node.peers import Neighbour
from outlast.p2p.tuning import Tuning
from outlast.sources.peer import SAMPLE

_log = logging.getLogger(__name__)
_DOUBLED: Final = 20
"""How often at most what a proof takes is doubled: it is a whole piece long before."""
_random = secrets.SystemRandom()


@dataclass(slots=True)
class ShownBytes:
    """What a node has shown of a file: so many bytes from the start, so many times. `ends`: how
    often it showed bytes of a file that it had to the end.
    """

    size: int = 0
    times: int = 0
    ends: int = 0

    def next_place(self, have: int, size: int, tuning: Tuning) -> int:
        """Where to look now that it has `have` of `size` bytes: in what it did not show before.
        Raises :class:`EntryNotFoundError` where that is too little.
        """
        first = self.size
        more = min(PIECE, tuning.least_bytes << min(self.times, _DOUBLED))
        if have < size - 1 and have < first + more:
            raise EntryNotFoundError("it has too little more of it than before")
        if have <= first:
            if self.ends >= tuning.proofs_of_end:
                raise EntryNotFoundError("it has no more of it than before")
            first = 0  # it has all of it, and still has to verify or to encode it
        return first + _random.randrange(max(1, have - first - SAMPLE))

    def note(self, have: int) -> None:
        """It showed a few of `have` bytes."""
        self.ends += have <= self.size
        self.size = have
        self.times += 1


class Prover:
    """Asks for proofs in the background. Thread-safe."""

    def __init__(self, work: Work, tuning: Tuning) -> None:
        self._work = work
        self._tuning = tuning
        self._lock = threading.Lock()
        self._asking: set[tuple[bytes, Digest]] = set()
        self._shown: OrderedDict[tuple[bytes, Digest], ShownBytes] = OrderedDict()
        self._pool = DaemonPool(tuning.provers, "proof")

    def ask(self, neighbour: Neighbour, job: Job, judged: Callable[[bool], None]) -> None:
        """Asks a neighbour that claims to fetch a file. `judged` is called, from any thread, with
        True if it has more of it than it had shown, with False if its bytes are not the origin's;
        it is not called if that cannot be known.
        """
        blob = job.entry.sha256
        if blob is None:
            return
        asked = neighbour.node, blob
        with self._lock:
            if asked in self._asking or len(self._asking) >= 2 * self._tuning.provers:
                return
            self._asking.add(asked)
        self._pool.submit(self._work.guard, self._ask, neighbour, job, blob, judged)

    def _ask(
        self, neighbour: Neighbour, job: Job, blob: Digest, judged: Callable[[bool], None]
    ) -> None:
        name, path = neighbour.source.name, job.entry.path
        try:
            found = self._compare(neighbour, job, blob)
        except OutlastError as error:
            _log.debug("%s: %s does not show that it fetches it: %s", path, name, error)
        else:
            _log.debug("%s: %s %s", path, name, "fetches it" if found else "shows other bytes")
            judged(found)
        finally:
            with self._lock:
                self._asking.discard((neighbour.node, blob))

    def _compare(self, neighbour: Neighbour, job: Job, blob: Digest) -> bool:
        """Whether the node and the origin have the same bytes. Raises what is no answer."""
        size, timeout = job.entry.size, self._tuning.proof_timeout
        held = neighbour.source.payloads([blob], timeout).get(blob)
        if held is None or held.size != size:
            raise EntryNotFoundError("it has nothing of it")
        asked = neighbour.node, blob
        with self._lock:
            start = self._shown.get(asked, ShownBytes()).next_place(held.have, size, self._tuning)
        theirs = neighbour.source.sample(blob, size, start, timeout)
        ours = self._origin_sample(job, start, start + len(theirs))
        if theirs != ours:
            return False
        with self._lock:
            self._shown.setdefault(asked, ShownBytes()).note(held.have)
            self._shown.move_to_end(asked)
            while len(self._shown) > self._tuning.proofs_kept:
                self._shown.popitem(last=False)
        return True

    def _origin_sample(self, job: Job, start: int, stop: int) -> bytes:
        """The same bytes from a hub or mirror."""
        now, work = time.monotonic(), self._work
        with work.state:
            origins = [s for s in work.sources if _can_tell(s, job, now)]
        if not origins:
            raise UnreachableError("no origin can be asked now")
        origin = origins[0]
        request = origin.concurrency.send(job.entry.key)
        if request is None:
            raise UnreachableError(f"{origin.name} takes no more requests now")
        data = bytearray(stop - start)
        try:
            with contextlib.closing(work.ask(origin, request, job.entry, (start, stop))) as reader:
                if reader.start != start:
                    raise UnreachableError(f"{origin.name} ignores ranges")
                view = memoryview(data)
                while view:
                    count = reader.readinto(view)
                    if not count:
                        raise UnreachableError(f"{origin.name} closed early")
                    view = view[count:]
        finally:
            origin.concurrency.end(request)
        return bytes(data)


def _can_tell(source: SourceState, job: Job, now: float) -> bool:
    asked = not source.is_peer and source.ranges and source.serves(job.entry.key)
    return asked and source.not_before <= now
