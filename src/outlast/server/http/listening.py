"""An HTTP server on an event loop, from its first connection to its tidy end."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler

from outlast.core.errors import BadConfigError
from outlast.server.http.guard import Connections
from outlast.server.http.log import quiet_logger
from outlast.server.tuning import TUNING, ServerTuning

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]
Open = Callable[[Callable[[], asyncio.BaseProtocol]], Awaitable[asyncio.Server]]
"""Makes the server that listens, from what makes a connection's protocol."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What clients may ask of a server: bytes of a request's body, connections at once, the
    seconds that they may take no byte, and those that they get when it stops.
    """

    body: int
    connections: int
    stall: float
    grace: float | None = None


@contextlib.asynccontextmanager
async def listening(
    answer: Answer,
    listen: Open,
    bounds: Bounds,
    *,
    count: Callable[[int], None],
    beside: Callable[[], Coroutine[Any, Any, None]],
    level: int = logging.WARNING,
    tuning: ServerTuning = TUNING,
) -> AsyncIterator[asyncio.Server]:
    """Serves while the block runs. `answer` gets every request of any method and path, so routing
    is up to it. `count` gets the number of connections; `beside` runs until the block ends.
    Messages of the HTTP library below `level` are not logged.
    """
    gate: Connections

    @web.middleware
    async def handle(request: web.Request, handler: Handler) -> web.StreamResponse:
        del handler
        gate.heard(request.protocol)
        return await answer(request)

    runner = web.AppRunner(
        web.Application(client_max_size=bounds.body, middlewares=[handle]),
        access_log=None,
        keepalive_timeout=tuning.keep_alive,
        shutdown_timeout=tuning.shutdown if bounds.grace is None else bounds.grace,
        handle_signals=False,
        logger=quiet_logger(level),
    )
    await runner.setup()
    if runner.server is None:
        raise BadConfigError("the server could not be set up")
    gate = Connections(runner.server, bounds.connections, count, stall=bounds.stall, tuning=tuning)
    try:
        server = await listen(gate)
        tasks = [asyncio.create_task(gate.sweep()), asyncio.create_task(beside())]
        try:
            yield server
        finally:
            server.close()
            for task in tasks:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
    finally:
        await runner.cleanup()
