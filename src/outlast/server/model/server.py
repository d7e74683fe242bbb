"""The API of a model on a port, from its first connection to its tidy end."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Protocol

import aiohttp

from outlast.core.cancel import Cancel
from outlast.core.errors import EngineError, UsageError
from outlast.server.http.hosts import Hosts
from outlast.server.http.listening import Bounds, listening
from outlast.server.http.queries import Bodies
from outlast.server.model.front import BODY, Front, Serves
from outlast.server.model.template_limits import BoundedEngine, TemplateLimits
from outlast.server.tuning import TUNING, ServerTuning


class EngineServer(BoundedEngine, Protocol):
    """An engine that answers HTTP on the socket in the file system at `socket_path`."""

    @property
    def socket_path(self) -> str: ...

    @property
    def alive(self) -> bool: ...

    def failure(self) -> EngineError:
        """Why it ended by itself."""


@dataclass(frozen=True, slots=True)
class Api:
    """What is served; `hosts` are names that this machine has for clients, beside its own."""

    serves: Serves
    hosts: tuple[str, ...] = ()


def bind(host: str, port: int) -> socket.socket:
    """A socket that has the address, so that a model is not loaded for nothing; port 0 takes a free
    one. Raises :class:`UsageError` for what is no address, :class:`EngineError` for one that
    cannot be had.
    """
    if not host:
        raise UsageError(f"{host!r} is not a host to listen on")
    if not 0 <= port <= 65_535:
        raise UsageError(f"{port} is not a port", hint="0 to 65535; 0 picks a free one")
    try:
        family, kind, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        sock = socket.socket(family, kind)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(address)
            # With its connections in line already, no other program can take the address meanwhile.
            sock.listen(TUNING.backlog)
        except BaseException:
            sock.close()
            raise
    except (OSError, UnicodeError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise EngineError(
            f"cannot listen on {host} port {port}: {why}",
            hint="choose another address: --api HOST:PORT (port 0 takes a free one)",
        ) from error
    return sock


def url_of(sock: socket.socket) -> str:
    """Where a socket of :func:`bind` is reached."""
    host, port = sock.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def serve(
    engine: EngineServer,
    sock: socket.socket,
    api: Api,
    ready: Callable[[], None],
    cancel: Cancel,
    *,
    tuning: ServerTuning = TUNING,
) -> None:
    """Serves `engine` on `sock` until `cancel` is set; then closes the socket. `ready` is called
    once requests are answered. Raises :class:`EngineError` if the engine ends by itself.
    """
    try:
        asyncio.run(_serve(engine, sock, api, ready, cancel=cancel, tuning=tuning))
    finally:
        sock.close()
    if not cancel.is_set:
        raise engine.failure()


async def _serve(
    engine: EngineServer,
    sock: socket.socket,
    api: Api,
    ready: Callable[[], None],
    *,
    cancel: Cancel,
    tuning: ServerTuning,
) -> None:
    ended = asyncio.Event()

    async def open_it(make: Callable[[], asyncio.BaseProtocol]) -> asyncio.Server:
        return await asyncio.get_running_loop().create_server(make, sock=sock)

    async def watch() -> None:
        while True:
            await asyncio.sleep(tuning.engine_poll)
            if cancel.is_set or not engine.alive:
                ended.set()

    bounds = Bounds(BODY, tuning.model_connections, tuning.model_stall)
    hosts = Hosts(str(sock.getsockname()[0]), api.hosts, local_pages=True)
    with Bodies(tuning, tuning.long_prompts) as bodies:
        async with _session(engine) as session:
            front = Front(session, TemplateLimits(engine), api.serves, bodies, tuning=tuning)
            async with listening(
                front.handle,
                open_it,
                bounds,
                hosts=hosts,
                memory=bodies.memory,
                count=_ignore,
                beside=watch,
                tuning=tuning,
            ):
                ready()
                await ended.wait()


@contextlib.asynccontextmanager
async def _session(engine: EngineServer) -> AsyncIterator[aiohttp.ClientSession]:
    """Requests to the engine. Each has a connection of its own: the engine closes those that are
    idle, and a request that meets one that is being closed would be lost.
    """
    async with aiohttp.ClientSession(
        connector=aiohttp.UnixConnector(engine.socket_path, force_close=True, limit=0),
        timeout=aiohttp.ClientTimeout(total=None),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        trust_env=False,
    ) as session:
        yield session


def _ignore(count: int) -> None:
    """How many connections there are is not shown."""
    del count
