"""The engines of the gateway: started when they are first needed (or at once, where they are to be
warm), started anew where they died, stopped when they were idle for long.
"""

import asyncio
import contextlib
import json
import logging
import time
from collections.abc import Iterable
from typing import Any, Final

import aiohttp
import msgspec

from outlast.core.cancel import Cancel
from outlast.core.errors import EngineError
from outlast.core.names import Target
from outlast.features.gateway.local.starting import Running, Starter
from outlast.features.gateway.routes.values import LocalModel
from outlast.features.gateway.seams import Json
from outlast.features.gateway.upstream.asking import PATHS, Backend, Body
from outlast.features.gateway.upstream.clock import Clock
from outlast.features.gateway.upstream.faults import Fault, FaultKind
from outlast.features.gateway.upstream.wire import Wire, WirePlace
from outlast.server.http.replies import without_paths
from outlast.server.model.origin import Origin
from outlast.server.model.requests import CHAT, EMBEDDINGS, OTHER, understand
from outlast.server.model.template_limits import TemplateLimits
from outlast.server.model.tools import SchemaError, as_call, as_events, forced
from outlast.server.model.words import RequestError, engine_error

_KINDS: Final = {"chat": CHAT, "embeddings": EMBEDDINGS, "completions": OTHER}
_MOST: Final = 64 * 1024 * 1024
_log = logging.getLogger(__name__)


class LocalEngines:
    """One engine for each model that routes name. Belongs to the event loop."""

    def __init__(self, starter: Starter, wire: Wire) -> None:
        self._starter = starter
        self._wire = wire
        self._backends: dict[LocalModel, LocalBackend] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def backend(self, model: LocalModel, adapter: Target | None) -> Backend:
        """What answers for a model, or for it with an adapter; nothing is started yet."""
        found = self.engine(model)
        return found if adapter is None else AdapterBackend(found, adapter)

    def engine(self, model: LocalModel) -> "LocalBackend":
        """What answers for a model, and for it with its adapters."""
        found = self._backends.get(model)
        if found is None:
            found = self._backends[model] = LocalBackend(model, self._starter, self._wire)
        return found

    async def warm(self, model: LocalModel) -> None:
        """Starts the engine of a model; what hinders it, the first request will say too."""
        await self.engine(model).warm()

    def keep(self, models: Iterable[LocalModel]) -> None:
        """Starts those that are to be warm, in the background; the engines of models that are not
        named any more stop once their requests are done.
        """
        named = set(models)
        for model, backend in list(self._backends.items()):
            if model not in named:
                del self._backends[model]
                self._spawn(backend.retire())
        for model in named:
            if model.warm:
                self._spawn(self.engine(model).warm())

    def tidy(self) -> None:
        """To be called now and then: stops what is idle, and starts what is warm and has died."""
        for backend in self._backends.values():
            if backend.is_idle:
                self._spawn(backend.stop())
            elif backend.has_died and backend.model.warm:
                self._spawn(backend.warm())

    def _spawn(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Ends all engines."""
        for backend in self._backends.values():
            self._spawn(backend.stop())
        while self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)


class LocalBackend:
    """Implements :class:`~outlast.features.gateway.upstream.asking.Backend` for one model."""

    def __init__(self, model: LocalModel, starter: Starter, wire: Wire) -> None:
        self.model = model
        self._starter = starter
        self._wire = wire
        self._running: Running | None = None
        self._session: aiohttp.ClientSession | None = None
        self._starting: asyncio.Task[Running] | None = None
        self._cancel = Cancel()
        self._users = 0
        self._used = time.monotonic()
        self._unused = asyncio.Event()
        self._unused.set()

    @property
    def origin(self) -> Origin | None:
        """Of the engine that answers; None before it was started."""
        return self._running.origin if self._running is not None else None

    @property
    def is_idle(self) -> bool:
        """Whether its engine may be stopped."""
        return (
            self._running is not None
            and not self.model.warm
            and not self._users
            and time.monotonic() - self._used > self.model.idle
        )

    @property
    def has_died(self) -> bool:
        """Whether its engine ended by itself."""
        return self._running is not None and not self._running.engine.alive

    async def warm(self) -> None:
        """Starts the engine; what hinders it, the first request will say too."""
        try:
            await self.ready()
        except Fault as fault:
            _log.warning("%s does not start: %s", self.model.model, fault)

    async def ready(self) -> Running:
        """The engine, once it is loaded; one start for all that wait. Raises :class:`Fault`."""
        if self.has_died:
            await self.stop()
        if self._running is not None:
            return self._running
        if self._starting is None:
            self._starting = asyncio.create_task(self._start())
        return await asyncio.shield(self._starting)

    async def _start(self) -> Running:
        self._cancel = Cancel()
        try:
            running = await asyncio.to_thread(self._starter.start, self.model, self._cancel)
        finally:
            self._starting = None
        self._running, self._used = running, time.monotonic()
        self._session = aiohttp.ClientSession(
            connector=aiohttp.UnixConnector(running.engine.socket_path, force_close=True, limit=0),
            timeout=aiohttp.ClientTimeout(total=None),
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
        )
        return running

    async def stop(self) -> None:
        """Ends the engine. The next request starts it anew."""
        if self._starting is not None:
            self._cancel.set()
            with contextlib.suppress(Fault):
                await asyncio.shield(self._starting)
        running, session = self._running, self._session
        self._running = self._session = None
        if session is not None:
            await session.close()
        if running is not None:
            await asyncio.to_thread(running.close)

    async def retire(self) -> None:
        """Ends the engine once no request uses it."""
        await self._unused.wait()
        await self.stop()

    def origin_of(self, adapter: Target) -> Origin | None:
        """The same, where the adapter answers."""
        if self._running is None:
            return None
        return self._running.origin_of(adapter)

    async def ask(
        self,
        kind: str,
        body: Json,
        clock: Clock,
        connect: float,
        adapter: Target | None = None,
    ) -> Body:
        running = await self.ready()
        name = running.name_of(adapter)
        clock.again()
        self._users += 1
        self._unused.clear()
        try:
            return _Counted(
                await self._ask(running, kind, {**body, "model": name}, clock, connect), self._done
            )
        except BaseException:
            self._done()
            raise

    def _done(self) -> None:
        self._users -= 1
        self._used = time.monotonic()
        if not self._users:
            self._unused.set()

    async def _ask(
        self, running: Running, kind: str, body: Json, clock: Clock, connect: float
    ) -> Body:
        try:
            asked = understand(_KINDS[kind], body, running.loaded, start="")
            sent = forced(asked.body, asked.forced) if asked.forced else asked.body
            assert self._session is not None
            await TemplateLimits(running.engine).run(self._session, _KINDS[kind], asked.body)
        except RequestError as error:
            raise _as_fault(error) from None
        except SchemaError as error:
            raise _as_fault(RequestError(400, str(error), param="tools")) from None
        except (EngineError, aiohttp.ClientError) as error:
            text = without_paths(f"the engine does not answer: {error}")  # it names its socket
            raise Fault(FaultKind.ENGINE, text) from error
        running.engine.count_request()
        reply = await self._send(running, kind, sent, clock, connect)
        if not asked.forced:
            return reply
        try:
            document = json.loads(await reply.whole(_MOST))
        finally:
            reply.close()
        call = as_call(document, asked.forced)
        if not asked.stream:
            return _HeldBody(json.dumps(call).encode())
        events = [json.dumps(event) for event in as_events(call, usage=asked.usage)]
        return _HeldBody("".join(f"data: {event}\n\n" for event in [*events, "[DONE]"]).encode())

    async def _send(
        self, running: Running, kind: str, body: Json, clock: Clock, connect: float
    ) -> Body:
        place = WirePlace("engine", socket=running.engine.socket_path)
        data = msgspec.json.encode(body)
        head = (
            f"POST /v1{PATHS[kind]} HTTP/1.1\r\nHost: engine\r\nConnection: close\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
        )
        # The engine closes connections that are idle: each request has one of its own.
        reply = await self._wire.send(
            place, head.encode() + data, clock, connect=connect, keep=False
        )
        if reply.status == 200:
            return reply
        try:
            said = await reply.whole(_MOST)
        finally:
            reply.close()
        try:
            document = json.loads(said)
        except ValueError:
            document = None
        raise _as_fault(engine_error(reply.status, document))


class AdapterBackend:
    """Implements :class:`~outlast.features.gateway.upstream.asking.Backend` for an adapter, by the
    engine that has its base.
    """

    def __init__(self, engine: LocalBackend, adapter: Target) -> None:
        self._engine = engine
        self._adapter = adapter

    @property
    def origin(self) -> Origin | None:
        """With the adapter's manifest; None before the engine was started."""
        return self._engine.origin_of(self._adapter)

    async def ask(self, kind: str, body: Json, clock: Clock, connect: float) -> Body:
        return await self._engine.ask(kind, body, clock, connect, self._adapter)


def _as_fault(error: RequestError) -> Fault:
    """A refusal of the engine's: the caller's own, or one that other targets may not have."""
    text = without_paths(str(error))
    if error.status >= 500:
        return Fault(FaultKind.SERVER, text, status=error.status)
    said = {**error.document()["error"], "message": text}
    return Fault(FaultKind.REQUEST, text, status=error.status, error=said)


class _HeldBody:
    """A body that is here as a whole."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    async def piece(self) -> bytes:
        data, self._data = self._data, b""
        return data

    async def whole(self, most: int) -> bytes:
        del most
        return await self.piece()

    def close(self) -> None:
        """There is nothing to end."""


class _Counted:
    """A body whose end is told, once."""

    def __init__(self, body: Body, done: Any) -> None:
        self._body = body
        self._done = done

    async def piece(self) -> bytes:
        return await self._body.piece()

    async def whole(self, most: int) -> bytes:
        return await self._body.whole(most)

    def close(self) -> None:
        self._body.close()
        done, self._done = self._done, bool
        done()
