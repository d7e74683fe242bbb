"""A tracker's memory (BEP 3): which peers are in which swarm. Bounded, whatever is announced; the
clock is the caller's, in seconds that do not go back.
"""

import ipaddress
import random
import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TypeAlias

from outlast.swarm.tuning import TUNING, TrackerTuning

Peer: TypeAlias = tuple[str, int]
"""Address and port, as :func:`peer_of` writes them."""


@dataclass(frozen=True, slots=True)
class Swarm:
    """A tracker's answer: how many peers are `complete` and `incomplete`, and a random choice of
    `peers` that the asker can use. It should ask again in `interval` seconds.
    """

    complete: int
    incomplete: int
    peers: tuple[Peer, ...] = ()
    downloaded: int = 0
    interval: int = TUNING.tracker.interval_s


def peer_of(address: str, port: int) -> Peer:
    """A peer as the tracker knows it, from the address of a socket: no zone, and IPv4 is IPv4.
    Raises ValueError for what is no address.
    """
    found = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped:
        found = found.ipv4_mapped
    return str(found), port


@dataclass(slots=True)
class _Entry:
    """A peer. `is_here`: on the tracker's own machine; `is_hidden`: its address holds on one link
    and means nothing without a zone, which no reply can carry.
    """

    until: float
    is_complete: bool
    is_trusted: bool
    is_here: bool
    is_hidden: bool


@dataclass(slots=True)
class _Swarm:
    """Its peers, the one that announced last at the end."""

    peers: OrderedDict[Peer, _Entry] = field(default_factory=OrderedDict)
    downloaded: int = 0

    def is_trusted(self) -> bool:
        return any(entry.is_trusted for entry in self.peers.values())


class Swarms:
    """Thread-safe. `chance` picks the peers that are named."""

    def __init__(
        self, chance: random.Random | None = None, tuning: TrackerTuning = TUNING.tracker
    ) -> None:
        self._tuning = tuning
        self._chance = chance or random.Random()  # noqa: S311 - no secret
        self._lock = threading.Lock()
        self._open: OrderedDict[bytes, _Swarm] = OrderedDict()
        self._trusted: OrderedDict[bytes, _Swarm] = OrderedDict()
        self._size = 0

    def __len__(self) -> int:
        """Peers in all swarms."""
        return self._size

    def announce(
        self,
        infohash: bytes,
        peer: Peer,
        *,
        left: int,
        event: str = "",
        numwant: int | None = None,
        now: float,
        trusted: bool = False,
        host: str = "",
    ) -> Swarm:
        """Records that `peer` is in a swarm (infohash of 20 bytes) and lacks `left` bytes, or that
        it leaves, if `event` is "stopped"; returns other peers. A peer that is silent for twice the
        interval it was told is forgotten. When there are too many, those that were silent longest
        make room; `trusted` peers (named by the operator) and their swarms go last. `host` is the
        address at which the asker reached this machine: peers on this machine are named by it.
        """
        with self._lock:
            swarm = self._open.pop(infohash, None) or self._trusted.pop(infohash, _Swarm())
            self._expire(swarm, now)
            interval = self._interval()
            if event == "stopped":
                self._remove(swarm, peer)
            else:
                known = swarm.peers.get(peer)
                trusted |= known is not None and known.is_trusted
                entry = _entry(peer, now + 2 * interval, left == 0, is_trusted=trusted)
                self._admit(swarm, peer, entry)
                swarm.downloaded += event == "completed"
            self._settle(infohash, swarm)
            wanted = 0 if event == "stopped" else self._wanted(numwant)
            named = self._named(swarm, peer, host, wanted, seeds=left != 0)
            return _counted(swarm, named, interval)

    def _interval(self) -> int:
        wanted = max(self._tuning.interval_s, self._size // self._tuning.announces_per_s)
        return min(self._tuning.max_interval_s, wanted)

    def _wanted(self, numwant: int | None) -> int:
        if numwant is None:
            return self._tuning.wanted
        return max(0, min(numwant, self._tuning.max_wanted))

    def scrape(self, infohash: bytes, now: float) -> Swarm | None:
        """The counts of a swarm; None if it is not known."""
        with self._lock:
            swarm = self._open.get(infohash) or self._trusted.get(infohash)
            if swarm is None:
                return None
            self._expire(swarm, now)
            return _counted(swarm, (), self._tuning.interval_s)

    def _expire(self, swarm: _Swarm, now: float) -> None:
        for peer in [peer for peer, entry in swarm.peers.items() if entry.until <= now]:
            self._remove(swarm, peer)

    def _remove(self, swarm: _Swarm, peer: Peer) -> None:
        if swarm.peers.pop(peer, None) is not None:
            self._size -= 1

    def _admit(self, swarm: _Swarm, peer: Peer, entry: _Entry) -> None:
        """Adds a peer, unless no other one can make room for it."""
        if peer not in swarm.peers and not self._make_room(swarm, peer, entry):
            return
        self._size += peer not in swarm.peers
        swarm.peers[peer] = entry
        swarm.peers.move_to_end(peer)

    def _make_room(self, swarm: _Swarm, peer: Peer, entry: _Entry) -> bool:
        others = [who for who, other in swarm.peers.items() if not other.is_trusted]
        same = [who for who in others if who[0] == peer[0]]
        if not entry.is_trusted and len(same) >= self._tuning.ports:
            self._remove(swarm, same[0])
        elif len(swarm.peers) >= self._tuning.peers:
            if not others and not entry.is_trusted:
                return False
            self._remove(swarm, next(iter(others or swarm.peers)))
        return True

    def _settle(self, infohash: bytes, swarm: _Swarm) -> None:
        """Keeps the swarm, unless it is empty, as the most recent one."""
        if swarm.peers:
            (self._trusted if swarm.is_trusted() else self._open)[infohash] = swarm
        while self._is_over_full():
            _, oldest = (self._open or self._trusted).popitem(last=False)
            self._size -= len(oldest.peers)

    def _is_over_full(self) -> bool:
        swarms = len(self._open) + len(self._trusted)
        return swarms > self._tuning.swarms or self._size > self._tuning.peers_in_all

    def _named(
        self, swarm: _Swarm, asker: Peer, host: str, wanted: int, *, seeds: bool
    ) -> tuple[Peer, ...]:
        """Some peers for `asker`. A seed needs no other `seeds`."""
        if not wanted:
            return ()
        from_here = ipaddress.ip_address(asker[0]).is_loopback
        found: list[Peer] = []
        for peer, entry in swarm.peers.items():
            if peer == asker or entry.is_hidden or (entry.is_complete and not seeds):
                continue
            if not entry.is_here or from_here:
                found.append(peer)
            elif host:
                found.append((host, peer[1]))
        return tuple(self._chance.sample(found, min(wanted, len(found))))


def _entry(peer: Peer, until: float, is_complete: bool, *, is_trusted: bool) -> _Entry:
    address = ipaddress.ip_address(peer[0])
    is_hidden = address.version == 6 and address.is_link_local
    return _Entry(until, is_complete, is_trusted, address.is_loopback, is_hidden)


def _counted(swarm: _Swarm, named: tuple[Peer, ...], interval: int) -> Swarm:
    complete = sum(entry.is_complete for entry in swarm.peers.values())
    incomplete = len(swarm.peers) - complete
    return Swarm(complete, incomplete, named, swarm.downloaded, interval)
