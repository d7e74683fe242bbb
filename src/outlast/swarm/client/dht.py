"""The distributed hash table, in a libtorrent session of its own.

A session has one address filter, for its restricted torrents, and its DHT obeys it too: such a DHT
would know static peers alone. So the DHT has a session and a port of its own, and announces the
port of the other session (docs/adr/0015-dht.md).
"""

import ipaddress
import logging
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

import libtorrent as lt

from outlast.core.closing import Closing
from outlast.swarm.client.alerts import Alerts
from outlast.swarm.client.dht_port import DhtPort, is_closed
from outlast.swarm.settings import HostPort, SwarmSettings
from outlast.swarm.torrent.payload_torrent import truncated
from outlast.swarm.tuning import TUNING, ClientTuning

_log = logging.getLogger(__name__)

Found = Callable[[list[HostPort]], None]
_FIRST_PORT: Final = 1024


@dataclass(slots=True)
class _Announced:
    """One infohash: the port it is announced at (0: it is only looked up), when it is due next, and
    how long to wait after that. `seeks`: a peer is wanted, and none was named so far.
    """

    found: Found
    port: int
    due: float
    wait: float
    seeks: bool


class Dht(Closing):
    """Announces torrents at this node's BitTorrent port, and finds their peers. Thread-safe."""

    def __init__(
        self, settings: SwarmSettings, port: int, tuning: ClientTuning = TUNING.client
    ) -> None:
        """`port` is BitTorrent's, over TCP. Raises :class:`BadConfigError` if the DHT's own port is
        taken.
        """
        self._tuning = tuning
        self._routers = settings.dht_routers
        self._closed_net = is_closed(settings)
        self._most_wait = tuning.dht_closed_s if self._closed_net else tuning.dht_open_s
        self._port = port
        self._lock = threading.Lock()
        self._places: dict[bytes, _Announced] = {}
        self._nodes = 0
        self._asked = 0
        self._counted = float("-inf")
        self._listens = DhtPort(settings, tuning.port_tries)
        self._session = lt.session(self._listens.session_settings())
        self._alerts = Alerts(self._session, self._take, tick=self._tick, seconds=tuning.dht_tick_s)

    def close(self) -> None:
        self._alerts.close()
        self._session.pause()

    @property
    def nodes(self) -> int:
        """The number of DHT nodes known at the last count."""
        return self._nodes

    @property
    def asked(self) -> int:
        """How often the nodes were counted."""
        return self._asked

    def join(
        self,
        infohashes: Iterable[bytes],
        found: Found,
        *,
        seeks: bool = False,
        port: int | None = None,
    ) -> None:
        """Announces torrents from now on; `found` is called with their peers, from one thread.
        Infohashes of version 2 are truncated to 20 bytes (BEP 52). `seeks`: the torrent is fetched,
        so it is asked for often until a peer is named. `port`: None for that of this object.
        """
        with self._lock:
            for infohash in infohashes:
                self._places[truncated(infohash)] = _Announced(
                    found, port or self._port, time.monotonic(), self._tuning.dht_first_s, seeks
                )

    def look_up(self, infohash: bytes, found: Found) -> None:
        """Asks for the peers of a torrent without announcing it: who asks has nothing of it."""
        with self._lock:
            self._places[truncated(infohash)] = _Announced(
                found, 0, time.monotonic(), self._tuning.dht_first_s, seeks=True
            )

    def leave(self, infohashes: Iterable[bytes]) -> None:
        """Stops announcing torrents; DHT nodes forget them in time."""
        with self._lock:
            for infohash in infohashes:
                self._places.pop(truncated(infohash), None)

    def _tick(self) -> None:
        now = time.monotonic()
        if now >= self._counted + self._tuning.dht_count_s:
            self._counted = now
            self._asked += 1
            self._session.post_session_stats()
            if not self._nodes:  # a router may come up later than its nodes
                for router in self._routers:
                    self._session.add_dht_node(router)
        for infohash, port in self._due(now):
            if port:
                self._session.dht_announce(lt.sha1_hash(infohash), port, 0)
            else:
                self._session.dht_get_peers(lt.sha1_hash(infohash))

    def _due(self, now: float) -> list[tuple[bytes, int]]:
        """Some of the torrents that are due, and their ports; each waits longer the next time."""
        if not self._nodes:
            return []
        with self._lock:
            due = [h for h, place in self._places.items() if place.due <= now]
            found = []
            for infohash in due[: self._tuning.dht_announced_a_tick]:
                place = self._places[infohash]
                found.append((infohash, place.port))
                most = self._tuning.dht_alone_s if place.seeks else self._most_wait
                place.due = now + min(place.wait, most)
                place.wait = min(2 * place.wait, self._most_wait)
        return found

    def _take(self, alert: lt.alert) -> None:
        if isinstance(alert, lt.session_stats_alert):
            nodes = alert.values.get("dht.dht_nodes", 0)
            if bool(nodes) != bool(self._nodes):
                _log.debug("the DHT knows %d nodes", nodes)
            self._nodes = nodes
        elif isinstance(alert, lt.dht_get_peers_reply_alert):
            with self._lock:
                place = self._places.get(alert.info_hash.to_bytes())
            said = alert.peers()[: self._tuning.dht_peers_a_reply]
            peers = [peer for peer in said if self.may_be(*peer)]
            if place is not None and peers:
                _log.debug(
                    "the DHT names %d peers of %s", len(peers), alert.info_hash.to_bytes().hex()
                )
                with self._lock:  # with our port it may be this node itself
                    place.seeks = place.seeks and all(port == place.port for _, port in peers)
                place.found(peers)

        elif isinstance(alert, lt.listen_failed_alert):
            self._listens.failed(self._session, alert)

    def may_be(self, host: str, port: int) -> bool:
        """Whether an address may be a peer. A DHT node can claim any address: ports below 1024 are
        refused, as are addresses inside this network when the DHT is the public one.
        """
        return port >= _FIRST_PORT and (self._closed_net or ipaddress.ip_address(host).is_global)
