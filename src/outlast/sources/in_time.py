"""Connections whose answers take too long are ended, however slowly these drip in: the timeout of a
socket is that of each of its bytes.
"""

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from typing import Any, Final
from weakref import WeakSet

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.contrib.socks import SOCKSConnection, SOCKSHTTPSConnection

from outlast.core.addresses import is_outside
from outlast.core.errors import Cancelled
from outlast.sources.tuning import TUNING

_LINGER = 10.0
_SOCKET = "in_time"
"""Where an answer keeps its socket, which the connection forgets if the answer ends it."""
_PEER = "came_from"
"""Where it keeps the address of that."""


def plain_socket(sock: object) -> socket.socket | None:
    """The socket of a connection, also of TLS inside of TLS."""
    plain = getattr(sock, "socket", sock)
    return plain if isinstance(plain, socket.socket) else None


def shut(sock: socket.socket) -> None:
    """Ends a connection that another thread may be reading from: that one gets an error."""
    with contextlib.suppress(OSError):  # that of TLS would change its state
        socket.socket.shutdown(sock, socket.SHUT_RDWR)


class OpenSockets:
    """Sockets that are ended together: those that the connections of a client have, as long as
    these live; or those whose answers a question waits for. Thread-safe.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sockets: WeakSet[socket.socket] = WeakSet()
        self._closed = False

    def add(self, sock: object) -> None:
        plain = plain_socket(sock)
        if plain is None:
            return
        with self._lock:
            self._sockets.add(plain)
            closed = self._closed
        if closed:
            shut(plain)

    @contextlib.contextmanager
    def using(self, sock: socket.socket) -> Iterator[None]:
        """`sock` is one of them for the time of the block. Raises :class:`TimeoutError` if they
        were ended meanwhile, also where the block raises nothing.
        """
        self.add(sock)
        try:
            yield
        except Exception as error:
            if self._closed:
                raise TimeoutError("the question was ended") from error
            raise
        finally:
            with self._lock:
                self._sockets.discard(sock)
        if self._closed:
            raise TimeoutError("the question was ended")

    @property
    def closed(self) -> bool:
        return self._closed

    def close(self) -> None:
        """Ends them, and those that come later."""
        with self._lock:
            self._closed = True
            sockets = list(self._sockets)
        for sock in sockets:
            shut(sock)


QUESTION: Final[ContextVar[OpenSockets | None]] = ContextVar("question", default=None)
"""The sockets of the question for which this thread asks. Closing them ends the question: whatever
it waits for, and asks later, raises :class:`Cancelled`.
"""


def check_ended() -> None:
    """Raises :class:`Cancelled` once the question of this thread was ended."""
    asked = QUESTION.get()
    if asked is not None and asked.closed:
        raise Cancelled("the question was ended")


class _Watch:
    """Shuts sockets down when their time is over. One thread, which ends when there is nothing to
    watch for some seconds.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._due: dict[object, tuple[float, socket.socket]] = {}
        self._wakes = float("inf")
        self._runs = False

    @contextlib.contextmanager
    def within(self, sock: object, seconds: float) -> Iterator[None]:
        """Raises :class:`TimeoutError` if the block takes longer, also where it raises nothing:
        what is cut short would pass for whole.
        """
        plain = plain_socket(sock)
        if plain is None:
            yield
            return
        asked = QUESTION.get()
        with (
            self._until(plain, seconds),
            contextlib.nullcontext() if asked is None else asked.using(plain),
        ):
            yield

    @contextlib.contextmanager
    def _until(self, plain: socket.socket, seconds: float) -> Iterator[None]:
        key, until = object(), time.monotonic() + seconds
        with self._changed:
            self._due[key] = until, plain
            if not self._runs:
                self._runs = True
                threading.Thread(target=self._run, name="in-time", daemon=True).start()
            elif until < self._wakes:
                self._changed.notify()
        try:
            yield
        except BaseException as error:
            if self._was_in_time(key) or not isinstance(error, Exception):
                raise
            raise TimeoutError("the answer takes too long") from error
        if not self._was_in_time(key):
            raise TimeoutError("the answer takes too long")

    def _was_in_time(self, key: object) -> bool:
        with self._changed:
            return self._due.pop(key, None) is not None

    def _run(self) -> None:
        with self._changed:
            while True:
                now = time.monotonic()
                for key, (until, sock) in list(self._due.items()):
                    if until <= now:
                        del self._due[key]
                        shut(sock)
                self._wakes = min((until for until, _ in self._due.values()), default=now + _LINGER)
                if not self._changed.wait(max(0.0, self._wakes - now)) and not self._due:
                    self._runs = False
                    return


_watch = _Watch()


@contextlib.contextmanager
def reading_in_time(answer: urllib3.BaseHTTPResponse, seconds: float) -> Iterator[None]:
    """Ends the connection of `answer` if one read of its body takes longer than that, and raises
    :class:`TimeoutError`: what frames the bytes of a body, as lengths of chunks, may be endless.
    """
    with _watch.within(vars(answer).get(_SOCKET), seconds):
        yield


def peer_of(answer: urllib3.BaseHTTPResponse) -> str:
    """The IP address that an answer came from; empty where a proxy hides that."""
    return str(vars(answer).get(_PEER, ""))


class InwardError(Exception):
    """A connection that was to go to the internet led to an address inside this network."""


class HeadInTime(HTTPConnection):
    """Status and headers have to come within `head_s` seconds, and within twice the time that the
    request gives a silent server. A connection that goes `outward` is made to addresses of the
    internet alone, whatever its name leads to by then.
    """

    head_s = TUNING.head_s
    outward = False
    _peer = ""
    opened: Callable[[object], object] = staticmethod(bool)
    """Gets the socket of each connection that was made."""

    def connect(self) -> None:
        super().connect()
        plain = plain_socket(self.sock)
        self._peer = str(plain.getpeername()[0]) if plain is not None else ""
        # By TLS, what is inside would have to have a certificate for the name as well.
        if self.outward and not is_outside(self._peer):
            self.close()
            raise InwardError
        self.opened(self.sock)

    def _tunnel(self) -> None:
        with _watch.within(self.sock, self.head_s):
            super()._tunnel()

    def getresponse(self) -> urllib3.HTTPResponse:  # type: ignore[override]
        sock = self.sock
        answer: urllib3.HTTPResponse | None = None
        head_s = self.head_s
        if isinstance(self.timeout, int | float):
            head_s = min(head_s, 2 * self.timeout)
        try:
            with _watch.within(sock, head_s):
                answer = super().getresponse()
        except TimeoutError:
            if answer is not None:
                answer.close()
            raise
        vars(answer).update({_SOCKET: sock, _PEER: self._peer})
        return answer


class _Tls(HeadInTime, HTTPSConnection):
    pass


class _Socks(HeadInTime, SOCKSConnection):
    pass


class _SocksTls(HeadInTime, SOCKSHTTPSConnection):
    pass


class _PlainPool(HTTPConnectionPool):
    ConnectionCls = HeadInTime


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _Tls


class _SocksPool(HTTPConnectionPool):
    ConnectionCls = _Socks


class _SocksTlsPool(HTTPSConnectionPool):
    ConnectionCls = _SocksTls


POOLS = {"http": _PlainPool, "https": _TlsPool}
SOCKS_POOLS = {"http": _SocksPool, "https": _SocksTlsPool}


def telling(
    pools: Mapping[str, type[HTTPConnectionPool]], sockets: OpenSockets, *, outward: bool = False
) -> dict[str, Any]:
    """The same pools, whose connections tell `sockets` of theirs, and go `outward` alone or not."""

    def told(pool: type[HTTPConnectionPool]) -> type:
        known = pool.ConnectionCls
        changed = {"opened": staticmethod(sockets.add), "outward": outward}
        connection = type(known.__name__, (known,), changed)
        return type(pool.__name__, (pool,), {"ConnectionCls": connection})

    return {scheme: told(pool) for scheme, pool in pools.items()}
