"""The least that stands between a caller and one provider: understand, ask, judge, write. What the
gateway does beside that (routes, fall-over, keys) is not here.
"""

import asyncio
import socket
import threading
from types import TracebackType
from typing import Any, Self

import aiohttp
from aiohttp import web

from outlast.features.gateway.dialects import DIALECTS
from outlast.features.gateway.dialects.anthropic_target import from_messages, to_messages
from outlast.features.gateway.dialects.asked import DialectAsked
from outlast.features.gateway.dialects.stream_judge import SseJudge
from outlast.features.gateway.seams import BrokenStream, Json, RequestRefused
from tests.providersim import ProviderSim

NOTE = {"target": "sim"}
_PATHS = {"chat": "chat/completions", "completions": "completions", "embeddings": "embeddings"}


class Door:
    """``with Door(sim) as door``: `door.url` is a base URL for OpenAI's clients, and `door.root`
    for Anthropic's. `anthropic`: the provider is asked in Anthropic's words.
    """

    def __init__(self, sim: ProviderSim, *, anthropic: bool = False) -> None:
        self._sim, self._anthropic = sim, anthropic

    @property
    def root(self) -> str:
        return f"http://127.0.0.1:{self._socket.getsockname()[1]}"

    @property
    def url(self) -> str:
        return f"{self.root}/v1"

    def __enter__(self) -> Self:
        self._loop = asyncio.new_event_loop()
        self._stopped = asyncio.Event()
        self._up = threading.Event()
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=128)
        self._thread = threading.Thread(
            target=lambda: self._loop.run_until_complete(self._serve()), name="door"
        )
        self._thread.start()
        self._up.wait()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._loop.call_soon_threadsafe(self._stopped.set)
        self._thread.join()
        self._loop.close()

    async def _serve(self) -> None:
        app = web.Application(client_max_size=1 << 26)
        for path in DIALECTS:
            app.router.add_post(path, self._handle)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.SockSite(runner, self._socket).start()
        async with aiohttp.ClientSession() as self._session:
            self._up.set()
            await self._stopped.wait()
        await runner.cleanup()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        dialect = DIALECTS[request.path]
        try:
            asked = dialect.understand(await request.read())
        except RequestRefused as no:
            document = dialect.refusal(no.status, no.kind, str(no), no.param)
            return web.json_response(document, status=no.status)
        body: Json = to_messages(asked.chat)[0] if self._anthropic else asked.chat
        path = "messages" if self._anthropic else _PATHS[asked.kind]
        async with self._session.post(f"{self._sim.url}/{path}", json=body) as answer:
            if answer.status != 200:
                document = dialect.refusal(answer.status, "", "the provider refused")
                return web.json_response(document, status=answer.status)
            if asked.stream:
                return await self._stream(request, dialect, asked, answer)
            whole = await answer.json()
            whole = from_messages(whole) if self._anthropic else whole
            return web.json_response(dialect.whole(asked, whole))

    async def _stream(
        self,
        request: web.Request,
        dialect: Any,
        asked: DialectAsked,
        answer: aiohttp.ClientResponse,
    ) -> web.StreamResponse:
        writer = dialect.events(asked)
        judge = SseJudge(asked.kind, anthropic=self._anthropic)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        try:
            async for data in answer.content.iter_any():
                for chunk in judge.feed(data):
                    await response.write(writer.feed(chunk))
            judge.close()
            await response.write(writer.end(NOTE))
        except (BrokenStream, aiohttp.ClientError, ConnectionError) as broken:
            await response.write(writer.error(502, str(broken) or "the provider broke off"))
        await response.write_eof()
        return response
