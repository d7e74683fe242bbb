"""Tells addresses at which a machine takes connections from invented ones, by the thousand.

One sender of datagrams can invent nodes at any number of addresses, and a question to one at which
no machine is takes a thread until its time is over. A connection that is only tried takes none.
"""

import contextlib
import errno
import secrets
import selectors
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from outlast.core.closing import Closing
from outlast.swarm.settings import HostPort
from outlast.swarm.tuning import TUNING, LanTuning

_BEGUN: Final = frozenset({0, errno.EINPROGRESS, errno.EWOULDBLOCK, errno.EALREADY})
_random = secrets.SystemRandom()


@dataclass(frozen=True, slots=True)
class _Tried:
    """A connection on its way, and until when it is waited for (monotonic seconds)."""

    where: HostPort
    until: float


class Knocking(Closing):
    """Tries the addresses that it is given, each once as long as it waits. `found` is called with
    those at which a connection was made, from the one thread that runs while any waits.
    Thread-safe.

    Where more than `knocks_wait` wait, new ones take the places of random others. A random host is
    next, and then a random port of it: many ports of one host do not crowd out other hosts.
    """

    def __init__(self, found: Callable[[str, int], object], tuning: LanTuning = TUNING.lan) -> None:
        self._found = found
        self._tuning = tuning
        self._lock = threading.Lock()
        self._hosts: list[str] = []
        self._ports: dict[str, list[int]] = {}
        self._waiting: set[HostPort] = set()
        self._underway: set[HostPort] = set()
        self._runs = False
        self._closed = False
        self._invented = 0

    def close(self) -> None:
        """No address is tried any more, and `found` is not called again, but for one that is being
        told of.
        """
        with self._lock:
            self._closed = True
            self._waiting.clear()
            self._hosts, self._ports = [], {}

    @property
    def is_busy(self) -> bool:
        """Whether any address waits, or is being tried."""
        with self._lock:
            return bool(self._waiting or self._underway)

    @property
    def is_crowded(self) -> bool:
        """Whether so many addresses were tried in vain that some are invented: then it may take
        long to hear and find a real one.
        """
        return self._invented >= self._tuning.knocks_crowd

    def add(self, host: str, port: int) -> None:
        """A machine may be at this IP address."""
        where = host, port
        with self._lock:
            if self._closed or where in self._waiting or where in self._underway:
                return
            if len(self._waiting) >= self._tuning.knocks_wait:
                self._take()
            self._waiting.add(where)
            if host not in self._ports:
                self._hosts.append(host)
            self._ports.setdefault(host, []).append(port)
            if self._runs:
                return
            self._runs = True
        threading.Thread(target=self._run, name="knock", daemon=True).start()

    def _take(self) -> HostPort:
        """A random one of those that wait; the lock is held."""
        number = _random.randrange(len(self._hosts))
        host = self._hosts[number]
        ports = self._ports[host]
        chosen = _random.randrange(len(ports))
        ports[chosen], ports[-1] = ports[-1], ports[chosen]
        where = host, ports.pop()
        if not ports:
            del self._ports[host]
            self._hosts[number] = self._hosts[-1]
            self._hosts.pop()
        self._waiting.discard(where)
        return where

    # The thread

    def _run(self) -> None:
        with selectors.DefaultSelector() as selector:
            try:
                while self._begin(selector):
                    self._finish(selector)
            finally:
                for key in list(selector.get_map().values()):
                    _close(key.fileobj)

    def _begin(self, selector: selectors.BaseSelector) -> bool:
        """Begins to connect to as many as may be; whether there is anything to wait for."""
        while True:
            with self._lock:
                if self._closed or not (self._waiting or self._underway):
                    self._runs = False
                    return False
                if not self._waiting or len(self._underway) >= self._tuning.knocks_at_once:
                    return True
                where = self._take()
                self._underway.add(where)
            sock = _connecting(where)
            if sock is None:
                self._end(where, found=False)
            else:
                tried = _Tried(where, time.monotonic() + self._tuning.knock_s)
                selector.register(sock, selectors.EVENT_WRITE, tried)

    def _finish(self, selector: selectors.BaseSelector) -> None:
        """Waits until one of them has an end, or its time is over."""
        known = list(selector.get_map().values())
        if not known:
            return
        first = min(key.data.until for key in known)
        ready = {key.fd for key, _ in selector.select(max(0.0, first - time.monotonic()))}
        now = time.monotonic()
        for key in known:
            if key.fd not in ready and key.data.until > now:
                continue
            made = key.fd in ready and _error_of(key.fileobj) == 0
            selector.unregister(key.fileobj)
            _close(key.fileobj)
            self._end(key.data.where, found=made)

    def _end(self, where: HostPort, *, found: bool) -> None:
        with self._lock:
            closed = self._closed
            self._invented += not found
        if found and not closed:
            self._found(*where)
        with self._lock:  # until it is told of, it is not done
            self._underway.discard(where)


def _connecting(where: HostPort) -> socket.socket | None:
    """A socket that connects to an address; None where that cannot be."""
    try:
        flags = socket.AI_NUMERICHOST
        found = socket.getaddrinfo(*where, type=socket.SOCK_STREAM, flags=flags)
        family, kind, number, _, address = found[0]
        sock = socket.socket(family, kind, number)
    except (OSError, UnicodeError):
        return None
    sock.setblocking(False)
    if sock.connect_ex(address) in _BEGUN:
        return sock
    sock.close()
    return None


def _error_of(sock: object) -> int:
    assert isinstance(sock, socket.socket)
    return sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)


def _close(sock: object) -> None:
    assert isinstance(sock, socket.socket)
    with contextlib.suppress(OSError):
        sock.close()
