"""A round: ask all static peers, see what follows, challenge some, and say what is known."""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Final, Protocol

from outlast.core.control import Control
from outlast.core.errors import NotFoundError, OutlastError
from outlast.core.events import Note
from outlast.core.threads import DaemonPool, interruptible
from outlast.features.durability.copies.challenge import Challenged, Challenger
from outlast.features.durability.copies.memory import FailedBlock, Memory, Peer, remembering
from outlast.features.durability.copies.own import OwnCopies
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


@dataclass(frozen=True, slots=True)
class CopiesRound:
    """What came of a round: what is known, and the peers that answered, by holder."""

    view: CopiesView
    answered: dict[str, Neighbour]


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
        self._pool = DaemonPool(context.tuning.askers, "copies")

    def round(self) -> CopiesRound:
        """Asks, and says what is known. Raises :class:`OutlastError` where a list or the memory
        cannot be read.
        """
        control, node = self._control, self._node
        node.await_neighbours(self._tuning.meeting if node.settings.peers else 0)
        peers = [n for n in node.contacts.neighbours() if n.static]
        answers = self._ask(peers)
        with remembering(self._archive, control.cancel.wait) as memory:
            passed = self._passed(memory)
            answered = self._hear(memory, peers, answers, passed)
            self._challenge(memory, answered, passed)
            found = self._view(memory)
        shown = statuses(found)
        node.copies.put(found.said, shown)
        met = sum(row.met for row in shown)
        self._context.counters.goals(met, len(shown) - met)
        return CopiesRound(found, answered)

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

    def _challenge(self, memory: Memory, answered: dict[str, Neighbour], passed: float) -> None:
        wanted = {row.manifest for p in memory.peers.values() for row in p.said.manifests}
        for holder, neighbour in answered.items():
            peer = memory.peers[holder]
            held = [r.manifest for r in peer.said.manifests if r.held is not HeldAs.NONE]
            before = {one for one in memory.failed if one.holder == holder}
            memory.failed -= {one for one in before if one.manifest not in held}
            again = sorted(one for one in before if one.manifest in held)
            peer.due = min(peer.due + passed * self._settings.challenges / _DAY, _DAY)
            count, peer.due = int(peer.due), peer.due % 1
            mended = self.challenger.ask(neighbour.source, again)
            if mended.right == len(again):
                memory.failed -= {*again}
            new = self.challenger.challenge(neighbour.source, holder, held, count)
            self._context.counters.challenged(new.right, len(new.failed))
            self._note(memory, neighbour, new)
        memory.failed = {one for one in memory.failed if one.manifest in wanted}

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
