"""What a node has heard of its neighbours: which are there, and how far each is with which blob.
Bounded, whatever is heard; the clock is the caller's.
"""

import logging
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from outlast.swarm.lan.datagrams import (
    ANNOUNCE_S,
    MAX_NODES,
    MAX_WISHES,
    Announcement,
    Heard,
    Wish,
)
from outlast.swarm.tuning import TUNING, LanTuning

if TYPE_CHECKING:
    from collections.abc import Mapping

_log = logging.getLogger(__name__)

DEAD_S: Final = 3.5
"""After so many seconds of silence about a blob a node counts as gone; wants come each second."""
_KNOWN_S: Final = 3.5 * ANNOUNCE_S


@dataclass(frozen=True, slots=True)
class HeardWish:
    """A neighbour's wish for a blob, the address that it was heard from and when. `since`: when the
    node began to say that it fetches the blob, or has it.
    """

    wish: Wish
    heard: float
    address: str = ""
    since: float = 0.0


class PeerTable:
    """Not thread-safe."""

    def __init__(self, tuning: LanTuning = TUNING.lan) -> None:
        self._tuning = tuning
        self._nodes: OrderedDict[bytes, float] = OrderedDict()
        self._stands: dict[bytes, dict[bytes, HeardWish]] = {}
        self._counts: dict[bytes, int] = {}
        self._size = 0
        self._swept = float("-inf")
        self.reached: Mapping[bytes, frozenset[str]] | None = None
        """The nodes whose API answered, each with the addresses where it did; None if that is not
        known. A datagram that names such a node counts only if it comes from one of them."""

    def __len__(self) -> int:
        return self._size

    def knows_anyone(self, now: float) -> bool:
        """Whether any other node was heard in the last minutes."""
        return bool(self._nodes) and next(reversed(self._nodes.values())) + _KNOWN_S > now

    def live(self, key: bytes, now: float) -> dict[bytes, Wish]:
        """The wishes of the neighbours that were heard lately."""
        return {node: stand.wish for node, stand in self.stands(key, now).items()}

    def stands(self, key: bytes, now: float) -> dict[bytes, HeardWish]:
        """The same, with from where and since when."""
        stands = self._stands.get(key, {})
        return {node: s for node, s in stands.items() if s.heard + DEAD_S > now}

    def hear(self, value: Heard, now: float) -> None:
        """Records what a neighbour said. Beyond 512 nodes, 4096 wishes of one node and 65,536 of
        all, new ones are ignored until others fall silent; a node whose API answered takes the
        place of one whose API did not.
        """
        if self.reached and value.address not in self.reached.get(value.node, (value.address,)):
            return
        if not self._note(value.node, now) or isinstance(value, Announcement):
            return
        for wish in value.wishes:
            if wish.gone:
                self._drop(wish.key, value.node)
            else:
                self._put(value.node, wish, value.address, now)

    def _note(self, node: bytes, now: float) -> bool:
        """Whether there is room for what this node says."""
        if node not in self._nodes and len(self._nodes) >= MAX_NODES:
            leaves = self._replaceable(node, now)
            if leaves is None:
                return False
            _log.debug("node %s makes room", leaves.hex()[:12])
            self.forget(leaves)
        if node not in self._nodes:
            _log.debug("node %s is heard for the first time", node.hex()[:12])
        self._nodes[node] = now
        self._nodes.move_to_end(node)
        return True

    def _replaceable(self, node: bytes, now: float) -> bytes | None:
        """The node that a new one may replace."""
        oldest, heard = next(iter(self._nodes.items()))
        if heard + DEAD_S <= now:
            return oldest
        reached = self.reached or {}
        if node not in reached:
            return None
        return next((other for other in self._nodes if other not in reached), None)

    def _put(self, node: bytes, wish: Wish, address: str, now: float) -> None:
        stands = self._stands.get(wish.key, {})
        if node not in stands:
            if len(self) >= self._tuning.heard_wishes:
                self.sweep(now)
            if len(self) >= self._tuning.heard_wishes or self._counts.get(node, 0) >= MAX_WISHES:
                return
            self._counts[node] = self._counts.get(node, 0) + 1
            self._size += 1
            self._stands[wish.key] = stands
        before, since = stands.get(node), now
        if before is not None and before.wish.claims == wish.claims:
            since = before.since
        stands[node] = HeardWish(wish, now, address, since)

    def _drop(self, key: bytes, node: bytes) -> None:
        stands = self._stands.get(key, {})
        if stands.pop(node, None) is None:
            return
        if not stands:
            del self._stands[key]
        self._size -= 1
        self._counts[node] -= 1
        if not self._counts[node]:
            del self._counts[node]

    def forget(self, node: bytes) -> None:
        """Forgets all that was heard of a node."""
        self._nodes.pop(node, None)
        if node in self._counts:
            for key in [key for key, stands in self._stands.items() if node in stands]:
                self._drop(key, node)

    def sweep(self, now: float) -> None:
        """Forgets wishes of nodes that count as gone; looks at most once a second."""
        if now < self._swept + 1.0:
            return
        self._swept = now
        old = [
            (key, node)
            for key, stands in self._stands.items()
            for node, stand in stands.items()
            if stand.heard + DEAD_S <= now
        ]
        for key, node in old:
            _log.debug("node %s is silent about blob %s", node.hex()[:12], key.hex()[:12])
            self._drop(key, node)
