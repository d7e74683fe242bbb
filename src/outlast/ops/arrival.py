"""One file on its way in: its pieces, who sent each, and the verdict over the whole."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from outlast.codec import merkle
from outlast.codec.hashing import BlobHasher
from outlast.model.cancel import Cancel
from outlast.model.digest import Names
from outlast.model.errors import Cancelled, IntegrityError, OutlastError
from outlast.model.manifest import FileEntry
from outlast.ops.lanes import Lane
from outlast.store.partials import Partial

IN_FLIGHT = 16
"""Pieces (1 MiB) of one file that may be under way at once: what a crash can cost."""
CHUNK = 4
"""Pieces that one request asks for."""
_HEDGE_AFTER = 3.0
_FLUSH_EVERY = 128


@dataclass(slots=True)
class _Given:
    """A piece that a lane was asked for, `since` (monotonic seconds)."""

    lane: Lane
    since: float
    doubled: bool = False


class Watcher(Protocol):
    """Somebody who follows a file as it arrives. Called with the arrival's lock held, from its
    threads: must not block.
    """

    def advanced(self) -> None:
        """The frontier moved."""

    def mismatched(self) -> None:
        """The whole file proved wrong. It starts anew."""


class Arrival:
    """A file that is being fetched into a partial, from any number of lanes at once."""

    def __init__(self, entry: FileEntry, partial: Partial) -> None:
        self.entry = entry
        self.partial = partial
        self.count = merkle.piece_count(entry.size)
        self.frontier = 0
        """Pieces that are here without a gap, from the start."""
        self.changed = threading.Condition()
        self.error: OutlastError | None = None
        self.watcher: Watcher | None = None
        self.only: Lane | None = None
        """The lane whose version of the file is on trial, after a mismatch."""
        self._given: dict[int, _Given] = {}
        self._sending_all: set[Lane] = set()
        self._writing: set[int] = set()
        self._owners: dict[int, Lane] = {}
        self._hashes: dict[int, bytes] = {}
        self._doubted: list[tuple[int, Lane | None, bytes]] = []
        self._next = 0
        self._accepted = 0
        self._advance()

    # Handing out work

    def take(self, lane: Lane) -> tuple[int, int] | None:
        """Pieces `first` to `last` (exclusive) that `lane` should fetch next, if any."""
        with self.changed:
            if self.error is not None or (self.only is not None and self.only is not lane):
                return None
            if not lane.ranges:
                return self._take_all(lane)
            room = IN_FLIGHT - len(self._given)
            first = self._first_free()
            if first is None or room < min(CHUNK, self.count - first):
                return self._take_slow(lane)  # a whole chunk or nothing: requests cost time
            last = first
            while last - first < min(CHUNK, room) and last < self.count and self._is_free(last):
                self._given[last] = _Given(lane, time.monotonic())
                last += 1
            return first, last

    def _is_free(self, index: int) -> bool:
        return not self.partial.have[index] and index not in self._given

    def _first_free(self) -> int | None:
        while self._next < self.count and not self._is_free(self._next):
            self._next += 1
        return self._next if self._next < self.count else None

    def _take_all(self, lane: Lane) -> tuple[int, int] | None:
        """For a source without ranges: the whole file, on one connection."""
        if self.frontier == self.count or not self.give_all(lane):
            return None
        return 0, self.count

    def give_all(self, lane: Lane) -> bool:
        """Notes that `lane` sends the whole file, whatever it was asked for; False where it does
        so already.
        """
        now = time.monotonic()
        with self.changed:
            if lane in self._sending_all:
                return False
            self._sending_all.add(lane)
            for index in range(self.frontier, self.count):
                if not self.partial.have[index]:
                    self._given.setdefault(index, _Given(lane, now))
            return True

    def _take_slow(self, lane: Lane) -> tuple[int, int] | None:
        """Nothing is left to hand out: double the piece that another lane is slowest with."""
        now = time.monotonic()
        for index, given in sorted(self._given.items()):
            if given.lane is not lane and not given.doubled and now - given.since > _HEDGE_AFTER:
                given.doubled = True
                return index, index + 1
        return None

    def release(self, lane: Lane, first: int, last: int) -> None:
        """Takes back what `lane` was given and did not deliver."""
        with self.changed:
            if (first, last) == (0, self.count):
                self._sending_all.discard(lane)
            for index in range(first, last):
                given = self._given.get(index)
                if given is None:
                    continue
                if given.lane is lane:
                    del self._given[index]
                    self._next = min(self._next, index)
                else:
                    given.doubled = False

    # Taking bytes in

    def accept(self, lane: Lane, index: int, data: memoryview) -> bool:
        """Stores a piece that `lane` delivered; False where another was quicker, or where this
        lane's version is not wanted.
        """
        with self.changed:
            rivals = self.only is not None and self.only is not lane
            unwanted = rivals or self.error is not None or lane.banned
            if unwanted or self.partial.have[index] or index in self._writing:
                return False
            self._writing.add(index)
        try:
            digest = merkle.piece_hash(data)
            self.partial.write(index, data)
            with self.changed:
                self._owners[index] = lane
                self._hashes[index] = digest
                self._given.pop(index, None)
                self._accepted += 1
                flush = self._accepted % _FLUSH_EVERY == 0
                self._advance()
            if flush:
                self.partial.flush()
        finally:
            with self.changed:
                self._writing.discard(index)
        return True

    def _advance(self) -> None:
        while self.frontier < self.count and self.partial.have[self.frontier]:
            self.frontier += 1
        with self.changed:
            self.changed.notify_all()
            if self.watcher is not None:
                self.watcher.advanced()

    def close(self) -> None:
        """From here on nothing is written to the partial, whatever a late connection brings."""
        with self.changed:
            self.error = self.error or Cancelled("the transfer of this file is over")
            while self._writing:
                self.changed.wait(0.1)

    def fail(self, error: OutlastError) -> None:
        with self.changed:
            self.error = self.error or error
            self.changed.notify_all()

    # Judging the whole

    def hash(self, cancel: Cancel, hashed: Callable[[int], None]) -> Names:
        """Hashes the file in order while its pieces come in; returns once it is whole. `hashed` is
        told how many bytes were.
        """
        hasher = BlobHasher(self.entry.size, git=self.entry.git_sha1 is not None)
        buffer = memoryview(bytearray(merkle.PIECE))
        for index in range(self.count):
            with self.changed:
                while self.frontier <= index and self.error is None:
                    self.changed.wait(0.5)
                    cancel.check()
                if self.error is not None:
                    raise self.error
            piece = self.partial.read(index, buffer)
            if index not in self._hashes:  # it was here before this run
                self._hashes[index] = merkle.piece_hash(piece)
            hasher.update(piece, self._hashes[index])
            hashed(hasher.hashed)
        return hasher.names()

    def liars(self) -> list[Lane]:
        """After the file was verified: who had sent other bytes for some piece before."""
        return [
            lane
            for index, lane, digest in self._doubted
            if lane is not None and self._hashes[index] != digest
        ]

    def convict(self) -> Lane | None:
        """After a mismatch: arranges for the next attempt.

        Where one lane sent the whole file, that lane is guilty and is returned. Otherwise the
        lane with the largest share is put on trial: the rest is fetched again from it alone,
        which either clears it and shows who lied, or convicts it.
        """
        with self.changed:
            if self.watcher is not None:
                self.watcher.mismatched()
            shares = list(self._owners.values())
            guilty = shares[0] if len(shares) == self.count and len(set(shares)) == 1 else None
            suspect = max(set(shares), key=shares.count) if shares else None
            self.only = None if guilty else suspect
            for index in range(self.count):
                owner = self._owners.get(index)
                if guilty is None:
                    self._doubted.append((index, owner, self._hashes[index]))
                if guilty is not None or owner is not suspect or owner is None:
                    self._forget(index)
            self.frontier = self._next = 0
            self._advance()
        return guilty

    def _forget(self, index: int) -> None:
        self.partial.forget(index)
        self._owners.pop(index, None)
        self._hashes.pop(index, None)

    def end_trial(self) -> None:
        """The lane on trial cannot go on: let the others continue."""
        with self.changed:
            self.only = None
            self.changed.notify_all()

    def verdict(self, names: Names) -> IntegrityError | None:
        """What is wrong with the file, if anything."""
        problem = self.entry.mismatch(names)
        return None if problem is None else IntegrityError(f"{self.entry.path}: {problem}")
