"""An HTTP server on an event loop, from its first connection to its tidy end."""

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from typing import Any

from aiohttp import web, web_response

from outlast.core.asker import ASKER
from outlast.core.descriptors import is_exhausted, raise_limit
from outlast.core.errors import BadConfigError, ExhaustedError
from outlast.server.http.connections import Connections, asker_of, places
from outlast.server.http.hosts import Hosts
from outlast.server.http.log import log_line, quiet_logger
from outlast.server.http.memory import Memory
from outlast.server.http.queries import hold_body, release_body
from outlast.server.http.replies import closing, error_reply, failure
from outlast.server.tuning import TUNING, ServerTuning

# The library puts its version and Python's into each answer, also into those that it makes itself.
vars(web_response)["SERVER_SOFTWARE"] = "outlast"

_NEVER = 1e6
"""Seconds. `Connections` closes idle ones long before; the library would close many at once."""
_MARGIN = 64
"""Bytes of a request's head that are no field and no path, and some to spare."""
Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]
Refused = Callable[[web.Request, web.Response], None]
Open = Callable[[Callable[[], asyncio.BaseProtocol]], Awaitable[asyncio.Server]]
"""Makes the server that listens, from what makes a connection's protocol."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What clients may ask of a server: bytes of a request's body (routes have bounds of their
    own), connections at once, the seconds that they may take no byte, and those that they get when
    it stops.
    """

    body: int
    connections: int
    stall: float
    grace: float | None = None


def keep_waiting(server: asyncio.Server, count: int) -> None:
    """The kernel holds `count` new connections until they are accepted. What asyncio calls
    ``backlog`` is also how many of them it accepts in one round.
    """
    for listener in server.sockets:
        with contextlib.closing(listener.dup()) as same:
            same.listen(count)


@contextlib.asynccontextmanager
async def listening_on(sock: socket.socket, answer: Answer, bounds: Bounds) -> AsyncIterator[None]:
    """Serves on a Unix socket that only this user reaches, while the block runs: no name leads to
    it, and nothing of it is counted or logged but bugs.
    """

    async def listen(make: Callable[[], asyncio.BaseProtocol]) -> asyncio.Server:
        return await asyncio.get_running_loop().create_unix_server(make, sock=sock)

    async with listening(
        answer,
        listen,
        bounds,
        hosts=None,
        memory=Memory(),
        count=lambda _connections: None,
        beside=_nothing,
        level=logging.CRITICAL,
    ):
        yield


async def _nothing() -> None:
    """Runs beside a server that has nothing to do beside."""


@contextlib.asynccontextmanager
async def listening(
    answer: Answer,
    listen: Open,
    bounds: Bounds,
    *,
    hosts: Hosts | None,
    memory: Memory,
    count: Callable[[int], None],
    beside: Callable[[], Coroutine[Any, Any, None]],
    refused: Refused | None = None,
    level: int = logging.WARNING,
    tuning: ServerTuning = TUNING,
) -> AsyncIterator[asyncio.Server]:
    """Serves while the block runs. `answer` gets every request of any method and path, so routing
    is up to it. Requests for other `hosts` do not come to it (None: no name leads to this server,
    as to a Unix socket); `refused` hears of these. Long documents that `answer` returns take
    `memory` while the client takes them. `count` gets the number of connections; `beside` runs
    until the block ends. Messages of the HTTP library below `level` are not logged.
    """
    gate: Connections

    async def handle(request: web.Request) -> web.StreamResponse:
        if "Expect" in request.headers:
            await _go_on(request)
        gate.heard(request.protocol, _head(request), request.content_length or 0)
        ASKER.set(asker_of(request.remote))
        hold_body(request, tuning)
        try:
            refusal = hosts.refusal(request) if hosts is not None else None
            if refusal is None and request.can_read_body and request.content_length is None:
                refusal = closing(failure(411, "", "a request's body needs a Content-Length"))
            if refusal is None:
                return await _sent(request, await answer(request), memory, tuning)
            if refused is not None:
                refused(request, refusal)
            return refusal
        finally:
            release_body(request, tuning)
            gate.answered(request.protocol)

    # The library's router and middlewares would take 5 % of a small request for nothing.
    made = partial(web.Request, loop=asyncio.get_running_loop(), client_max_size=bounds.body)
    runner = web.ServerRunner(
        web.Server(
            handle,  # type: ignore[arg-type] # what `made` makes
            request_factory=made,
            access_log=None,
            keepalive_timeout=_NEVER,
            logger=quiet_logger(level),
        ),
        shutdown_timeout=tuning.shutdown if bounds.grace is None else bounds.grace,
        handle_signals=False,
    )
    await runner.setup()
    if runner.server is None:
        raise BadConfigError("the server could not be set up")
    most = places(bounds.connections, raise_limit(), tuning)
    gate = Connections(
        runner.server, most, count, stall=bounds.stall, body=bounds.body, tuning=tuning
    )
    asyncio.get_running_loop().set_exception_handler(_log_trouble)
    try:
        server = await listen(gate)
        for listener in server.sockets:
            _bound_unsent(listener, tuning)
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


async def _go_on(request: web.Request) -> None:
    """Tells a client that waits for it to send its body. Raises what the library answers 417 for
    where something else is expected.
    """
    if request.version < (1, 1):
        return
    if request.headers["Expect"].lower() != "100-continue":
        raise web.HTTPExpectationFailed(text="only 100-continue can be expected")
    writer = request.writer
    await writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    writer.output_size = 0  # of the answer, nothing is sent yet


def _bound_unsent(listener: socket.socket, tuning: ServerTuning) -> None:
    """Bounds what the kernel takes for a client before it can send it; accepted connections inherit
    that. Without a bound it takes megabytes at once, which holds up all other clients of the event
    loop, and gigabytes of memory for a thousand clients that do not read.
    """
    option = getattr(socket, "TCP_NOTSENT_LOWAT", None)
    if option is not None and listener.family in {socket.AF_INET, socket.AF_INET6}:
        listener.setsockopt(socket.IPPROTO_TCP, option, tuning.unsent)


def _head(request: web.Request) -> int:
    """The bytes of a request's head, and a few more."""
    fields = sum(len(name) + len(value) + 4 for name, value in request.raw_headers)
    return len(request.method) + len(request.raw_path) + fields + _MARGIN


async def _sent(
    request: web.Request, response: web.StreamResponse, memory: Memory, tuning: ServerTuning
) -> web.StreamResponse:
    """The response; a long document goes out here, as fast as the client takes it. So what the
    server holds for slow clients is bounded.
    """
    body = response.body if isinstance(response, web.Response) else None
    if not isinstance(body, bytes) or len(body) <= tuning.written or request.method == "HEAD":
        return response
    try:
        with memory.lease() as lease:
            lease.more(len(body))
            return await _written(request, response, body, tuning)
    except ExhaustedError as error:
        return error_reply(error)


async def _written(
    request: web.Request, response: web.StreamResponse, body: bytes, tuning: ServerTuning
) -> web.StreamResponse:
    sent = web.StreamResponse(status=response.status, headers=response.headers)
    sent.content_length = len(body)
    try:
        async with asyncio.timeout(tuning.slow_start + len(body) / tuning.slowest):
            await sent.prepare(request)
            view = memoryview(body)
            for start in range(0, len(body), tuning.written):
                await sent.write(view[start : start + tuning.written])
            await sent.write_eof()
    except TimeoutError:
        if request.transport is not None:
            request.transport.abort()
    except ConnectionError:
        pass  # the client is gone
    return sent


def _log_trouble(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Logs in one line that the event loop cannot accept connections for want of files (it tries
    again every second); everything else as the loop itself does.
    """
    error = context.get("exception")
    if error is None or not is_exhausted(error):
        loop.default_exception_handler(context)
        return
    log_line({"level": "error", "what": "listening", "error": f"{context.get('message')}: {error}"})
