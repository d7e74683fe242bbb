"""The peer port of a node: the node API over HTTP, in a thread with an event loop of its own, so
that any process with a swarm can have one.
"""

import asyncio
import contextlib
import errno
import logging
import socket
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from typing import Final

from outlast.core.addresses import plain_address
from outlast.core.closing import Closing
from outlast.core.errors import BadConfigError
from outlast.core.events import Emit, ignore
from outlast.server.http.files import Limits
from outlast.server.http.hosts import Hosts
from outlast.server.http.listening import Bounds, keep_waiting, listening
from outlast.server.http.metrics import Metrics
from outlast.server.http.outlet import Outlet
from outlast.server.node.api import BODY, Holdings, NodeApi, NodeInfo, TrackerAnswers
from outlast.server.node.status_socket import Status, node_socket
from outlast.server.tuning import TUNING, ServerTuning

DEFAULT_PORT: Final = 8091
_NO_IPV6 = frozenset({errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL})

_log = logging.getLogger(__name__)

_Running = tuple[asyncio.AbstractEventLoop, asyncio.Event]


class PeerServer(Closing):
    """Answers other nodes until it is closed. `tracker` answers their announcements."""

    def __init__(
        self,
        info: NodeInfo,
        holdings: Holdings,
        tracker: TrackerAnswers,
        *,
        status: Status | None = None,
        emit: Emit = ignore,
        metrics: Metrics | None = None,
        hosts: Iterable[str] = (),
        tuning: ServerTuning = TUNING,
    ) -> None:
        """`hosts` are names of this node beside the machine's own. With a `status`, the user of
        this machine can ask for it at the node's socket; `emit` is told where that is not possible.
        """
        self._tuning = tuning
        self._status = status
        self._emit = emit
        self._home = holdings.archive.layout.home
        self._private = info.private
        self._hosts = Hosts("", hosts)
        self._trusted = holdings.trusted
        self._metrics = metrics or Metrics()
        self._bounds = Bounds(
            BODY, tuning.peer_connections, tuning.peer_stall, tuning.peer_shutdown
        )
        self._outlet = Outlet(holdings.archive, self._metrics, tuning.peer_threads, tuning)
        self._api = NodeApi(
            info,
            holdings,
            tracker,
            self._outlet,
            self._metrics,
            limits=Limits(tuning.peer_stall, tuning),
            tuning=tuning,
        )
        self._running: _Running | None = None
        self._thread: threading.Thread | None = None

    def start(self, host: str = "", port: int = DEFAULT_PORT) -> None:
        """Begins to listen; an empty `host` means every interface. Where another process has the
        default port, any free one is taken. Raises :class:`BadConfigError` where that fails.
        """
        sock = _bind(host, port)
        self._api.port = sock.getsockname()[1]
        started: Future[_Running] = Future()
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._run(sock, started)), name="peers", daemon=True
        )
        self._thread.start()
        self._running = started.result()

    def close(self) -> None:
        if self._thread is not None and self._running is not None:
            loop, stop = self._running
            with contextlib.suppress(RuntimeError):  # the loop has ended already
                loop.call_soon_threadsafe(stop.set)
            self._thread.join()
        self._thread = self._running = None
        self._outlet.close()

    @property
    def port(self) -> int:
        """The port that it listens on; 0 before it does."""
        return self._api.port

    @property
    def sent(self) -> int:
        """Bytes of blobs and capsules that went out so far."""
        return self._api.sent

    async def _run(self, sock: socket.socket, started: "Future[_Running]") -> None:
        loop, stop = asyncio.get_running_loop(), asyncio.Event()

        async def open_it(make: Callable[[], asyncio.BaseProtocol]) -> asyncio.Server:
            door = (lambda: _Door(make, self._trusted)) if self._private else make
            tuning = self._tuning
            server = await loop.create_server(door, sock=sock, backlog=tuning.accepted_at_once)
            keep_waiting(server, tuning.backlog)
            return server

        try:
            count = self._metrics.peer_connections.set
            async with (
                listening(
                    self._api.handle,
                    open_it,
                    self._bounds,
                    hosts=self._hosts,
                    memory=self._outlet.bodies.memory,
                    count=count,
                    beside=self._outlet.tidy,
                    refused=self._api.refused,
                    tuning=self._tuning,
                    level=logging.CRITICAL,  # strangers may not fill the log with nonsense
                ),
                self._socket(),
            ):
                started.set_result((loop, stop))
                await stop.wait()
        except BaseException as error:
            if started.done():
                raise
            started.set_exception(error)
        finally:
            sock.close()

    def _socket(self) -> contextlib.AbstractAsyncContextManager[None]:
        if self._status is None:
            return contextlib.nullcontext()
        return node_socket(self._home, self._status, self._emit)


class _Door(asyncio.Protocol):
    """Closes connections from addresses that are not `trusted`, without a byte."""

    def __init__(
        self, make: Callable[[], asyncio.BaseProtocol], trusted: Callable[[str], bool]
    ) -> None:
        self._make = make
        self._trusted = trusted

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        address = (transport.get_extra_info("peername") or ("",))[0]
        if not self._trusted(plain_address(address)):
            _log.debug("%s is refused: private mode, and it is no static peer", address)
            transport.close()
            return
        protocol = self._make()
        transport.set_protocol(protocol)
        protocol.connection_made(transport)


def _bind(host: str, port: int) -> socket.socket:
    try:
        try:
            return _listen(host, port)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or port != DEFAULT_PORT:
                raise
            return _listen(host, 0)
    except (OSError, UnicodeError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise BadConfigError(
            f"cannot listen for peers on {host or '*'}:{port}: {reason}",
            hint="choose another peer-port, or none with --no-swarm",
        ) from error


def _listen(host: str, port: int) -> socket.socket:
    """A socket that listens, on both families of addresses where no host is named."""
    if not host:
        if socket.has_dualstack_ipv6():
            try:
                return _unblocked(("::", port), socket.AF_INET6, dual=True)
            except OSError as error:  # the kernel knows IPv6, but it is off
                if error.errno not in _NO_IPV6:
                    raise
        return _unblocked(("0.0.0.0", port), socket.AF_INET)  # noqa: S104 - neighbours are outside
    family, _, _, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    return _unblocked(address, family)


def _unblocked(
    address: tuple[object, ...], family: socket.AddressFamily, *, dual: bool = False
) -> socket.socket:
    sock = socket.create_server(address, family=family, dualstack_ipv6=dual)
    sock.setblocking(False)
    return sock
