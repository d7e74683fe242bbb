"""Starting and stopping the server."""

import asyncio
import gc
import signal
import socket
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from outlast.core.cancel import Cancel
from outlast.core.claims import Assessor
from outlast.core.errors import BadConfigError
from outlast.mirror.mirror import Mirror
from outlast.server.http.files import Limits
from outlast.server.http.guard import Tokens
from outlast.server.http.hosts import Hosts
from outlast.server.http.listening import Bounds, keep_waiting, listening
from outlast.server.http.metrics import Metrics
from outlast.server.http.mount import Mount
from outlast.server.hub.hub import BODY, Hub
from outlast.server.tuning import TUNING, ServerTuning


@dataclass(frozen=True, slots=True)
class Listen:
    """Where to listen, under which names beside the machine's own, and to which clients: those with
    a bearer token in the file `tokens`, or all (None).
    """

    host: str
    port: int
    tokens: Path | None = None
    connections: int = 1024
    stall: float = 120.0
    hosts: tuple[str, ...] = ()


def serve(
    mirror: Mirror,
    metrics: Metrics,
    listen: Listen,
    ready: Callable[[str], None],
    *,
    cancel: Cancel,
    mounts: Iterable[Mount] = (),
    assessor: Assessor | None = None,
    tuning: ServerTuning = TUNING,
) -> None:
    """Serves until SIGINT or SIGTERM; not at all if `cancel` is set: the signal came before the
    server could hear it. `ready` gets the URL once connections are accepted.
    """
    sys.setswitchinterval(tuning.switch)
    gc.collect()
    gc.freeze()  # what is there for good: a full collection took 20 to 50 ms of the event loop
    tokens = Tokens(listen.tokens) if listen.tokens is not None else None
    limits = Limits(listen.stall, tuning)
    hub = Hub(
        mirror,
        metrics,
        tokens=tokens,
        limits=limits,
        mounts=mounts,
        assessor=assessor,
        tuning=tuning,
    )
    try:
        asyncio.run(_serve(hub, metrics, listen, ready, cancel=cancel, tuning=tuning))
    finally:
        hub.close()


async def _serve(
    hub: Hub,
    metrics: Metrics,
    listen: Listen,
    ready: Callable[[str], None],
    *,
    cancel: Cancel,
    tuning: ServerTuning,
) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    if cancel.is_set:  # asked for after the handlers are there: no signal falls between
        return

    async def open_at(make: Callable[[], asyncio.BaseProtocol]) -> asyncio.Server:
        try:
            server = await loop.create_server(
                make,
                listen.host,
                listen.port,
                backlog=tuning.accepted_at_once,
                reuse_address=True,
            )
        except (OSError, UnicodeError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise BadConfigError(
                f"cannot listen on {listen.host}:{listen.port}: {reason}",
                hint="try another --listen",
            ) from error
        keep_waiting(server, tuning.backlog)
        return server

    bounds = Bounds(BODY, listen.connections, listen.stall)
    count = metrics.connections.set
    async with listening(
        hub.handle,
        open_at,
        bounds,
        hosts=Hosts(listen.host, listen.hosts),
        memory=hub.memory,
        count=count,
        beside=hub.tidy,
        refused=hub.refused,
        tuning=tuning,
    ) as server:
        ready(_url(server.sockets[0]))
        await stop.wait()


def _url(sock: socket.socket) -> str:
    host, port = sock.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
