"""The quota of a mirror: what came because clients asked is dropped, least recently used first.

What a person pulled, or a keep-list names, has no mark and stays (`store.cached`). A revision that
is read or fetched now stays too. Room is made before a fetch begins, for its whole file.
"""

import logging
import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable

from outlast.core.control import Control
from outlast.core.digest import GitOid
from outlast.core.errors import StorageError
from outlast.core.events import CacheDropped, Note
from outlast.core.names import RepoId
from outlast.core.sizes import human_size
from outlast.core.status import QuotaStatus
from outlast.mirror.intake import Admission
from outlast.mirror.tuning import TUNING, MirrorTuning
from outlast.node import shared_torrents
from outlast.store.archive import Archive
from outlast.store.cached.drop import drop, finish, turn
from outlast.store.cached.holds import HeldRevisions
from outlast.store.cached.marks import Key
from outlast.store.cached.measure import Cache, measure

_log = logging.getLogger(__name__)


class Quota:
    """What a mirror may keep of what it fetched. Thread-safe."""

    def __init__(
        self,
        archive: Archive,
        intake: Admission,
        limit: int | None,
        control: Control,
        *,
        tuning: MirrorTuning = TUNING,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`limit` in bytes; None: nothing is dropped, but uses are noted. Raises
        :class:`StorageError` where locks do not show who reads what.
        """
        if limit is not None and (fault := archive.lock_fault()):
            raise StorageError(
                f"{archive.layout.home}: {fault}, so a mirror cannot know what is in use",
                hint="leave out --keep (and 'keep' in [serve]), or put the archive on a local disk",
            )
        self._archive = archive
        self._intake = intake
        self._limit = limit
        self._control = control
        self._tuning = tuning
        self._clock = clock
        self._mutex = threading.Lock()
        self._uses: OrderedDict[Key, float] = OrderedDict()
        """When (by the clock) the use of a revision was written down; the last used come last."""
        self._unsaid: OrderedDict[Key, None] = OrderedDict()
        """What was used since."""
        self._turn = threading.Lock()
        self._taken = 0
        """What cached revisions take, with all that was let in since that was measured."""
        self._measured = -math.inf
        self._dropped, self._freed = 0, 0
        self._complained = False
        self._hopeless_until = -math.inf
        """Until when (by the clock) nothing is looked for: there was nothing left to drop."""

    # Use

    def hold(self) -> HeldRevisions:
        """For one request: what is added to it is not dropped until it is closed."""
        return self._archive.in_use.use()

    def is_due(self, repo: RepoId, commit: GitOid) -> bool:
        """Notes in memory that a revision is used; whether it is time to write that down."""
        key, now = (repo, commit), self._clock()
        with self._mutex:
            noted = self._uses.get(key)
            self._unsaid[key] = None
            self._unsaid.move_to_end(key)
            while len(self._unsaid) > self._tuning.uses:
                self._unsaid.popitem(last=False)
            return noted is None or now - noted >= self._tuning.use_noted

    def used(self, repo: RepoId, commit: GitOid) -> None:
        """Notes that a revision is used; writes it down now and then."""
        if self.is_due(repo, commit):
            self.write_down()

    def write_down(self) -> None:
        """Writes down all uses that are only in memory, in their order."""
        now = self._clock()
        with self._mutex:
            keys = list(self._unsaid)
            self._unsaid.clear()
            for key in keys:
                self._uses[key] = now
                self._uses.move_to_end(key)
            while len(self._uses) > self._tuning.uses:
                self._uses.popitem(last=False)
        self._archive.cached.touch(keys)

    # Room

    def begin(self) -> None:
        """Ends what a crash interrupted, and drops what is too much already."""
        if self._limit is not None:
            with self._turn, turn(self._archive, self._control.cancel.wait):
                self._drop(0, 0)

    def make_room(self, size: int) -> None:
        """A file of `size` bytes is about to be fetched: drops what has to go for it. Where that is
        not enough, all that is left was asked for by name, or is in use.
        """
        if self._limit is None:
            return
        with self._turn:
            now = self._clock()
            if now - self._measured >= self._tuning.quota_measured:
                self._look()
            lacking = self._intake.lacking(size) if size else 0
            if (
                self._taken + size > self._limit or lacking
            ) and self._clock() >= self._hopeless_until:
                with turn(self._archive, self._control.cancel.wait):
                    self._drop(size, lacking)
            self._taken += size

    def _look(self) -> Cache:
        """Other processes fetch, too, so that it is looked at again from time to time."""
        cache = measure(self._archive, self._pinned())
        self._taken = cache.size + self._intake.outstanding()
        self._measured = self._clock()
        return cache

    def _drop(self, size: int, lacking: int) -> None:
        limit = self._limit or 0
        self.write_down()
        finish(self._archive)
        busy: set[Key] = set()
        while True:
            cache = self._look()
            # What is larger than all that may be kept makes no room for itself.
            over = max(0, self._taken + size - limit) if size <= limit else 0
            if not over and not lacking:
                break
            need = max(over, lacking) + int(limit * self._tuning.quota_slack)
            chosen = cache.choose(need, busy)
            if not chosen:
                self._complain(cache, over, lacking)
                break
            done = drop(self._archive, chosen)
            busy |= {key for key, _ in chosen} - set(done.revisions)
            self._tell(done.revisions, done.freed, "quota" if over else "disk")
            # What is deleted and still open takes room for a while: nothing else goes for that.
            lacking = max(0, lacking - done.freed)

    def _pinned(self) -> set[Key]:
        """What the operator shares by name stays, too."""
        return {(one.repo, one.commit) for one in shared_torrents.registered(self._archive)}

    def _tell(self, gone: tuple[Key, ...], freed: int, why: str) -> None:
        self._dropped += len(gone)
        self._freed += freed
        self._complained = self._complained and not gone
        for number, (repo, commit) in enumerate(gone, 1):
            share = freed if number == len(gone) else 0
            self._control.emit(CacheDropped(str(repo), commit.hex, why, share))

    def _complain(self, cache: Cache, over: int, lacking: int) -> None:
        """Says once that nothing is left to drop."""
        _log.debug("%d bytes too many, %d lacking, of %d", over, lacking, cache.size)
        self._hopeless_until = self._clock() + self._tuning.quota_again
        if not self._complained:
            self._complained = True
            self._control.emit(
                Note(
                    f"nothing is left to drop that is not in use: {human_size(max(over, lacking))} "
                    "more would have to go; what was pulled by hand is never dropped"
                )
            )

    def status(self) -> QuotaStatus:
        """For ``outlast status`` and the metrics."""
        return QuotaStatus(self._limit or 0, self._taken, self._dropped, self._freed)
