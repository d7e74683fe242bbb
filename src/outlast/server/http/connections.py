"""The connections of a server: how many, from whom, and for how long they may be silent."""

import asyncio
import functools
import ipaddress
import logging
import time
from collections import deque
from collections.abc import Callable
from typing import Final, cast

from outlast.core.addresses import plain_address
from outlast.server.tuning import TUNING, ServerTuning

_BUSY: Final = (
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nContent-Length: 0\r\n"
    b"Connection: close\r\n\r\n"
)
_TOO_LARGE: Final = _BUSY.replace(
    b"503 Service Unavailable\r\nRetry-After: 5", b"431 Request Header Fields Too Large"
)
_HEAD_END: Final = b"\r\n\r\n"
_SITE: Final = 64
"""Bits of an IPv6 address that name a network: its owner has all addresses below."""

_log = logging.getLogger(__name__)


@functools.lru_cache(maxsize=1024)
def asker_of(address: str | None) -> str:
    """Who an address stands for where shares are counted: itself, or its /64 for IPv6; empty for
    what is no address, as the other end of a Unix socket.
    """
    plain = plain_address(address)
    if ":" not in plain:
        return plain
    return str(ipaddress.ip_network((plain, _SITE), strict=False).network_address) + f"/{_SITE}"


def read_at_once(transport: asyncio.BaseTransport, most: int) -> None:
    """How many bytes are read of a connection in its turn. They are taken from the kernel before
    they are asked for, and Python's lock is given away each time.
    """
    if hasattr(transport, "max_size"):  # asyncio's own; others have no such bound
        transport.max_size = most


class Connections:
    """Makes the protocol of each new connection, up to a number of them, and closes those that
    take a place and do not use it.

    Where all places are taken, an asker that has fewer than the one that has most gets one of the
    latter's: one that waits for a request first, else the newest. So a client that takes all of
    them keeps no other out. Nor do many clients with one each: where an asker has none, the one
    that waits for longest makes room, if it does for some time.
    """

    def __init__(
        self,
        make: Callable[[], asyncio.BaseProtocol],
        most: int,
        count: Callable[[int], None],
        *,
        stall: float,
        body: int,
        tuning: ServerTuning = TUNING,
    ) -> None:
        """Up to `most` connections; `count` gets their number whenever one opens or closes. `body`
        is the most that a request's may have.
        """
        self.make = make
        self.head, self.body, self.head_read = tuning.head, body, tuning.head_read
        self._most = most
        self._count = count
        self._stall = stall
        self._tuning = tuning
        self._open: dict[_Connection, None] = {}
        """In the order in which they came."""
        self._of: dict[str, set[_Connection]] = {}
        self._by_protocol: dict[asyncio.BaseProtocol, _Connection] = {}
        self._turns = _Turns(tuning.begun_at_once, tuning.begun_of_one)

    def __call__(self) -> asyncio.BaseProtocol:
        return _Connection(self)

    def admit(self, connection: "_Connection") -> bool:
        """Whether a connection has a place; it begins when its turn comes."""
        if len(self._open) >= self._most and not self._make_room(connection.asker):
            _log.debug(
                "a connection of %s is refused: %d are open, as many as may be",
                connection.asker,
                len(self._open),
            )
            return False
        self._open[connection] = None
        self._of.setdefault(connection.asker, set()).add(connection)
        self._count(len(self._open))
        self._turns.wait(connection)
        return True

    def protocol_of(self, connection: "_Connection") -> asyncio.Protocol:
        """A new protocol of the HTTP library, for this connection."""
        inner = cast("asyncio.Protocol", self.make())
        self._by_protocol[inner] = connection
        return inner

    def forget(self, connection: "_Connection") -> None:
        """It is closed, or as good as that."""
        if connection not in self._open:
            return
        del self._open[connection]
        if connection.inner is not None:
            self._by_protocol.pop(connection.inner, None)
        others = self._of[connection.asker]
        others.discard(connection)
        if not others:
            del self._of[connection.asker]
        self._count(len(self._open))

    def _make_room(self, asker: str) -> bool:
        heaviest = max(self._of.values(), key=len)
        own = len(self._of.get(asker, ()))
        idle = [connection for connection in heaviest if connection.idle]
        if len(heaviest) <= own + 1:
            before = time.monotonic() - self._tuning.crowded_idle
            idle = [one for one in self._open if one.idle and one.since <= before]
            if own or not idle:
                return False
        if idle:
            victim = min(idle, key=lambda connection: connection.since)
        else:
            victim = max(heaviest, key=lambda connection: connection.since)
        _log.debug("a connection of %s makes room for one of %s", victim.asker, asker)
        victim.drop()
        return True

    def heard(self, protocol: asyncio.BaseProtocol, head: int, body: int) -> None:
        """A request came in on this connection, and is being answered: so many bytes of its head,
        and so many of a body, which may not be here yet.
        """
        connection = self._turn(protocol, works=True)
        if connection is not None:
            connection.account(head + body)

    def answered(self, protocol: asyncio.BaseProtocol) -> None:
        """It waits for a request again, or for the rest of a body that is not wanted."""
        self._turn(protocol, works=False)

    def _turn(self, protocol: asyncio.BaseProtocol, *, works: bool) -> "_Connection | None":
        connection = self._by_protocol.get(protocol)
        if connection is not None:
            connection.works, connection.since = works, time.monotonic()
            connection.partial = connection.first = False
        return connection

    async def sweep(self) -> None:
        """Closes connections that are of no use any more, again and again."""
        while True:
            await asyncio.sleep(self._tuning.sweep_every)
            now, dropped = time.monotonic(), 0
            for connection in list(self._open):
                if connection in self._open and self._is_of_no_use(connection, now):
                    connection.drop()
                    dropped += 1
                    if dropped % self._tuning.dropped_at_once == 0:
                        await asyncio.sleep(0)  # clients that came together end together

    def _is_of_no_use(self, connection: "_Connection", now: float) -> bool:
        """Whether no request came of a client, or it has read nothing of its pending answers for
        too long. Answers with files have a limit of their own.
        """
        tuning = self._tuning
        if not connection.works:
            patience = tuning.first_request if connection.owes_request else tuning.keep_alive
            if now - connection.since > patience:
                _log.debug("a connection of %s is closed: no request came", connection.asker)
                return True
        if connection.stuck(now) > self._stall:
            _log.debug("%s takes no byte of its answers, and is dropped", connection.asker)
            return True
        return False


class _Turns:
    """Lets new connections begin, a few in each round of the event loop, and of one asker fewer.
    Their first requests, all read in one round, would keep all other clients waiting.
    """

    def __init__(self, at_once: int, of_one: int) -> None:
        self._at_once, self._of_one = at_once, of_one
        self._waiting: dict[str, deque[_Connection]] = {}
        """The one that is first here has waited for longest since one of its own began."""

    def wait(self, connection: "_Connection") -> None:
        """It begins in the next round, or as soon as those before it have begun."""
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self._begin)
        self._waiting.setdefault(connection.asker, deque()).append(connection)

    def _begin(self) -> None:
        left = self._at_once
        for asker in list(self._waiting):
            queue = self._waiting.pop(asker)
            count = min(self._of_one, left, len(queue))
            for _ in range(count):
                queue.popleft().begin()
            left -= count
            if queue:
                self._waiting[asker] = queue
            if not left:
                break
        if self._waiting:
            asyncio.get_running_loop().call_soon(self._begin)


class _Connection(asyncio.Protocol):
    """Stands between a transport and the protocol of the HTTP library, and keeps the time.

    `works` is whether a request is being answered, `first` whether none came yet, `partial` whether
    one began to come, `since` when one of them last changed (monotonic seconds). `owed` bytes of
    the request that is being answered are still to come. What comes beyond that is kept by the
    HTTP library, so only so much of it may come.
    """

    def __init__(self, gate: Connections) -> None:
        self._gate = gate
        self._transport: asyncio.Transport | None = None
        self._pending = (0, 0.0)
        self.inner: asyncio.Protocol | None = None
        self.asker = ""
        self._ahead = 0
        self._end = b""
        self._whole = False
        self.owed = 0
        self.first = True
        self.works = False
        self.partial = False
        self.since = time.monotonic()

    @property
    def owes_request(self) -> bool:
        """Whether it has to send a request, or the rest of one, soon."""
        return self.first or self.partial

    @property
    def idle(self) -> bool:
        """Whether nothing is on its way to the client."""
        return not self.works and not self._unsent()

    def _unsent(self) -> int:
        return self._transport.get_write_buffer_size() if self._transport is not None else 0

    def drop(self) -> None:
        """Closes the connection at once: with a clean end where nothing is on its way."""
        transport, idle = self._transport, self.idle
        self._gate.forget(self)
        if transport is None:
            return
        if idle:
            transport.close()
        else:
            transport.abort()

    def stuck(self, now: float) -> float:
        """The seconds for which bytes have waited to be sent and none went."""
        size = self._unsent()
        before, since = self._pending
        if not size or size != before:
            since = now
        self._pending = (size, since)
        return now - since

    # What the transport says

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        peer = transport.get_extra_info("peername")
        self.asker = asker_of(peer[0]) if isinstance(peer, tuple) and peer else ""
        self._transport.pause_reading()
        if not self._gate.admit(self):
            self._transport.write(_BUSY)
            self._transport.close()
            return
        asyncio.get_running_loop().call_soon(self._stay_paused)

    def _stay_paused(self) -> None:
        """Pauses again until its turn: in Python 3.11.2 a transport that is paused from its first
        moment reads all the same.
        """
        if self._transport is not None and self.inner is None and not self._transport.is_closing():
            self._transport.resume_reading()
            self._transport.pause_reading()

    def begin(self) -> None:
        """Hears the client from now on."""
        if self._transport is None or self._transport.is_closing():
            return
        self.since = time.monotonic()
        self.inner = self._gate.protocol_of(self)
        self.inner.connection_made(self._transport)
        read_at_once(self._transport, self._gate.head_read)
        self._transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        if self.inner is None:
            return
        if not self.works and not self.partial:
            self.partial = True
            if not self.first:
                self.since = time.monotonic()
        if self._is_too_much(data):
            self._refuse_more()
        else:
            self.inner.data_received(data)

    def _refuse_more(self) -> None:
        _log.debug("%s sends more than a request has, and is dropped", self.asker)
        if self.works or self._transport is None:
            self.drop()
            return
        self._gate.forget(self)
        self._transport.write(_TOO_LARGE)
        self._transport.close()

    def _is_too_much(self, data: bytes) -> bool:
        """Whether there is more of requests that are not being answered than one may have. A head
        that is whole is soon answered; what follows it may be its body.
        """
        used = min(self.owed, len(data))
        self.owed -= used
        ahead = self._ahead
        self._ahead += len(data) - used
        if self.works:
            return self._ahead > self._gate.head
        if not self._whole:
            found = (self._end + data).find(_HEAD_END)
            self._whole = found >= 0
            self._end = data[-len(_HEAD_END) + 1 :]
            return ahead + max(found, 0) > self._gate.head or (
                not self._whole and self._ahead > self._gate.head
            )
        return self._ahead > self._gate.head + self._gate.body

    def account(self, size: int) -> None:
        """A request of `size` bytes, its body included, is being answered."""
        self.owed = max(0, size - self._ahead)
        self._ahead = max(0, self._ahead - size)
        self._whole, self._end = False, b""
        if self._ahead > self._gate.head:
            self._refuse_more()

    def eof_received(self) -> bool | None:
        return self.inner.eof_received() if self.inner is not None else None

    def pause_writing(self) -> None:
        if self.inner is not None:
            self.inner.pause_writing()

    def resume_writing(self) -> None:
        if self.inner is not None:
            self.inner.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._gate.forget(self)
        if self.inner is not None:
            self.inner.connection_lost(exc)


def places(wanted: int, files: int, tuning: ServerTuning = TUNING) -> int:
    """How many of `wanted` connections a server can have where its process may open so many
    `files`: an answer with a file takes several of them, and the rest of the process needs some.
    """
    room = (files - tuning.files_beside) // tuning.files_each
    return max(min(wanted, room), min(wanted, tuning.fewest_connections))
