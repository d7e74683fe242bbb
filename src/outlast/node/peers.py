"""The peers of a node: those heard on the LAN, and the static ones; which of them answered."""

import logging
import socket
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from outlast.core.errors import OutlastError
from outlast.core.threads import DaemonPool
from outlast.node.tuning import TUNING, Tuning
from outlast.sources.http import HttpClient
from outlast.sources.peer import PeerSource
from outlast.swarm.settings import HostPort

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Neighbour:
    """Another node: its id (20 bytes), how to ask it, and where its swarm listens."""

    node: bytes
    host: str
    peer_port: int
    swarm_port: int
    static: bool
    source: PeerSource = field(compare=False)

    @property
    def swarm_address(self) -> tuple[str, int]:
        return self.host, self.swarm_port

    @property
    def tracker(self) -> str:
        """The URL that its tracker is announced to."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.peer_port}/announce"


@dataclass(slots=True)
class _Contact:
    """An address where a node may be, and what came of asking."""

    host: str
    peer_port: int
    static: bool
    due: float
    asking: bool = False
    asked: float = 0.0
    failures: int = 0
    heard: float = 0.0
    neighbour: Neighbour | None = None


class Contacts:
    """All peers. Thread-safe; nothing blocks."""

    def __init__(
        self,
        own: bytes,
        http: HttpClient,
        peers: Sequence[HostPort],
        *,
        changed: Callable[[], None],
        static: Callable[[frozenset[str]], None],
        tuning: Tuning = TUNING,
    ) -> None:
        """`own`: the id of this node; `peers`: the static ones. `changed` is called whenever a peer
        answered, or failed to; `static` receives the IP addresses of static peers.
        """
        self._tuning = tuning
        self._own = own
        self._http = http
        self._peers = peers
        self._changed = changed
        self._tell_static = static
        self._lock = threading.Lock()
        self._contacts: dict[tuple[str, int], _Contact] = {}
        self._static_hosts: frozenset[str] = frozenset()
        self._resolved: dict[HostPort, tuple[str, ...]] = {}
        self._resolve_at = 0.0
        self._unasked = set(peers)
        self._born = time.monotonic()
        self._pool = DaemonPool(tuning.askers, "neighbour")
        self._closed = False

    def close(self) -> None:
        """The callbacks are not called any more."""
        with self._lock:
            self._closed = True

    def neighbours(self) -> list[Neighbour]:
        """The nodes that answered, static peers first."""
        with self._lock:
            found = [c.neighbour for c in self._contacts.values() if c.neighbour is not None]
        found.sort(key=lambda n: (n.static, ":" not in n.host, "%" not in n.host))
        unique = {neighbour.node: neighbour for neighbour in found}
        return sorted(unique.values(), key=lambda n: (not n.static, n.node))

    def answered(self) -> dict[bytes, frozenset[str]]:
        """The ids of the nodes whose API has answered, and at which addresses each did."""
        found: dict[bytes, set[str]] = {}
        with self._lock:
            for contact in self._contacts.values():
                if contact.neighbour is not None:
                    found.setdefault(contact.neighbour.node, set()).add(contact.host)
        return {node: frozenset(hosts) for node, hosts in found.items()}

    def is_static(self, host: str) -> bool:
        """Whether an address is that of a static peer."""
        return host.partition("%")[0] in self._static_hosts

    def expects(self) -> bool:
        """Whether a peer may be there that has not answered yet."""
        with self._lock:
            looks_up = (
                bool(self._unasked) and time.monotonic() < self._born + self._tuning.ask_timeout
            )
            return looks_up or any(c.asking and not c.failures for c in self._contacts.values())

    def silent_for(self, neighbour: Neighbour) -> float:
        """Seconds since a neighbour was heard, or answered."""
        with self._lock:
            contact = self._contacts.get((neighbour.host, neighbour.peer_port))
            return 0.0 if contact is None else time.monotonic() - contact.heard

    def tick(self, now: float) -> None:
        """Asks those whose turn it is, and looks up the names of static peers."""
        self._resolve_all(now)
        with self._lock:
            due = [c for c in self._contacts.values() if c.due <= now and not c.asking]
        for contact in due:
            self._ask(contact)

    def _resolve_all(self, now: float) -> None:
        """Looks up the static peers: the network may not have been there, and names move."""
        with self._lock:
            if now < self._resolve_at:
                return
            known = self._peers and all(p in self._resolved for p in self._peers)
            self._resolve_at = now + (
                self._tuning.resolve_again if known else self._tuning.static_again
            )
        for host, port in self._peers:
            self._pool.submit(self._resolve, host, port)

    def _resolve(self, host: str, port: int) -> None:
        try:
            self._meet_all(host, port)
        finally:
            with self._lock:
                self._unasked.discard((host, port))

    def _meet_all(self, host: str, port: int) -> None:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            return
        hosts = tuple(dict.fromkeys(str(info[4][0]) for info in found))[
            : self._tuning.most_addresses
        ]
        with self._lock:
            if self._resolved.get((host, port)) != hosts and not self._closed:
                self._resolved[host, port] = hosts
                names = (name for each in self._resolved.values() for name in each)
                self._static_hosts = frozenset(name.partition("%")[0] for name in names)
                self._tell_static(self._static_hosts)
        for name in hosts:
            self.meet(name, port, static=True)

    def knows(self, host: str, port: int) -> bool:
        """Whether an address is among those that are asked."""
        return (host, port) in self._contacts

    def meet(self, host: str, port: int, *, static: bool) -> None:
        """A node may be at this address: it is asked, unless it is known."""
        with self._lock:
            contact = self._contacts.get((host, port))
            if contact is None:
                if not static and not self._has_room(host):
                    return
                contact = _Contact(host, port, static, due=0.0)
                self._contacts[host, port] = contact
            contact.static = contact.static or static
            contact.heard = time.monotonic()
            known = contact.neighbour is not None
        if not known:
            self._ask(contact)

    def _has_room(self, host: str) -> bool:
        """Whether one more address heard on the LAN may be tried. A host has so many ports, and
        where there is no room one that has not answered makes it: the one asked longest ago.
        """
        on_host = [where for where in self._contacts if where[0] == host]
        if len(on_host) >= self._tuning.most_ports:
            rivals = on_host
        elif len(self._contacts) >= self._tuning.most_neighbours:
            rivals = list(self._contacts)
        else:
            return True
        silent = [
            (known.asked, where)
            for where in rivals
            if (known := self._contacts[where]).neighbour is None
            and known.failures
            and not known.static
            and not known.asking
        ]
        if not silent:
            return False
        del self._contacts[min(silent)[1]]
        return True

    def _ask(self, contact: _Contact) -> None:
        with self._lock:
            if contact.asking:
                return
            contact.asking = True
            contact.asked = time.monotonic()
        self._pool.submit(self._introduce, contact)

    def _introduce(self, contact: _Contact) -> None:
        source = PeerSource(self._http, contact.host, contact.peer_port)
        found: Neighbour | None = None
        try:
            known = contact.static or contact.failures or contact.neighbour is not None
            tuning = self._tuning
            about = source.node(tuning.ask_timeout if known else tuning.first_timeout)
            if about.node != self._own:
                found = Neighbour(
                    node=about.node,
                    host=contact.host,
                    peer_port=contact.peer_port,
                    swarm_port=about.swarm_port,
                    static=contact.static,
                    source=source,
                )
        except OutlastError as error:
            if not contact.failures:
                _log.debug("%s does not answer as a node: %s", source.name, error)
        now = time.monotonic()
        with self._lock:
            contact.asking = False
            before = contact.neighbour
            if found is not None:
                contact.failures = 0
                contact.heard = now
                # The source keeps what it learnt: it stays as long as the node does.
                contact.neighbour = before if before == found else found
                contact.due = now + self._tuning.ask_again
            else:
                contact.failures += 1
                pause = self._tuning.static_again if contact.static else self._tuning.ask_timeout
                contact.due = now + pause
                if contact.failures >= self._tuning.most_failures:
                    contact.neighbour = None
                    if not contact.static:
                        self._contacts.pop((contact.host, contact.peer_port), None)
        self._changed()
