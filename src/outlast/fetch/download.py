"""One file on its way in: its pieces, who sent each, and the verdict over the whole."""

import contextlib
import logging
import os
import threading
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Protocol

from outlast.codec import merkle
from outlast.codec.hashing import BlobHasher
from outlast.core.cancel import Cancel
from outlast.core.digest import Names
from outlast.core.errors import Cancelled, IntegrityError
from outlast.core.manifest import FileEntry
from outlast.fetch.plan import DIRECT, FetchPlan
from outlast.fetch.source_state import SourceState
from outlast.fetch.tuning import TUNING, Tuning
from outlast.store.partials import Partial

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Given:
    """A piece that a source was asked for, `since` (monotonic seconds)."""

    source: SourceState
    since: float
    doubled: bool = False


class Watcher(Protocol):
    """Follows a file while it comes. Called with the lock of the download held, from its threads:
    must not block.
    """

    def advanced(self) -> None:
        """The frontier moved."""

    def mismatched(self) -> None:
        """Pieces below the frontier may have been wrong: they come anew."""


class Swarmed(Protocol):
    """The same file in a swarm, which writes into the partial itself. See `swarm.torrent`."""

    def give(self, index: int, data: bytes) -> None: ...
    def leave_out(self, index: int, *, out: bool = True) -> None: ...
    def has(self, index: int) -> bool: ...
    def close(self) -> None: ...


Join = Callable[[Callable[[list[int]], None]], Swarmed]
"""Starts swarming a partial. The callback receives the indexes of pieces that were written and
verified."""


class Download:
    """A file that is being fetched into a partial, from any number of sources at once, and from a
    swarm: a blob's plain bytes or its capsule, as the `plan` says.
    """

    def __init__(
        self,
        entry: FileEntry,
        partial: Partial,
        plan: FetchPlan = DIRECT,
        tuning: Tuning = TUNING,
    ) -> None:
        self._tuning = tuning
        self.entry = entry
        self.partial = partial
        self.payload = plan.payload
        self.tree = plan.tree
        self.size = partial.size
        self.count = merkle.piece_count(self.size)
        self.frontier = 0
        """Pieces that are here without a gap, from the start."""
        self.changed = threading.Condition()
        self.error: Exception | None = None
        self.watcher: Watcher | None = None
        self._suspect: SourceState | None = None
        """The source on probation: after a mismatch the file is fetched from it alone, as long as
        it can be asked.
        """
        self._given: dict[int, _Given] = {}
        self._sending_all: set[SourceState] = set()
        self._writing: set[int] = set()
        self._owners: dict[int, SourceState] = {}
        self._hashes: dict[int, bytes] = {}
        self._doubted: list[tuple[int, SourceState | None, bytes]] = []
        self._next = 0
        self._accepted = 0
        self.swarm: Swarmed | None = None
        self.torn = False
        """A piece that was here when the swarm began proved wrong: the swarm has to be told."""
        self._lent: set[int] = set()
        self._coming: dict[int, memoryview] = {}
        """Of pieces on their way, what has come: of a slow source it is all there is to show."""
        self._settled = self._closed = False
        self._advance()

    # Handing out work

    def take(self, source: SourceState) -> tuple[int, int] | None:
        """Pieces `first` to `last` (exclusive) that `source` should fetch next, if any."""
        with self.changed:
            if self.error is not None or self._is_barred(source):
                return None
            if not source.ranges:
                return self._take_all(source)
            room = self._tuning.in_flight - len(self._given)
            wrong = source.wrong_pieces(self.entry.key)
            first = self._first_free(wrong)
            # A peer first shows with one piece that it has the file: else a chunk is wasted.
            chunk = self._tuning.chunk if source.received or not source.is_peer else 1
            if first is None or room < min(chunk, self.count - first):
                return self._take_slow(
                    source, wrong
                )  # a whole chunk or nothing: requests cost time
            last = first
            while last - first < min(chunk, room) and last < self.count and self._is_free(last):
                if last in wrong:
                    break
                self._given[last] = _Given(source, time.monotonic())
                if self.swarm is not None:
                    self.swarm.leave_out(last)
                last += 1
            return first, last

    def _is_free(self, index: int) -> bool:
        if self.partial.have[index] or index in self._given or index in self._lent:
            return False
        return self.swarm is None or not self.swarm.has(index)

    def _first_free(self, wrong: Collection[int]) -> int | None:
        """The first piece to ask for that is not `wrong` there."""
        while self._next < self.count and not self._is_free(self._next):
            self._next += 1
        first = self._next
        while wrong and first < self.count and (first in wrong or not self._is_free(first)):
            first += 1
        return first if first < self.count else None

    def _take_all(self, source: SourceState) -> tuple[int, int] | None:
        """For a source without ranges: the whole file, on one connection."""
        if self.frontier == self.count or not self.give_all(source):
            return None
        return 0, self.count

    def give_all(self, source: SourceState) -> bool:
        """Notes that `source` sends the whole file, whatever it was asked for; False if it does
        so already.
        """
        now = time.monotonic()
        with self.changed:
            if source in self._sending_all:
                return False
            self._sending_all.add(source)
            for index in range(self.frontier, self.count):
                if not self.partial.have[index]:
                    self._given.setdefault(index, _Given(source, now))
            return True

    def _take_slow(self, source: SourceState, wrong: Collection[int]) -> tuple[int, int] | None:
        """No piece is left: requests a second time the one that another source is slowest with."""
        now = time.monotonic()
        for index, given in sorted(self._given.items()):
            if (
                given.source is not source
                and index not in wrong
                and not given.doubled
                and now - given.since > self._tuning.hedge_after
            ):
                given.doubled = True
                return index, index + 1
        return None

    def release(self, source: SourceState, first: int, last: int) -> None:
        """Takes back the pieces that `source` was asked for and did not deliver."""
        with self.changed:
            if (first, last) == (0, self.count):
                self._sending_all.discard(source)
            for index in range(first, last):
                given = self._given.get(index)
                if given is None:
                    continue
                if given.source is source:
                    del self._given[index]
                    self._next = min(self._next, index)
                    if self.swarm is not None:
                        self.swarm.leave_out(index, out=False)
                else:
                    given.doubled = False

    # Taking bytes in

    @contextlib.contextmanager
    def showing(self, index: int, piece: memoryview) -> Iterator[Callable[[int], None]]:
        """While a piece comes and until it was accepted: what is called says how many of its bytes
        are here, from its start.
        """

        def came_so_far(count: int) -> None:  # no lock: called for each read, and one word is set
            self._coming[index] = piece[:count]

        try:
            yield came_so_far
        finally:
            with self.changed:  # a sample is copied under it, and the buffer is used again
                self._coming.pop(index, None)

    def accept(self, source: SourceState, index: int, data: memoryview) -> bool:
        """Stores a piece that `source` delivered; False if another source was quicker, or is on
        probation. Raises :class:`IntegrityError` if the tree says that the piece is wrong.
        """
        with self.changed:
            unwanted = self._is_barred(source) or self.error is not None or source.banned
            if unwanted or self.partial.have[index] or index in self._writing:
                return False
            self._writing.add(index)
            swarm = self.swarm
        try:
            digest = merkle.piece_hash(data)
            if self.tree is not None and not self.tree.matches(index, data, digest):
                raise IntegrityError(
                    f"{source.name} sent a wrong piece {index} of {self.entry.path}"
                )
            if swarm is not None:
                swarm.give(index, bytes(data))
            else:
                self.partial.write(index, data)
            with self.changed:
                if swarm is not self.swarm:
                    return False  # it ended meanwhile, and may not have written it
                if swarm is not None:
                    self._lent.add(index)
                self._owners[index] = source
                self._hashes[index] = digest
                self._given.pop(index, None)
                self._accepted += 1
                flush = self._accepted % self._tuning.flush_every == 0
                self._advance()
            if flush:
                self.partial.flush()
        finally:
            with self.changed:
                self._writing.discard(index)
                self.changed.notify_all()
        return True

    # The swarm

    def attach(self, join: Join) -> None:
        """From now on the swarm writes into the partial, and gets what sources deliver."""
        with self.changed:
            while self._writing:
                self.changed.wait(0.1)
            if self.error is None and self.swarm is None and not self._settled:
                self.torn = False
                self.swarm = join(self._noted)
                for index in self._given:  # what is under way comes to its end
                    self.swarm.leave_out(index)

    def detach(self) -> None:
        """Ends the swarm; sources go on."""
        swarm = self.swarm
        if swarm is None:
            return
        swarm.close()
        with self.changed:
            if self.swarm is swarm:
                self.swarm = None
                self._lent.clear()
                self._next = 0

    def settle(self) -> None:
        """The file is complete and about to be renamed: no swarm may have it open any more."""
        with self.changed:
            self._settled = True
        self.detach()

    def _noted(self, pieces: list[int]) -> None:
        """The swarm wrote these pieces, and verified them."""
        with self.changed:
            if self._closed:
                return
            for index in pieces:
                if not self.partial.have[index]:
                    self.partial.mark(index)
                    if self.tree is not None and self.tree.layer:
                        self._hashes[index] = self.tree.hash_of(index)
                    self._lent.discard(index)
                    self._given.pop(index, None)
            self._advance()

    def _advance(self) -> None:
        while self.frontier < self.count and self.partial.have[self.frontier]:
            self.frontier += 1
        with self.changed:
            self.changed.notify_all()
            if self.watcher is not None:
                self.watcher.advanced()

    def close(self) -> None:
        """From now on nothing is written to the partial, even if a late connection delivers."""
        self.fail(Cancelled("the transfer of this file is over"))
        with self.changed:
            while self._writing:
                self.changed.wait(0.1)
        self.detach()
        with self.changed:
            self._closed = True
            self.changed.notify_all()

    def await_closed(self) -> None:
        """Returns once :meth:`close` was called and nothing writes to the partial any more."""
        with self.changed:
            while not self._closed:
                self.changed.wait()

    def fail(self, error: Exception) -> None:
        with self.changed:
            self.error = self.error or error
            self.changed.notify_all()

    # Judging the whole

    def hash(self, cancel: Cancel, hashed: Callable[[int], None]) -> Names:
        """Hashes the file in order while its pieces come; returns once it is whole. `hashed` is
        told how many bytes are hashed.
        """
        hasher = BlobHasher(self.size, git=self.entry.git_sha1 is not None)
        for piece, digest in self.pieces(cancel):
            hasher.update(piece, digest)
            hashed(hasher.hashed)
        return hasher.names()

    def pieces(self, cancel: Cancel) -> Iterator[tuple[memoryview, bytes]]:
        """All pieces in order with their hashes, each as soon as it is here and verified by the
        tree, if there is one. A piece is valid until the next one is asked for.
        """
        buffer = memoryview(bytearray(merkle.PIECE))
        index = 0
        while index < self.count:
            with self.changed:
                while self.frontier <= index and self.error is None:
                    self.changed.wait(0.5)
                    cancel.check()
                if self.error is not None:
                    raise self.error
            piece = self.partial.read(index, buffer)
            digest = self._hashes.get(index)
            if digest is None:  # it was here before this run
                digest = merkle.piece_hash(piece)
                if self.tree is not None and not self.tree.matches(index, piece, digest):
                    self._lose(index)
                    continue
                self._hashes[index] = digest
            yield piece, digest
            index += 1
            if self.swarm is not None and index % self._tuning.flush_every == 0:
                self.partial.flush()  # `accept` does it for pieces from sources

    def shows_end(self) -> bool:
        """Whether the last piece is here and verified: in a swarm it may come before the rest."""
        last = self.count - 1
        if self.tree is None or not self.partial.have[last]:
            return False
        piece = self.partial.read(last, memoryview(bytearray(merkle.PIECE)))
        return self.tree.matches(last, piece)

    def _lose(self, index: int) -> None:
        """A piece in the partial is wrong: it is fetched again."""
        _log.debug("%s: piece %d in the partial is wrong, fetched again", self.entry.path, index)
        with self.changed:
            self.partial.forget(index)
            self.frontier = self._next = min(self.frontier, index)
            self.torn = self.swarm is not None
            if self.watcher is not None:
                self.watcher.mismatched()

    @property
    def is_asked_for(self) -> bool:
        """Whether a source was asked for pieces that have not come."""
        with self.changed:
            return bool(self._given)

    @property
    def here(self) -> int:
        """Bytes that are here without a gap from the start, those of a piece on its way too."""
        with self.changed:
            return self._written + len(self._coming.get(self.frontier, b""))

    @property
    def _written(self) -> int:
        """Bytes of the partial that are here without a gap from the start."""
        return min(self.size, self.frontier * merkle.PIECE)

    def sample(self, start: int, stop: int) -> bytes | None:
        """A few bytes of what is here without a gap from the start, which may be wrong as yet; None
        where they are not here, or no more.
        """
        with self.changed:
            written, coming = self._written, self._coming.get(self.frontier, memoryview(b""))
            if self._closed or not 0 <= start < stop <= written + len(coming):
                return None
            count = max(0, min(stop, written) - start)
            data = os.pread(self.partial.fd, count, start) if count else b""
            return data + bytes(coming[max(0, start - written) : max(0, stop - written)])

    def missing(self) -> list[int]:
        """The pieces that are not here."""
        return [index for index in range(self.count) if not self.partial.have[index]]

    def liars(self) -> list[SourceState]:
        """After the file was verified: the sources that had sent other bytes for some piece."""
        return [
            source
            for index, source, digest in self._doubted
            if source is not None and self._hashes[index] != digest
        ]

    def find_liar(self) -> SourceState | None:
        """After a mismatch: prepares the next attempt.

        A source that sent the whole file is guilty and is returned. What came from sources that
        cannot be asked any more is fetched again. Otherwise the source with the largest share is
        put on probation: the rest is fetched again from it alone. Then either the file is right,
        and the pieces that differ show who lied; or that source is the liar.
        """
        with self.changed:
            if self.watcher is not None:
                self.watcher.mismatched()
            shares = [self._owners.get(index) for index in range(self.count)]
            known = {source for source in shares if source is not None}
            guilty = known.pop() if len(known) == 1 and None not in shares else None
            lost = {source for source in known if not source.serves(self.entry.key)}
            self._suspect = None
            if guilty is None and not lost:
                self._suspect = max(known, key=shares.count, default=None)
            if self._suspect is not None:
                name = self._suspect.name
                _log.debug("%s does not match: fetched again from %s alone", self.entry.path, name)
            kept = {*shares} - lost if lost else {self._suspect} - {None}
            for index, owner in enumerate(shares):
                if guilty is None:
                    self._doubted.append((index, owner, self._hashes[index]))
                if owner not in kept:
                    self._forget(index)
            self.frontier = self._next = 0
            self._advance()
        return guilty

    def _is_barred(self, source: SourceState) -> bool:
        """Whether another source is on probation. One that cannot be asked any more, perhaps for
        what another file showed, is not: the others continue.
        """
        suspect = self._suspect
        return suspect is not None and suspect is not source and suspect.serves(self.entry.key)

    def _forget(self, index: int) -> None:
        self.partial.forget(index)
        self._owners.pop(index, None)
        self._hashes.pop(index, None)

    def verdict(self, names: Names) -> IntegrityError | None:
        """What is wrong with the file, if anything."""
        problem = self.entry.mismatch(names)
        return None if problem is None else IntegrityError(f"{self.entry.path}: {problem}")
