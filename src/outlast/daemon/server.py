"""Starting and stopping the server."""

import asyncio
import contextlib
import signal
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web
from aiohttp.typedefs import Handler

from outlast.daemon.files import Limits
from outlast.daemon.guard import Gate, Tokens
from outlast.daemon.hub import Hub
from outlast.daemon.log import quiet_logger
from outlast.daemon.metrics import Metrics
from outlast.model.errors import BadConfigError
from outlast.ops.mirror import Mirror

_KEEP_ALIVE = 120.0
_BACKLOG = 1024
_BODY_LIMIT = 4 * 1024 * 1024
_SHUTDOWN = 3.0


@dataclass(frozen=True, slots=True)
class Listen:
    """Where to listen, for whom. `tokens` is a file of bearer tokens, or None for everybody."""

    host: str
    port: int
    tokens: Path | None = None
    connections: int = 1024
    stall: float = 120.0


def serve(mirror: Mirror, metrics: Metrics, listen: Listen, ready: Callable[[str], None]) -> None:
    """Serves until SIGINT or SIGTERM. `ready` is told the URL once connections are accepted."""
    tokens = Tokens(listen.tokens) if listen.tokens is not None else None
    hub = Hub(mirror, metrics, tokens=tokens, limits=Limits(stall=listen.stall))
    try:
        asyncio.run(_serve(hub, metrics, listen, ready))
    finally:
        hub.close()
        mirror.close()


async def make_runner(
    answer: Callable[[web.Request], Awaitable[web.StreamResponse]], *, body_limit: int
) -> tuple[web.AppRunner, web.Server]:
    """HTTP in which `answer` gets every request, whatever its method and path: routing is ours.
    `body_limit` bounds the bodies of requests, in bytes.
    """

    @web.middleware
    async def handle(request: web.Request, handler: Handler) -> web.StreamResponse:
        del handler
        return await answer(request)

    runner = web.AppRunner(
        web.Application(client_max_size=body_limit, middlewares=[handle]),
        access_log=None,
        keepalive_timeout=_KEEP_ALIVE,
        shutdown_timeout=_SHUTDOWN,
        handle_signals=False,
        logger=quiet_logger(),
    )
    await runner.setup()
    if runner.server is None:
        raise BadConfigError("the server could not be set up")
    return runner, runner.server


async def _serve(hub: Hub, metrics: Metrics, listen: Listen, ready: Callable[[str], None]) -> None:
    runner, server = await make_runner(hub.handle, body_limit=_BODY_LIMIT)
    gate = Gate(server, listen.connections, metrics.connections.set, stall=listen.stall)
    hub.gate = gate
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    try:
        listening = await loop.create_server(
            gate, listen.host, listen.port, backlog=_BACKLOG, reuse_address=True
        )
    except (OSError, UnicodeError) as error:
        await runner.cleanup()
        reason = getattr(error, "strerror", None) or str(error)
        raise BadConfigError(
            f"cannot listen on {listen.host}:{listen.port}: {reason}", hint="try another --listen"
        ) from error
    sweepers = [asyncio.create_task(gate.sweep()), asyncio.create_task(hub.tidy())]
    ready(_url(listening.sockets[0]))
    await stop.wait()
    listening.close()
    for sweeper in sweepers:
        sweeper.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await sweeper
    await runner.cleanup()


def _url(sock: socket.socket) -> str:
    host, port = sock.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
