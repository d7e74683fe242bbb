"""Which node of a LAN fetches a blob from its origin: one fetcher for each blob, elected by
datagrams alone (:mod:`outlast.swarm.lan.beacon`). Pure: the clock is the caller's, in seconds of
any origin that do not go back.

- A live fetcher stays. While one is heard, or a neighbour that has the blob, no other node begins.
- When neither is heard, nodes wait 1.2 s to hear who else is there. Then the first in rank of those
  begins that can reach an origin. Rank is the pace, which says how fast a node lets itself fetch;
  then the stage, which says how much of the blob it has
  (:func:`~outlast.swarm.lan.datagrams.stage_of`); then sha256(node + key), the higher first. If the
  first does not begin, the next ones do from 2 s later on: a node can be cut off in one direction.
- Where a node that can fetch says nothing of limits, as older versions do, the pace of none counts.
  Counted for some pairs and not for others, it would let three nodes stop for each other.
- A fetcher of lower pace is not waited for where it would take longer for the rest than this node
  may take for all.
- Of two fetchers the lower in rank stops. A node never says a higher stage than it has, so two
  never stop for each other.
- A node that has heard of no neighbour in the first 0.4 s of its life begins at once.
- A node that is not heard for 3.5 s does not count, nor one whose API has not answered 2.5 s after
  this node began to want the blob: a node that is heard and cannot be asked may be invented.
- A node can be told to rely on no claim about a blob: then it begins, and from then on waits
  only for nodes that it is told to be proven.
"""

import hashlib
import logging
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from outlast.swarm.lan.datagrams import Announcement, Heard, Wish, least_of, stage_of
from outlast.swarm.lan.peer_table import PeerTable
from outlast.swarm.tuning import TUNING, LanTuning

_log = logging.getLogger(__name__)

COLLECT_S: Final = 1.2
"""Wait before a fetcher begins (s): longer than the second in which nodes repeat their wants."""
GRACE_S: Final = 0.4
"""How long a new node waits to hear of others (s)."""
OVERDUE_S: Final = 2.0
"""How much longer the second in rank waits (s)."""
_STAGGER_S: Final = 0.3
_MAX_STAGGER: Final = 10
LINGER_S: Final = 10.0
"""How long a node says that it has a blob after the last neighbour wanted it (s)."""
SHUN_S: Final = 60.0
"""How long a node that sends nothing is left out (s)."""
UNPROVEN_S: Final = 2.5
"""How long a node counts whose API did not answer, from when this node wanted the blob (s)."""
QUICK: Final = 8_000_000
"""No node is taken to fetch more bytes a second than this: higher limits are like none."""
SWITCH_S: Final = 2.0
"""What it takes until another fetcher is elected and has begun (s)."""
_MAX_VOUCHED: Final = 64
_NEVER: Final = float("-inf")


class Role(StrEnum):
    """What a node should do about a blob."""

    FETCH = "fetch"
    """Fetch it from the origin."""
    WAIT = "wait"
    """Another node fetches, or the election is on. Take the pieces that neighbours have."""
    TAKE = "take"
    """Neighbours have all of it."""
    HAVE = "have"
    """This node has it."""
    ALONE = "alone"
    """No node of the LAN has it, and none, this one included, can fetch it."""


@dataclass(frozen=True, slots=True)
class State:
    """`nodes`: the fetcher if one is known (WAIT), or the nodes that have the blob (TAKE)."""

    role: Role
    nodes: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class FetchClaim:
    """A node says that it is fetching a blob, or `has` it, since then; from this address."""

    node: bytes
    address: str
    has: bool
    since: float


@dataclass(slots=True)
class _Own:
    """This node's own state of a blob, which it wants since `wanted`. `vacant`: since when no node
    fetches or has it. `proven_only`: only nodes that are `vouched` for (until then) count. It has
    `size` bytes, of which this node fetches up to `limit` a second (0: any number; None: it does
    not say).
    """

    able: bool
    score: bytes
    wanted: float
    able_from: float = float("-inf")
    fetching: bool = False
    has: bool = False
    stage: int = 0
    vacant: float | None = None
    unwanted: float | None = None
    said: Wish | None = None
    proven_only: bool = False
    vouched: dict[bytes, float] = field(default_factory=dict)
    limit: int | None = None
    size: int = 0


def score(node: bytes, key: bytes) -> bytes:
    """A node's place in rank among nodes of one stage, for this key: the higher goes first."""
    return hashlib.sha256(node + key).digest()


class Election:
    """All elections of the node with the id `node`, which began to listen at `born`. Call
    :meth:`tick` some times a second while any blob is wanted, and when :meth:`hear` returns True;
    pass its result to the beacon. Thread-safe.
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

    def want(
        self, key: bytes, now: float, *, able: bool, limit: int | None = None, size: int = 0
    ) -> None:
        """This node wants the blob of `size` bytes (0: it does not know); `able`: it can reach an
        origin of it, from which it fetches up to `limit` bytes a second (0: any number; None: it
        says and heeds no limits, as nodes of older versions). May be called again when that
        changes; it does not end :meth:`resign`, unless `able` was false meanwhile.
        """
        with self._lock:
            own = self._own.get(key)
            if own is None:
                own = self._own[key] = _Own(able, score(self._node, key), now, vacant=now)
            elif not own.able:
                own.able_from = now
            own.able, own.limit, own.size = able, limit, size
            if not able:
                self._switch(key, own, fetching=False, why="it cannot reach the origin")
            self._dropped.discard(key)

    def progress(self, key: bytes, size: int) -> None:
        """This node has so many bytes of the blob, from any source; the largest number counts."""
        with self._lock:
            if own := self._own.get(key):
                own.stage = max(own.stage, stage_of(size))

    def resign(self, key: bytes, now: float) -> None:
        """The origin fails: for a while this node does not count as able."""
        with self._lock:
            if own := self._own.get(key):
                own.able_from = now + self._tuning.resign_s
                own.vacant = now
                self._switch(key, own, fetching=False, why="its origin fails")

    def have(self, key: bytes) -> None:
        """This node has all of the blob. It says so while a neighbour wants it, and longer."""
        with self._lock:
            if own := self._own.get(key):
                own.has = True
                self._switch(key, own, fetching=False, why="it has the blob")

    def drop(self, key: bytes) -> None:
        """This node no longer wants the blob."""
        with self._lock:
            self._drop(key)

    def _drop(self, key: bytes) -> None:
        own = self._own.pop(key, None)
        if own is not None and own.said is not None:
            self._dropped.add(key)

    def hear(self, value: Heard, now: float) -> bool:
        """Records what a node said; whether it is about a blob that this node wants: then tick."""
        if value.node == self._node:
            return False
        with self._lock:
            self._peers.hear(value, now)
            if isinstance(value, Announcement):
                return False
            return any(wish.key in self._own for wish in value.wishes)

    def shun(self, node: bytes, key: bytes, now: float, *, seconds: float = SHUN_S) -> None:
        """A node says that it fetches or has the blob, and sends nothing: for that time it does not
        count for this key.
        """
        with self._lock:
            live = {who: until for who, until in self._shunned.items() if until > now}
            live[node, key] = now + seconds
            self._shunned = dict(list(live.items())[-self._tuning.shunned :])
        _log.debug("node %s sends nothing of blob %s: ignored", node.hex()[:12], key.hex()[:12])

    def reach(self, nodes: Mapping[bytes, frozenset[str]]) -> None:
        """The nodes whose API has answered, and at which addresses. Until this is called first, all
        count.
        """
        with self._lock:
            self._peers.reached = nodes

    def rely_on_proven(self, key: bytes, now: float) -> None:
        """Those that claim to fetch or to have the blob brought nothing: this node fetches it, and
        counts only nodes that are vouched for, until it no longer wants the blob.
        """
        with self._lock:
            own = self._own.get(key)
            if own is None or own.has:
                return
            own.proven_only, own.vacant = True, now
            if own.able and own.able_from <= now:
                self._switch(key, own, fetching=True, why="nothing came from those that claim it")

    def vouch(self, node: bytes, key: bytes, now: float, *, seconds: float) -> None:
        """It was seen that this node does what it claims: for that time it counts."""
        with self._lock:
            self._shunned.pop((node, key), None)
            if own := self._own.get(key):
                own.vouched = {who: until for who, until in own.vouched.items() if until > now}
                if len(own.vouched) < _MAX_VOUCHED:
                    own.vouched[node] = now + seconds

    def claims(self, key: bytes, now: float) -> list[FetchClaim]:
        """Who claims to fetch or to have the blob and is not shunned, whether it counts or not."""
        with self._lock:
            return [
                FetchClaim(node, stand.address, stand.wish.has, stand.since)
                for node, stand in self._peers.stands(key, now).items()
                if stand.wish.claims and self._shunned.get((node, key), _NEVER) <= now
            ]

    def tick(self, now: float) -> tuple[Wish, ...]:
        """Decides; returns what has changed, for :meth:`Beacon.want`."""
        with self._lock:
            self._peers.sweep(now)
            for key, own in list(self._own.items()):
                self._step(key, own, now)
            changed = [Wish(key, gone=True) for key in self._dropped]
            self._dropped.clear()
            for key, own in self._own.items():
                able = own.able and own.able_from <= now
                wish = Wish(key, able, own.fetching, own.has, stage=own.stage, limit=own.limit)
                if wish != own.said:
                    own.said = wish
                    changed.append(wish)
            return tuple(changed)

    def state(self, key: bytes, now: float) -> State:
        """As the last tick decided. For a blob that this node does not want: as a node would see it
        that is not able.
        """
        with self._lock:
            own = self._own.get(key)
            if own is not None and (own.has or own.fetching):
                return State(Role.HAVE if own.has else Role.FETCH)
            others = self._live(key, now)
            if having := tuple(node for node, wish in others.items() if wish.has):
                return State(Role.TAKE, having)
            if fetchers := [(_rank(node, wish), node) for node, wish in _fetching(others)]:
                return State(Role.WAIT, (max(fetchers)[1],))
            able = own is not None and own.able and own.able_from <= now
            if able or any(wish.able for wish in others.values()):
                return State(Role.WAIT)
            return State(Role.ALONE)

    def count_wanting(self, key: bytes, now: float) -> int:
        """How many other live nodes want the blob and do not have it."""
        with self._lock:
            return len(self._wanting(key, now))

    def wanting(self, key: bytes, now: float) -> list[bytes]:
        """Those nodes, in an order that is the same for all."""
        with self._lock:
            return sorted(self._wanting(key, now))

    def _wanting(self, key: bytes, now: float) -> list[bytes]:
        own, live = self._own.get(key), self._peers.live(key, now)
        since = _NEVER if own is None else own.wanted
        return [n for n, wish in live.items() if not wish.has and self._is_real(n, since, now)]

    def _live(self, key: bytes, now: float) -> dict[bytes, Wish]:
        live, own = self._peers.live(key, now), self._own.get(key)
        return {
            node: wish
            for node, wish in live.items()
            if self._shunned.get((node, key), _NEVER) <= now
            and (own is None or self._counts(own, node, now))
        }

    def _counts(self, own: _Own, node: bytes, now: float) -> bool:
        """Whether what a node says of a blob is to be believed."""
        if own.vouched.get(node, _NEVER) > now:
            return True
        return not own.proven_only and self._is_real(node, own.wanted, now)

    def _is_real(self, node: bytes, since: float, now: float) -> bool:
        """Whether a node can be reached, or may be, as the blob is wanted `since` a moment ago."""
        reached = self._peers.reached
        return reached is None or node in reached or now < since + UNPROVEN_S

    def _step(self, key: bytes, own: _Own, now: float) -> None:
        if own.has:
            self._linger(key, own, now)
            return
        others = self._live(key, now)
        fetching = dict(_fetching(others))
        by_pace = _say_limits(own, fetching.values())
        if any(wish.has for wish in others.values()):
            own.vacant = None
            self._switch(key, own, fetching=False, why="a neighbour has the blob")
        elif own.fetching:
            own.vacant = None
            if any(_is_before(own, *rival, by_pace=by_pace) for rival in fetching.items()):
                self._switch(key, own, fetching=False, why="a node before it in rank fetches")
        elif not all(by_pace and _is_too_slow(own, wish) for wish in fetching.values()):
            own.vacant = None
        else:
            own.vacant = now if own.vacant is None else own.vacant
            if own.able and own.able_from <= now:
                waited = now - own.vacant
                if self._is_alone(now):
                    self._switch(key, own, fetching=True, why="no other node was heard")
                elif waited >= _patience(own, others):
                    why = f"no node fetched for {waited:.1f} s"
                    self._switch(key, own, fetching=True, why=why)

    @staticmethod
    def _switch(key: bytes, own: _Own, *, fetching: bool, why: str) -> None:
        if own.fetching != fetching:
            own.fetching = fetching
            does = "fetches" if fetching else "does not fetch"
            _log.debug("blob %s: this node %s from the origin: %s", key.hex()[:12], does, why)

    def grace(self, now: float) -> float:
        """Seconds until a node that has heard of no other may begin; 0 from then on."""
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


def _rank(node: bytes, wish: Wish) -> tuple[int, int, bytes]:
    return _pace(wish.limit or 0), wish.stage, score(node, wish.key)


def _pace(limit: int) -> int:
    """One more for each factor of four: that much the limits of nodes have to differ to count."""
    return min(limit or QUICK, QUICK).bit_length() // 2


def _say_limits(own: _Own, rivals: Iterable[Wish]) -> bool:
    """Whether this node and its rivals all say how fast they let themselves fetch."""
    return own.limit is not None and all(wish.limit is not None for wish in rivals)


def _is_before(own: _Own, node: bytes, wish: Wish, *, by_pace: bool) -> bool:
    """Whether a node is before this one in rank."""
    pace, mine = (_pace(wish.limit or 0), _pace(own.limit or 0)) if by_pace else (0, 0)
    return (pace, wish.stage, score(node, wish.key)) > (mine, own.stage, own.score)


def _is_too_slow(own: _Own, wish: Wish) -> bool:
    """Whether this node would have all of the blob before a fetcher of lower pace has the rest."""
    if not wish.limit or _pace(wish.limit) >= _pace(own.limit or 0):
        return False
    rest = max(0, own.size - least_of(wish.stage)) / wish.limit
    return rest > own.size / min(own.limit or QUICK, QUICK) + SWITCH_S


def _fetching(others: Mapping[bytes, Wish]) -> Iterable[tuple[bytes, Wish]]:
    return ((node, wish) for node, wish in others.items() if wish.fetching)


def _patience(own: _Own, others: Mapping[bytes, Wish]) -> float:
    """Seconds without a fetcher after which this node begins."""
    rivals = {node: wish for node, wish in others.items() if wish.able}
    by_pace = _say_limits(own, rivals.values())
    ahead = sum(_is_before(own, *rival, by_pace=by_pace) for rival in rivals.items())
    if not ahead:
        return COLLECT_S
    return COLLECT_S + OVERDUE_S + _STAGGER_S * min(ahead - 1, _MAX_STAGGER)
