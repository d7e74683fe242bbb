"""Who fetches a blob from its origin for all on the LAN: one holder for each blob, elected with
nothing but what the nodes say to all (:mod:`outlast.swarm.lan.beacon`). Pure: the clock is the
caller's, in seconds of any origin that do not go back.

- A live holder stays. While one is heard, or a neighbour that has the blob, nobody begins.
- When neither is heard, nodes wait 1.2 s to hear who else is there. Then the first of those begins
  that can reach an origin: who is further with the blob is before who is less far, by the stages of
  :func:`~outlast.swarm.lan.datagrams.stage_of`, then the higher sha256(node + key). If it does not,
  the next begin, from 2 s later on: they may be cut off from it in one direction.
- Of two holders the one yields that hears of one before it in the same order. What a node says of
  its stage is never more than what it has, so two never yield to each other.
- A node that has heard of no neighbour in the first 0.4 s of its life begins at once.
- A node that is not heard for 3.5 s does not count.
"""

import hashlib
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from outlast.swarm.lan.datagrams import Announcement, Heard, Wish, stage_of
from outlast.swarm.lan.peer_table import PeerTable
from outlast.swarm.tuning import TUNING, LanTuning

COLLECT_S: Final = 1.2
"""Longer than the second in which everybody repeats what it wants."""
GRACE_S: Final = 0.4
OVERDUE_S: Final = 2.0
_STAGGER_S: Final = 0.3
_MAX_STAGGER: Final = 10
LINGER_S: Final = 10.0
"""So long after the last neighbour wanted a blob is it said that it is here."""
SHUN_S: Final = 60.0


class Role(StrEnum):
    """What a node is to do about a blob."""

    FETCH = "fetch"
    """Fetch it from the origin."""
    WAIT = "wait"
    """Another does, or the election is on. Take what pieces the neighbours have."""
    TAKE = "take"
    """Neighbours have all of it."""
    HAVE = "have"
    """It is here."""
    ALONE = "alone"
    """Nobody near has it, and nobody, this node included, says that it could fetch it."""


@dataclass(frozen=True, slots=True)
class State:
    """`nodes`: the holder if one is known (WAIT), or those that have the blob (TAKE)."""

    role: Role
    nodes: tuple[bytes, ...] = ()


@dataclass(slots=True)
class _Own:
    """Where this node stands with a blob. `vacant`: since when nobody holds or has it."""

    able: bool
    score: bytes
    able_from: float = float("-inf")
    fetching: bool = False
    has: bool = False
    stage: int = 0
    vacant: float | None = None
    unwanted: float | None = None
    said: Wish | None = None


def score(node: bytes, key: bytes) -> bytes:
    """The higher of two is before the other, for this key."""
    return hashlib.sha256(node + key).digest()


class Election:
    """All elections of the node with the id `node`, which began to listen at `born`. Call
    :meth:`tick` some times a second while anything is wanted, and when :meth:`hear` says so; give
    what it returns to the beacon. Thread-safe.
    """

    def __init__(self, node: bytes, born: float, tuning: LanTuning = TUNING.lan) -> None:
        self._tuning = tuning
        self._node = node
        self._born = born
        self._lock = threading.Lock()
        self._peers = PeerTable(tuning)
        self._own: dict[bytes, _Own] = {}
        self._dropped: set[bytes] = set()
        self._shunned: dict[tuple[bytes, bytes], float] = {}

    def want(self, key: bytes, now: float, *, able: bool) -> None:
        """This node wants the blob; `able`: it can reach an origin of it. May be called again when
        that changes; an end of :meth:`resign` it is not, unless `able` was false meanwhile.
        """
        with self._lock:
            own = self._own.get(key)
            if own is None:
                own = self._own[key] = _Own(able, score(self._node, key), vacant=now)
            elif not own.able:
                own.able_from = now
            own.able = able
            own.fetching &= able
            self._dropped.discard(key)

    def progress(self, key: bytes, size: int) -> None:
        """So many bytes of the blob are here, whoever sent them; of several numbers the largest."""
        with self._lock:
            if own := self._own.get(key):
                own.stage = max(own.stage, stage_of(size))

    def resign(self, key: bytes, now: float) -> None:
        """The origin fails: for that time this node does not count as able."""
        with self._lock:
            if own := self._own.get(key):
                own.able_from = now + self._tuning.resign_s
                own.fetching = False
                own.vacant = now

    def have(self, key: bytes) -> None:
        """All of the blob is here. That is said as long as a neighbour wants it, and a bit."""
        with self._lock:
            if own := self._own.get(key):
                own.has, own.fetching = True, False

    def drop(self, key: bytes) -> None:
        """This node does not want it any more."""
        with self._lock:
            self._drop(key)

    def _drop(self, key: bytes) -> None:
        own = self._own.pop(key, None)
        if own is not None and own.said is not None:
            self._dropped.add(key)

    def hear(self, value: Heard, now: float) -> bool:
        """Takes note; whether it is about a blob that this node wants, so that a tick is due."""
        if value.node == self._node:
            return False
        with self._lock:
            self._peers.hear(value, now)
            if isinstance(value, Announcement):
                return False
            return any(wish.key in self._own for wish in value.wishes)

    def shun(self, node: bytes, key: bytes, now: float, *, seconds: float = SHUN_S) -> None:
        """A node does not do as it says: it holds or has the blob but sends nothing. For that time
        it does not count for this key.
        """
        with self._lock:
            live = {who: until for who, until in self._shunned.items() if until > now}
            live[node, key] = now + seconds
            self._shunned = dict(list(live.items())[-self._tuning.shunned :])

    def tick(self, now: float) -> tuple[Wish, ...]:
        """Decides; what is new to be said, for :meth:`Beacon.want`."""
        with self._lock:
            self._peers.sweep(now)
            for key, own in list(self._own.items()):
                self._step(key, own, now)
            changed = [Wish(key, gone=True) for key in self._dropped]
            self._dropped.clear()
            for key, own in self._own.items():
                able = own.able and own.able_from <= now
                wish = Wish(key, able, own.fetching, own.has, stage=own.stage)
                if wish != own.said:
                    own.said = wish
                    changed.append(wish)
            return tuple(changed)

    def state(self, key: bytes, now: float) -> State:
        """As the last tick decided. A key that this node does not want is seen as by one that is
        not able.
        """
        with self._lock:
            own = self._own.get(key)
            if own is not None and (own.has or own.fetching):
                return State(Role.HAVE if own.has else Role.FETCH)
            others = self._live(key, now)
            if having := tuple(node for node, wish in others.items() if wish.has):
                return State(Role.TAKE, having)
            if holders := [(_rank(node, wish), node) for node, wish in _fetching(others)]:
                return State(Role.WAIT, (max(holders)[1],))
            able = own is not None and own.able and own.able_from <= now
            if able or any(wish.able for wish in others.values()):
                return State(Role.WAIT)
            return State(Role.ALONE)

    def count_wanting(self, key: bytes, now: float) -> int:
        """How many other live nodes want the blob and do not have it."""
        with self._lock:
            return self._wanting(key, now)

    def wanting(self, key: bytes, now: float) -> list[bytes]:
        """Which other live nodes they are, in an order that all see alike."""
        with self._lock:
            return sorted(n for n, wish in self._peers.live(key, now).items() if not wish.has)

    def _wanting(self, key: bytes, now: float) -> int:
        return sum(not wish.has for wish in self._peers.live(key, now).values())

    def _live(self, key: bytes, now: float) -> dict[bytes, Wish]:
        live = self._peers.live(key, now)
        never = float("-inf")
        return {n: wish for n, wish in live.items() if self._shunned.get((n, key), never) <= now}

    def _step(self, key: bytes, own: _Own, now: float) -> None:
        if own.has:
            self._linger(key, own, now)
            return
        others = self._live(key, now)
        rank = own.stage, own.score
        rivals = [_rank(node, wish) for node, wish in _fetching(others)]
        if any(wish.has for wish in others.values()):
            own.fetching, own.vacant = False, None
        elif own.fetching:
            own.fetching = max(rivals, default=rank) <= rank
            own.vacant = None
        elif rivals:
            own.vacant = None
        else:
            own.vacant = now if own.vacant is None else own.vacant
            if own.able and own.able_from <= now:
                waited = now - own.vacant
                own.fetching = self._is_alone(now) or waited >= _patience(rank, others)

    def grace(self, now: float) -> float:
        """Seconds until a node that has heard of nobody may begin; 0 from then on."""
        return max(0.0, self._born + GRACE_S - now)

    def _is_alone(self, now: float) -> bool:
        return not self.grace(now) and not self._peers.knows_anyone(now)

    def _linger(self, key: bytes, own: _Own, now: float) -> None:
        if self._wanting(key, now):
            own.unwanted = None
        elif own.unwanted is None:
            own.unwanted = now
        elif now >= own.unwanted + LINGER_S:
            self._drop(key)


def _rank(node: bytes, wish: Wish) -> tuple[int, bytes]:
    return wish.stage, score(node, wish.key)


def _fetching(others: dict[bytes, Wish]) -> Iterable[tuple[bytes, Wish]]:
    return ((node, wish) for node, wish in others.items() if wish.fetching)


def _patience(rank: tuple[int, bytes], others: dict[bytes, Wish]) -> float:
    """Seconds without a holder after which a node of that rank begins."""
    ahead = sum(wish.able and _rank(node, wish) > rank for node, wish in others.items())
    if not ahead:
        return COLLECT_S
    return COLLECT_S + OVERDUE_S + _STAGGER_S * min(ahead - 1, _MAX_STAGGER)
