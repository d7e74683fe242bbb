"""The private socket of a process: how it is, for `outlast status` and for `/metrics` of the other
processes; and the engines of the archive's models, which the first process has for all.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec
from aiohttp import web

from outlast.core.errors import StorageError
from outlast.features.gateway.local.engines import LocalEngines
from outlast.features.gateway.local.forwarded import (
    ASK,
    FAULT_STATUS,
    ORIGIN,
    READY,
    EngineQuestion,
    SaidFault,
    said_origin,
)
from outlast.features.gateway.processes.sockets import WRITE_PATH, listening_at
from outlast.features.gateway.processes.status import METRICS_PATH, STATUS_PATH
from outlast.features.gateway.routes.values import LocalModel
from outlast.features.gateway.upstream.clock import Clock
from outlast.features.gateway.upstream.faults import Fault
from outlast.server.http.listening import Bounds, listening_on
from outlast.server.http.log import log_line
from outlast.server.http.queries import release_body
from outlast.server.tuning import TUNING

_BODY: Final = 64 * 1024 * 1024
_BOUNDS: Final = Bounds(body=_BODY, connections=4096, stall=3600.0, grace=0.5)
_decode: Final = msgspec.json.Decoder(EngineQuestion).decode


@dataclass(frozen=True, slots=True)
class Inner:
    """What the socket answers with. `write` writes the ledger, on a thread; `models`: those of the
    archive that routes name, by name.
    """

    status: Callable[[], bytes]
    metrics: Callable[[], bytes]
    write: Callable[[], None]
    engines: LocalEngines | None
    models: Callable[[], dict[str, LocalModel]]

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Never raises, but for what ends the task."""
        path = request.rel_url.raw_path
        if request.method == "GET" and path == STATUS_PATH:
            return web.Response(body=self.status(), content_type="application/json")
        if request.method == "GET" and path == METRICS_PATH:
            return web.Response(body=self.metrics())
        if request.method == "POST" and path == WRITE_PATH:
            return await self._write_ledger()
        if request.method == "POST" and path in {ASK, READY}:
            return await self._engine(request, path)
        return web.Response(status=404)

    async def _write_ledger(self) -> web.Response:
        try:
            await asyncio.to_thread(self.write)
        except StorageError:
            return web.Response(status=503)
        return web.Response()

    async def _engine(self, request: web.Request, path: str) -> web.StreamResponse:
        release_body(request, TUNING)
        try:
            question = _decode(await request.read())
        except (msgspec.DecodeError, ValueError):
            return web.Response(status=400)
        model = self.models().get(question.model)
        if model is None or self.engines is None:
            return web.Response(status=404)
        try:
            backend = self.engines.backend(model, model.adapter_named(question.adapter))
        except KeyError:
            return web.Response(status=404)
        response = web.StreamResponse()
        try:
            if path == READY:
                await self.engines.engine(model).ready()
                return web.Response(headers={ORIGIN: said_origin(backend.origin)})
            clock = Clock(lambda: _is_gone(request), question.seconds)
            try:
                body = await backend.ask(question.kind, question.body, clock, question.connect)
                try:
                    response.headers[ORIGIN] = said_origin(backend.origin)
                    await response.prepare(request)
                    while piece := await body.piece():
                        await response.write(piece)
                    await response.write_eof()
                finally:
                    body.close()
            finally:
                clock.stop()
        except Fault as fault:
            if not response.prepared:
                return web.Response(status=FAULT_STATUS, body=SaidFault.of(fault))
            if request.transport is not None:  # a cut, to the one that asks
                request.transport.abort()
        return response


def _is_gone(request: web.Request) -> bool:
    return request.transport is None or request.transport.is_closing()


@contextlib.asynccontextmanager
async def inner_socket(home: Path, group: int, number: int, inner: Inner) -> AsyncIterator[None]:
    """Answers while the block runs. Where there can be no socket the log says why, and everything
    else goes on.
    """
    with contextlib.ExitStack() as stack:
        try:
            sock = stack.enter_context(listening_at(home, group, number))
        except OSError as error:
            reason = error.strerror or str(error)
            log_line({"level": "warning", "what": "gateway", "no private socket": reason})
            yield
            return

        async with listening_on(sock, inner.answer, _BOUNDS):
            yield
