"""What a node has heard of its neighbours: who is there, and where each stands with which blob.
Bounded, whatever is heard; the clock is the caller's.
"""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from outlast.swarm.lan.datagrams import (
    ANNOUNCE_S,
    MAX_NODES,
    MAX_WISHES,
    Announcement,
    Heard,
    Wish,
)
from outlast.swarm.tuning import TUNING, LanTuning

DEAD_S: Final = 3.5
"""A node that says nothing about a blob for so long is taken to be gone: it said so each second."""
_KNOWN_S: Final = 3.5 * ANNOUNCE_S


@dataclass(frozen=True, slots=True)
class HeardWish:
    """What a neighbour said of a blob, and when it was heard."""

    wish: Wish
    heard: float


class PeerTable:
    """Not thread-safe."""

    def __init__(self, tuning: LanTuning = TUNING.lan) -> None:
        self._tuning = tuning
        self._nodes: OrderedDict[bytes, float] = OrderedDict()
        self._stands: dict[bytes, dict[bytes, HeardWish]] = {}
        self._counts: dict[bytes, int] = {}
        self._size = 0
        self._swept = float("-inf")

    def __len__(self) -> int:
        return self._size

    def knows_anyone(self, now: float) -> bool:
        """Whether any other node was heard in the last minutes."""
        return bool(self._nodes) and next(reversed(self._nodes.values())) + _KNOWN_S > now

    def live(self, key: bytes, now: float) -> dict[bytes, Wish]:
        """Where the neighbours stand that were heard lately."""
        stands = self._stands.get(key, {})
        return {node: s.wish for node, s in stands.items() if s.heard + DEAD_S > now}

    def hear(self, value: Heard, now: float) -> None:
        """More nodes than 512, more wishes of one than 4096, and more than 65536 of all are not
        heard until others fall silent.
        """
        if not self._note(value.node, now) or isinstance(value, Announcement):
            return
        for wish in value.wishes:
            if wish.gone:
                self._drop(wish.key, value.node)
            else:
                self._put(value.node, wish, now)

    def _note(self, node: bytes, now: float) -> bool:
        """Whether the node is one of those that are listened to."""
        if node not in self._nodes and len(self._nodes) >= MAX_NODES:
            oldest, heard = next(iter(self._nodes.items()))
            if heard + DEAD_S > now:
                return False
            self.forget(oldest)
        self._nodes[node] = now
        self._nodes.move_to_end(node)
        return True

    def _put(self, node: bytes, wish: Wish, now: float) -> None:
        stands = self._stands.get(wish.key, {})
        if node not in stands:
            if len(self) >= self._tuning.heard_wishes:
                self.sweep(now)
            if len(self) >= self._tuning.heard_wishes or self._counts.get(node, 0) >= MAX_WISHES:
                return
            self._counts[node] = self._counts.get(node, 0) + 1
            self._size += 1
            self._stands[wish.key] = stands
        stands[node] = HeardWish(wish, now)

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
        """As if it had never been heard."""
        self._nodes.pop(node, None)
        if node in self._counts:
            for key in [key for key, stands in self._stands.items() if node in stands]:
                self._drop(key, node)

    def sweep(self, now: float) -> None:
        """Forgets what is too old to matter; looks once in a second."""
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
            self._drop(key, node)
