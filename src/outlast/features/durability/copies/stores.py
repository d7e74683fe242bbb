"""Second homes that goals name: a store counts as a holder once a node has read all that it has of
a model, and as long as what that node asks for again is right.
"""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from itertools import accumulate
from random import Random
from typing import Final

from outlast.bucket.home import SecondHome
from outlast.bucket.source import BucketSource
from outlast.codec.merkle import PIECE, piece_count
from outlast.core.control import Control
from outlast.core.digest import Digest
from outlast.core.errors import IntegrityError, NotArchivedError, OutlastError
from outlast.core.events import Note
from outlast.core.manifest import FileEntry, Revision
from outlast.core.names import Target
from outlast.core.threads import DaemonPool, interruptible
from outlast.features.durability.copies.memory import Memory, StoreNoted, remembering
from outlast.features.durability.copies.tuning import TUNING, Tuning
from outlast.fetch.salvage import noted_tree
from outlast.ops.second_home.mend import copy_checked
from outlast.sources.base import Source
from outlast.sources.peer_documents import StoreSaid
from outlast.store.archive import Archive
from outlast.store.index import load_manifest

_log = logging.getLogger(__name__)
_DAY: Final = 86_400.0
_WRONG: Final = (IntegrityError, NotArchivedError)
"""What shows that a copy is not there, or not right; other errors may pass."""


@dataclass(frozen=True, slots=True)
class StoreAt:
    """A second home as the settings name it, and how it is opened."""

    site: str
    url: str
    open: Callable[[], SecondHome]


@dataclass(frozen=True, slots=True)
class StoreDuty:
    """What is to be asked of a store now: whether the files of `look` are there, and so many
    `pieces` by chance of all that it `held`.
    """

    url: str
    held: Sequence[Digest]
    look: Sequence[Digest]
    pieces: int


@dataclass(frozen=True, slots=True)
class Tended:
    """What came of it: copies that are not right. `forgotten` are those of manifests that are not
    here any more, which this node cannot vouch for.
    """

    url: str
    looked: tuple[Digest, ...] = ()
    lost: tuple[Digest, ...] = ()
    forgotten: tuple[Digest, ...] = ()


@dataclass(slots=True)
class _StoreRest:
    until: float
    seconds: float


class Stores:
    """The stores that this node reaches. Not thread-safe."""

    def __init__(
        self,
        archive: Archive,
        stores: Sequence[StoreAt],
        random: Random,
        control: Control,
        tuning: Tuning = TUNING,
    ) -> None:
        self._archive = archive
        self._stores = {one.url: one for one in stores}
        self._random = random
        self._control = control
        self._tuning = tuning
        self._homes: dict[str, SecondHome] = {}
        self._asked: dict[str, Future[str]] = {}
        self._answered: dict[str, str] = {}
        self._said: dict[str, str] = {}
        self._rests: dict[str, _StoreRest] = {}
        self._pool = DaemonPool(max(1, len(stores)), "stores")

    # A round

    def greet(self) -> dict[str, str]:
        """Which stores answer, and what names each. One that takes long does not hold up the round:
        its answer counts in a later one.
        """
        with remembering(self._archive, self._control.cancel.wait) as memory:
            known = {url: noted.holder for url, noted in memory.stores.items()}
        for url in self._stores:
            if url not in self._asked:
                self._asked[url] = self._pool.submit(self._name_of, url, known.get(url))
        until = time.monotonic() + self._tuning.answer

        def wait() -> None:
            for future in list(self._asked.values()):
                left = max(0.0, until - time.monotonic())
                try:
                    future.exception(left)
                except TimeoutError:
                    continue

        interruptible(wait, self._control.cancel)
        self._answered = {}
        for url, future in list(self._asked.items()):
            if future.done():
                del self._asked[url]
                self._take(url, future)
            else:
                self._tell(url, "no answer yet")
        return self._answered

    def _take(self, url: str, future: Future[str]) -> None:
        try:
            self._answered[url] = future.result()
        except OutlastError as error:
            self._tell(url, str(error))
        else:
            self._said.pop(url, None)

    def _tell(self, url: str, problem: str) -> None:
        if self._said.get(url) != problem:
            self._control.emit(Note(f"the store {url} cannot be used now: {problem}"))
        self._said[url] = problem

    def _name_of(self, url: str, known: str | None) -> str:
        """Where a store was known, an empty place is none: a folder that is not mounted is empty,
        too.
        """
        home = self._home(url)
        if known is None:
            home.begin()
        home.require()
        return home.identity()

    def _home(self, url: str) -> SecondHome:
        found = self._homes.get(url)
        if found is None:
            found = self._homes[url] = self._stores[url].open()
        return found

    def hear(self, memory: Memory, passed: float) -> None:
        """Notes which stores answered, `passed` seconds after the last round."""
        for url in memory.stores.keys() - self._stores.keys():
            del memory.stores[url]
        for url, one in self._stores.items():
            noted, holder = memory.stores.get(url), self._answered.get(url)
            if holder is None:
                if noted is not None:
                    noted.silent += passed
                continue
            if noted is None or noted.holder != holder:
                noted = memory.stores[url] = StoreNoted(holder, one.site)
            noted.site, noted.silent = one.site, 0.0

    def duties(self, memory: Memory, passed: float, challenges: int) -> list[StoreDuty]:
        """What is to be asked in this round."""
        found = []
        for url in self._answered:
            noted = memory.stores[url]
            due = noted.due + passed * challenges / _DAY
            noted.due = due % 1
            held = list(noted.held)
            found.append(StoreDuty(url, held, held[: self._tuning.looks], int(due)))
        return found

    def tend(self, duty: StoreDuty) -> Tended:
        """Asks; no lock is held meanwhile. It ends with the first question without an answer."""
        home = self._home(duty.url)
        revisions = {one: found for one in duty.held if (found := self._revision(one)) is not None}
        looked: list[Digest] = []
        lost: dict[Digest, str] = {}
        try:
            for manifest in duty.look:
                if manifest in revisions:
                    try:
                        require_all(home, revisions[manifest])
                    except _WRONG as error:
                        lost[manifest] = str(error)
                looked.append(manifest)
            for manifest, entry, index in self._chosen(revisions, duty.pieces):
                try:
                    self._prove(home, entry, index)
                except _WRONG as error:
                    lost.setdefault(manifest, str(error))
        except OutlastError as error:
            self._control.cancel.check()
            _log.info("%s gives no answer: %s", duty.url, error)
        for manifest, why in lost.items():
            repo = revisions[manifest].repo
            self._control.emit(Note(f"the copy of {repo} in {duty.url} does not count: {why}"))
        forgotten = tuple(one for one in duty.held if one not in revisions)
        return Tended(duty.url, tuple(looked), tuple(lost), forgotten)

    @staticmethod
    def learn(memory: Memory, tended: Sequence[Tended]) -> None:
        """Notes what came of it."""
        for one in tended:
            noted = memory.stores.get(one.url)
            if noted is None:
                continue
            for manifest in one.looked:
                if noted.held.pop(manifest, 0) is None:
                    noted.held[manifest] = None  # looked at last
            for manifest in (*one.lost, *one.forgotten):
                noted.held.pop(manifest, None)

    def said(self, memory: Memory, gone_after: float) -> tuple[StoreSaid, ...]:
        """What this node says of the stores that it knows."""
        found = {
            noted.holder: StoreSaid(noted.holder, noted.site, self._is_able(url))
            for url, noted in memory.stores.items()
            if noted.silent <= gone_after
        }
        return tuple(found.values())

    def _is_able(self, url: str) -> bool:
        rest = self._rests.get(url)
        resting = rest is not None and time.monotonic() < rest.until
        return url in self._answered and not resting

    def url_of(self, memory: Memory, holder: str) -> str | None:
        """Where this node reaches a store; None where it does not, now."""
        urls = (url for url, noted in memory.stores.items() if noted.holder == holder)
        return next((url for url in urls if self._is_able(url)), None)

    def sources(self, urls: Sequence[str]) -> list[Source]:
        """Stores as sources of models."""
        return [BucketSource(self._home(url)) for url in urls]

    # Copies

    def put(self, url: str, manifest: Digest) -> int:
        """Copies a model to a store, and reads it there; how many bytes were sent. Raises
        :class:`OutlastError` where it is not all right there; then another node may try.
        """
        revision = self._revision(manifest)
        if revision is None:
            raise NotArchivedError("it is not here any more")
        home = self._home(url)
        try:
            target = Target(revision.repo, revision.id.hex)
            copied = copy_checked(self._archive, target, home, self._control)
            require_all(home, revision)
        except OutlastError:
            self._control.cancel.check()
            before = self._rests.get(url)
            most = self._tuning.longest_rest
            seconds = min(2 * before.seconds, most) if before else self._tuning.rest
            self._rests[url] = _StoreRest(time.monotonic() + seconds, seconds)
            raise
        self._rests.pop(url, None)
        with remembering(self._archive, self._control.cancel.wait) as memory:
            noted = memory.stores.get(url)
            if noted is not None:
                noted.held[manifest] = None
        return copied.sent_bytes

    def proves(self, url: str, manifest: Digest) -> bool:
        """Whether a store gives, right, as many pieces by chance as show a loss of 1 %, or all."""
        revision = self._revision(manifest)
        if revision is None:
            return False
        home = self._home(url)
        pieces = sum(piece_count(entry.size) for entry in revision.files)
        try:
            require_all(home, revision)
            if pieces <= self._tuning.proven:
                asked = [(e, i) for e in revision.files for i in range(piece_count(e.size))]
            else:
                chosen = self._chosen({manifest: revision}, self._tuning.proven)
                asked = [(entry, index) for _, entry, index in chosen]
            for entry, index in asked:
                self._prove(home, entry, index)
        except OutlastError as error:
            self._control.cancel.check()
            _log.info("%s does not prove to have %s: %s", url, revision.repo, error)
            return False
        return True

    def _revision(self, manifest: Digest) -> Revision | None:
        layout = self._archive.layout
        return load_manifest(layout, manifest) if layout.manifest(manifest).exists() else None

    def _chosen(
        self, revisions: Mapping[Digest, Revision], count: int
    ) -> list[tuple[Digest, FileEntry, int]]:
        """Pieces by chance, each as likely as any other."""
        places = [(m, e) for m, found in revisions.items() for e in found.files if e.size]
        if not places or not count:
            return []
        weights = list(accumulate(piece_count(entry.size) for _, entry in places))
        return [
            (manifest, entry, self._random.randrange(piece_count(entry.size)))
            for manifest, entry in self._random.choices(places, cum_weights=weights, k=count)
        ]

    def _prove(self, home: SecondHome, entry: FileEntry, index: int) -> None:
        """Compares a piece with the tree that this node knows. Raises :class:`IntegrityError`."""
        self._control.cancel.check()
        digest = entry.sha256
        assert digest is not None, "what a manifest has is named by its sha256"
        home.forget(digest)
        begin, end = index * PIECE, min(entry.size, (index + 1) * PIECE)
        blob = home.open(digest, stop=end)
        if blob.size != entry.size:
            raise IntegrityError(f"{entry.path} has {blob.size:,} bytes there")
        piece = memoryview(bytearray(end - begin))
        blob.readinto(begin, piece)
        tree = noted_tree(self._archive, digest, entry.size)
        if piece_count(entry.size) == 1:
            right = Digest.of(piece) == digest
        else:
            right = tree is None or tree.matches(index, piece)
        if not right:
            raise IntegrityError(f"piece {index} of {entry.path} is wrong there")


def require_all(home: SecondHome, revision: Revision) -> None:
    """Raises :class:`IntegrityError` or :class:`NotArchivedError` where a home does not name a
    revision with all of these files, or lacks one of them. Reads none of them.
    """
    there = home.load(revision.repo, revision.id)
    if there is None:
        raise NotArchivedError(f"{home.name} has no {revision.repo}@{revision.id.hex[:12]}")
    named = {(entry.path, entry.sha256) for entry in there.files}
    for entry in revision.files:
        digest = entry.sha256
        assert digest is not None, "what a manifest has is named by its sha256"
        place = home.place_of(digest)
        if (entry.path, digest) not in named or place is None:
            raise NotArchivedError(f"{home.name} lacks {entry.path}")
        if place[0] == home.blob_name(digest, capsule=False) and place[1] != entry.size:
            raise IntegrityError(f"{entry.path} has {place[1]:,} bytes there")
