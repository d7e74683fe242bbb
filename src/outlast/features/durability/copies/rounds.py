"""A round: ask all static peers, see what follows, challenge some, and say what is known."""

import logging
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import TYPE_CHECKING, Final, Protocol

from outlast.core.control import Control
from outlast.core.digest import Digest
from outlast.core.errors import NotFoundError, OutlastError
from outlast.core.events import Note
from outlast.core.threads import DaemonPool, interruptible
from outlast.features.durability.copies.challenge import Challenged, Challenger
from outlast.features.durability.copies.memory import FailedBlock, Memory, Peer, remembering
from outlast.features.durability.copies.own import OwnCopies
from outlast.features.durability.copies.stores import StoreAt, Stores
from outlast.features.durability.copies.tuning import TUNING, Tuning
from outlast.features.durability.copies.view import CopiesView, statuses, view
from outlast.features.durability.settings import CopiesSettings
from outlast.fetch.transfer import Wishes
from outlast.node.node import Node
from outlast.node.peers import Neighbour
from outlast.sources.peer import PeerSource
from outlast.sources.peer_documents import CopiesSaid, HeldAs
from outlast.store.archive import Archive

if TYPE_CHECKING:
    from concurrent.futures import Future

_log = logging.getLogger(__name__)
_DAY: Final = 86_400.0
_POLL: Final = 0.25
_MISSED: Final = 2.0
"""A round is late after so many times its interval: then this node slept, or was not running, and
the others were not silent for so long."""


class Counters(Protocol):
    """Where figures go."""

    def goals(self, met: int, unmet: int) -> None: ...

    def challenged(self, right: int, failed: int) -> None: ...


@dataclass(frozen=True, slots=True)
class CopiesContext:
    """What keeping copies needs. `random` must be one that no peer can foresee. `clock`: seconds
    since this machine started; it runs on between two processes.
    """

    archive: Archive
    node: Node
    settings: CopiesSettings
    control: Control
    wishes: Wishes
    counters: Counters
    random: Random
    clock: Callable[[], float] = time.monotonic
    tuning: Tuning = TUNING
    stores: tuple[StoreAt, ...] = ()


@dataclass(frozen=True, slots=True)
class CopiesRound:
    """What came of a round: what is known, and the peers that answered, by holder. `stores`: where
    this node can write now to each, by holder; `lost`: copies there (URL and manifest) that proved
    not to be right.
    """

    view: CopiesView
    answered: dict[str, Neighbour]
    stores: dict[str, str] = field(default_factory=dict)
    lost: tuple[tuple[str, Digest], ...] = ()


@dataclass(frozen=True, slots=True)
class _Duty:
    """What a holder is to prove: blocks of what it holds that it failed before, and so
    many others.
    """

    holder: str
    held: Sequence[Digest]
    again: Sequence[FailedBlock]
    count: int


class Rounds:
    """Makes rounds. Not thread-safe."""

    def __init__(self, context: CopiesContext) -> None:
        self._context = context
        self._archive = context.archive
        self._node = context.node
        self._settings = context.settings
        self._control = context.control
        self._tuning = context.tuning
        self.own = OwnCopies(context.archive, context.node.sharing, context.settings)
        self.challenger = Challenger(context.archive, context.random, context.tuning)
        self.stores = Stores(
            context.archive, context.stores, context.random, context.control, context.tuning
        )
        self._began = time.monotonic()
        self._pool = DaemonPool(context.tuning.askers, "copies")

    def round(self) -> CopiesRound:
        """Asks, and says what is known. Raises :class:`OutlastError` where a list or the memory
        cannot be read.
        """
        control, node = self._control, self._node
        peers = self._meet()
        answers = self._ask(peers)
        self.stores.greet()
        with remembering(self._archive, control.cancel.wait) as memory:
            passed = self._passed(memory)
            answered = self._hear(memory, peers, answers, passed)
            duties = [self._duty(memory, one, passed) for one in answered]
            self.stores.hear(memory, passed)
            stored = self.stores.duties(memory, passed, self._settings.challenges)
        tended = [self.stores.tend(one) for one in stored]
        results = [self._challenge(answered[one.holder], one) for one in duties]
        with remembering(self._archive, control.cancel.wait) as memory:
            for duty, (mended, new) in zip(duties, results, strict=True):
                self._learn(memory, answered[duty.holder], duty, mended, new)
            self.stores.learn(memory, tended)
            found = self._view(memory)
            reached = {
                one.holder: url
                for one in found.said.stores
                if (url := self.stores.url_of(memory, one.holder)) is not None
            }
        shown = statuses(found)
        node.copies.put(found.said, shown)
        met = sum(row.met for row in shown)
        self._context.counters.goals(met, len(shown) - met)
        lost = tuple((one.url, manifest) for one in tended for manifest in one.lost)
        return CopiesRound(found, answered, reached, lost)

    def _meet(self) -> list[Neighbour]:
        """The static peers that answer; for the first time all get a moment for that."""
        node, until = self._node, self._began + self._tuning.meeting
        while True:
            self._control.cancel.check()
            peers = [one for one in node.contacts.neighbours() if one.static]
            left = until - time.monotonic()
            if len(peers) >= len(node.settings.peers) or left <= 0:
                return peers
            with node.changed:
                node.changed.wait(min(left, _POLL))

    def _ask(self, peers: Sequence[Neighbour]) -> list[CopiesSaid | None]:
        futures = [self._pool.submit(self._said, one.source) for one in peers]

        def wait() -> list[CopiesSaid | None]:
            return [_result(future) for future in futures]

        return interruptible(wait, self._control.cancel)

    def _said(self, source: PeerSource) -> CopiesSaid | None:
        try:
            return source.copies(self._tuning.answer)
        except NotFoundError as error:
            _log.debug("%s takes no part: %s", source.name, error)
        except OutlastError as error:
            _log.info("%s does not say what copies it has: %s", source.name, error)
        return None

    def _passed(self, memory: Memory) -> float:
        """Seconds since the last round, as far as this machine could ask."""
        now, before = self._context.clock(), memory.asked
        memory.asked = now
        return min(now - before, _MISSED * self._settings.every) if 0 < before <= now else 0.0

    def _hear(
        self,
        memory: Memory,
        peers: Sequence[Neighbour],
        answers: Sequence[CopiesSaid | None],
        passed: float,
    ) -> dict[str, Neighbour]:
        for peer in memory.peers.values():
            peer.silent += passed
        answered = {}
        for neighbour, said in zip(peers, answers, strict=True):
            if said is None or said.holder == memory.holder:
                continue
            before = memory.peers.get(said.holder)
            due = before.due if before is not None else 0.0
            host, port = neighbour.host, neighbour.peer_port
            memory.peers[said.holder] = Peer(said, host, port, due=due)
            answered[said.holder] = neighbour
        return answered

    def _duty(self, memory: Memory, holder: str, passed: float) -> _Duty:
        """What a peer is to prove in this round."""
        peer = memory.peers[holder]
        held = [row.manifest for row in peer.said.manifests if row.held is not HeldAs.NONE]
        again = sorted(b for b in memory.failed if b.holder == holder and b.manifest in held)
        due = peer.due + passed * self._settings.challenges / _DAY
        peer.due = due % 1
        return _Duty(holder, held, again, int(due))

    def _challenge(self, neighbour: Neighbour, duty: _Duty) -> tuple[Challenged, Challenged]:
        """Asks for the blocks that failed before, and for new ones. No lock is held meanwhile."""
        mended = self.challenger.ask(neighbour.source, duty.again)
        new = self.challenger.challenge(neighbour.source, duty.holder, duty.held, duty.count)
        self._context.counters.challenged(new.right, len(new.failed))
        return mended, new

    def _learn(
        self,
        memory: Memory,
        neighbour: Neighbour,
        duty: _Duty,
        mended: Challenged,
        new: Challenged,
    ) -> None:
        held = {*duty.held}
        memory.failed = {b for b in memory.failed if b.holder != duty.holder or b.manifest in held}
        if mended.right == len(duty.again):
            memory.failed -= {*duty.again}
        self._note(memory, neighbour, new)

    def _note(self, memory: Memory, neighbour: Neighbour, new: Challenged) -> None:
        for one in new.failed:
            known = [other for other in memory.failed if other.holder == one.holder]
            if one.manifest not in {other.manifest for other in known}:
                self._control.emit(Note(_failure(memory, neighbour, one)))
            if len(known) < self._tuning.most_failed:
                memory.failed.add(one)

    def _view(self, memory: Memory) -> CopiesView:
        asked = [row.manifest for p in memory.peers.values() for row in p.said.manifests]
        own = self.own.look(memory, asked)
        stores = self.stores.said(memory, self._settings.gone_after)
        known = {one.holder for one in stores}
        there: dict[Digest, list[str]] = defaultdict(list)
        for noted in memory.stores.values():
            for manifest in noted.held if noted.holder in known else ():
                there[manifest].append(noted.holder)
        manifests = {
            digest: replace(row, stored=tuple(there[digest])) if digest in there else row
            for digest, row in own.manifests.items()
        }
        own = replace(own, manifests=manifests, stores=stores)
        return view(own, memory, self._settings.gone_after)


def _failure(memory: Memory, neighbour: Neighbour, one: FailedBlock) -> str:
    rows = memory.peers[one.holder].said.manifests
    repo = next(row.repo for row in rows if row.manifest == one.manifest)
    return (
        f"{neighbour.source.name} does not prove to have block {one.block} of {one.blob.short}… of"
        f" {repo}: its copy does not count"
    )


def _result(future: "Future[CopiesSaid | None]") -> CopiesSaid | None:
    return future.result()
