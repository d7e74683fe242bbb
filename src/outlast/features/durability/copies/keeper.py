"""Acts on what rounds show: fetches the copies that this node is to hold, and drops what it may."""

import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from outlast.core.digest import Digest
from outlast.core.errors import Cancelled, DiskFullError, OutlastError
from outlast.core.events import Note
from outlast.core.names import Target
from outlast.features.durability.copies.assign import Assignment
from outlast.features.durability.copies.memory import remembering
from outlast.features.durability.copies.own import GOAL, VOLUNTEER
from outlast.features.durability.copies.rounds import CopiesContext, CopiesRound, Rounds
from outlast.features.durability.copies.volunteer import Choice, Known, Model, decide, keepers
from outlast.fetch.file_filter import Selection
from outlast.fetch.source_state import SOURCE_FAULTS
from outlast.node.scope import Neighbourhood
from outlast.ops.pull import Pulled, pull
from outlast.ops.pull_digest import pull_manifest
from outlast.ops.removal import collect_garbage, remove
from outlast.sources.peer import PeerSource
from outlast.sources.peer_documents import HeldAs, HolderSeen, ManifestSaid
from outlast.store.records.refs import Ref

_log = logging.getLogger(__name__)
_MAIN: Final = "main"


class Change(StrEnum):
    """What became of a copy on this node, or, `STORED`, in a second home. `KEPT`: it is not
    dropped, though more than enough.
    """

    FETCHED = "fetched"
    FAILED = "failed"
    DROPPED = "dropped"
    KEPT = "kept"
    STORED = "stored"


@dataclass(frozen=True, slots=True)
class Done:
    """What became of a copy; `why` it was not fetched, stored or dropped, for a person. `store`:
    the URL of the second home that it is about.
    """

    row: ManifestSaid
    change: Change
    why: str = ""
    store: str = ""


@dataclass(slots=True)
class _Rest:
    until: float
    seconds: float


class Keeper:
    """One node that keeps copies. Not thread-safe."""

    def __init__(self, context: CopiesContext) -> None:
        self._context = context
        self._archive = context.archive
        self._node = context.node
        self._settings = context.settings
        self._control = context.control
        self._tuning = context.tuning
        self._rounds = Rounds(context)
        self._due: frozenset[Digest] = frozenset()
        self._awaited: frozenset[tuple[str, Digest]] = frozenset()
        """What this node was to copy to stores, by URL, in the last round."""
        self._nodes: frozenset[tuple[str, bool]] = frozenset()
        self._rests: dict[Digest, _Rest] = {}

    def step(self) -> tuple[CopiesRound, list[Done]]:
        """A round, and what follows of it: all copies for goals, one for the volunteer's budget."""
        found = self._rounds.round()
        done = [*self._restore(found)]
        if self._settings.volunteer:
            done += self._volunteer(found)
        return found, done

    def _restore(self, found: CopiesRound) -> Iterator[Done]:
        """Fetches what this node is to hold, if the round before said the same of the same nodes:
        one that has just come, or just left, has not been heard by all yet.
        """
        view = found.view
        nodes = frozenset((one.holder, one.absent) for one in view.members)
        due = {
            one.wanted.manifest
            for one in view.assignments
            if view.own in one.missing and self._is_to_be_had(found, one)
        }
        stored = {
            (found.stores[store], one.wanted.manifest)
            for one in view.assignments
            for store in one.missing
            if store in found.stores and view.carrier(one, store) == view.own
        }
        same = nodes == self._nodes
        agreed = due & self._due if same else frozenset()
        to_store = stored & self._awaited if same else frozenset()
        self._due, self._nodes, self._awaited = frozenset(due), nodes, frozenset(stored)
        for manifest in sorted(agreed):
            yield from self._fetch(view.rows[manifest], GOAL, self._homes(found, manifest))
        for url, manifest in sorted({*to_store, *found.lost}):
            yield self._store(view.rows[manifest], url)

    def _store(self, row: ManifestSaid, url: str) -> Done:
        """Copies what is here to a store. It counts from the next round on."""
        try:
            self._rounds.stores.put(url, row.manifest)
        except (Cancelled, DiskFullError):
            raise
        except OutlastError as error:
            self._control.emit(Note(f"no copy of {row.repo} could be put into {url}: {error}"))
            return Done(row, Change.FAILED, str(error), url)
        return Done(row, Change.STORED, store=url)

    @staticmethod
    def _is_to_be_had(found: CopiesRound, one: Assignment) -> bool:
        """Whether there is anything to ask for a copy: if nothing counts any more, the stores may
        have one all the same.
        """
        held = one.wanted.held
        if not held:
            return bool(found.stores)
        return any(h in found.answered or h in found.stores for h in held)

    @staticmethod
    def _homes(found: CopiesRound, manifest: Digest) -> list[str]:
        """The stores that this node reaches and that have a manifest, or may."""
        [held] = [o.wanted.held for o in found.view.assignments if o.wanted.manifest == manifest]
        return [url for holder, url in found.stores.items() if holder in held or not held]

    def _fetch(self, row: ManifestSaid, why: str, homes: Sequence[str] = ()) -> Iterator[Done]:
        rest = self._rests.get(row.manifest)
        if rest is not None and time.monotonic() < rest.until:
            return
        try:
            pulled = self._brought(row, homes)
        except (Cancelled, DiskFullError):
            raise
        except OutlastError as error:
            seconds = (
                min(2 * rest.seconds, self._tuning.longest_rest) if rest else self._tuning.rest
            )
            self._rests[row.manifest] = _Rest(time.monotonic() + seconds, seconds)
            self._control.emit(Note(f"no copy of {row.repo} could be fetched: {error}"))
            yield Done(row, Change.FAILED, str(error))
            return
        self._rests.pop(row.manifest, None)
        with remembering(self._archive, self._control.cancel.wait) as memory:
            memory.taken[row.manifest] = why
            if pulled.manifest is not None and pulled.manifest != row.manifest:
                memory.covers[row.manifest] = pulled.manifest
        yield Done(row, Change.FETCHED)

    def _brought(self, row: ManifestSaid, homes: Sequence[str]) -> Pulled:
        """Fetches a copy: from nodes, or if none of them gives it, from second homes."""
        context, around = self._context, Neighbourhood(self._node)

        def by_digest() -> Pulled:
            return pull_manifest(
                self._archive,
                row.manifest,
                (),
                around,
                wishes=context.wishes,
                control=self._control,
            ).pulled

        if not homes:
            return by_digest()
        try:
            return by_digest()
        except SOURCE_FAULTS as error:
            _log.info("no node gives %s: %s", row.repo, error)
        pulled = pull(
            self._archive,
            Target(row.repo, row.commit.hex),
            self._rounds.stores.sources(homes),
            selection=Selection(),
            wishes=context.wishes,
            control=self._control,
        )
        known = self._archive.refs.read(row.repo)
        if not known.refs and not known.damaged:
            with self._archive.writer() as writer:
                self._archive.refs.put(writer, row.repo, Ref(_MAIN, row.commit))
        return pulled

    # A volunteer

    def _volunteer(self, found: CopiesRound) -> Iterator[Done]:
        view = found.view
        with remembering(self._archive, self._control.cancel.wait) as memory:
            mine = [digest for digest, why in memory.taken.items() if why == VOLUNTEER]
            used = self._rounds.own.volunteered(memory)
        free = max(0, min(self._settings.volunteer - used, self._rounds.own.room()))
        offers = [_model(row) for row in view.rows.values() if row.seen]
        held = {row.manifest.hex for row in view.rows.values() if row.held is not HeldAs.NONE}
        droppable = [
            _model(row)
            for digest in mine
            if (row := view.rows.get(digest)) is not None and self._may_drop(row, view.own)
        ]
        contenders = len({seen.holder for row in view.rows.values() for seen in row.seen})
        known = Known(offers, held, droppable, free, contenders)
        choice = decide(known, self._context.random, self._tuning)
        if choice.take is not None:
            yield from self._exchange(found, choice)

    def _may_drop(self, row: ManifestSaid, own: str) -> bool:
        holders = [seen.holder for seen in row.seen]
        if row.held is not HeldAs.COPY or len(holders) < self._tuning.spare:
            return False
        return own not in keepers(row.manifest.hex, holders, self._tuning)

    def _exchange(self, found: CopiesRound, choice: Choice) -> Iterator[Done]:
        assert choice.take is not None
        rows = {row.manifest.hex: row for row in found.view.rows.values()}
        for one in choice.drop:
            row = rows[one.manifest]
            if not self._is_proven(found, row):
                return
            yield self._drop(row)
        if choice.drop:
            collect_garbage(self._archive, dry_run=False, control=self._control)
        row = rows[choice.take.manifest]
        for seen in row.seen:
            if seen.host and seen.holder not in found.answered:  # it is asked as any stranger is
                self._node.contacts.meet(seen.host, seen.port, static=False)
        yield from self._fetch(row, VOLUNTEER)

    # What may go

    def shrink(self, *, dry_run: bool) -> Iterator[Done]:
        """Drops the copies here that are more than their goals want, and came because of one: each
        after as many other nodes as the goal wants copies have proven to have it.
        """
        found = self._rounds.round()
        for one in found.view.assignments:
            if found.view.own in one.surplus:
                self._control.cancel.check()
                row = found.view.rows[one.wanted.manifest]
                why = self._why_kept(found, one, row)
                if why:
                    yield Done(row, Change.KEPT, why)
                else:
                    yield Done(row, Change.DROPPED) if dry_run else self._drop(row)

    def _why_kept(self, found: CopiesRound, one: Assignment, row: ManifestSaid) -> str:
        if row.held is not HeldAs.COPY:
            return "it was archived here by hand: 'outlast rm' removes it"
        if not one.met or one.missing:
            return "its goal is not met"
        proven = sum(
            self._proves(found.answered[holder].source, holder, row.manifest)
            for holder in one.chosen
            if holder in found.answered
        )
        proven += sum(
            self._rounds.stores.proves(found.stores[holder], row.manifest)
            for holder in one.chosen
            if holder in found.stores
        )
        wanted = one.wanted.goal.copies
        return "" if proven >= wanted else f"only {proven} of {wanted} others prove to have it"

    def _is_proven(self, found: CopiesRound, row: ManifestSaid) -> bool:
        """Whether any holder that was seen proves now that it has a copy."""
        others = (seen for seen in row.seen if seen.holder != found.view.own)
        sources = ((seen.holder, self._source(found, seen)) for seen in others)
        return any(
            source is not None and self._proves(source, holder, row.manifest)
            for holder, source in sources
        )

    def _proves(self, source: PeerSource, holder: str, manifest: Digest) -> bool:
        """Whether a node gives all blocks that it is asked for; it may be busy in between."""
        left = self._tuning.proven
        for _ in range(self._tuning.tries):
            came = self._rounds.challenger.challenge(source, holder, [manifest], left)
            left -= came.right
            if came.failed or not left:
                break
            self._control.cancel.wait(self._tuning.between)
        return not left

    def _source(self, found: CopiesRound, seen: HolderSeen) -> PeerSource | None:
        if seen.holder in found.answered:
            return found.answered[seen.holder].source
        return self._node.source_at(seen.host, seen.port) if seen.host else None

    def _drop(self, row: ManifestSaid) -> Done:
        """Removes a copy; its bytes stay until the next collection of garbage."""
        target = Target(row.repo, row.commit.hex)
        remove(self._archive, target, dry_run=False, control=self._control)
        with remembering(self._archive, self._control.cancel.wait) as memory:
            memory.taken.pop(row.manifest, None)
            memory.covers.pop(row.manifest, None)
        return Done(row, Change.DROPPED)


def _model(row: ManifestSaid) -> Model:
    return Model(row.manifest.hex, row.size, len(row.seen))
