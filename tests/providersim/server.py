"""The server: a thread with an event loop, on loopback."""

import asyncio
import base64
import contextlib
import hashlib
import json
import socket
import struct
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Any, Self

from aiohttp import web

from tests.providersim import forms
from tests.providersim.ask import AskError, Say, say_chat, say_completion, say_messages
from tests.providersim.faults import Fault
from tests.providersim.forms import Event, Form

_PAGE = b"""<!doctype html><html><head><title>Access denied</title></head><body>
<h1>This service is not available in your region.</h1></body></html>"""
_GARBAGE = b"\x00\x01HTTP/1.1 200 OK\r\n<html>}{ data data data ]\n\nfoo: bar\n\n"
_BLOCK = b"A" * 65536


@dataclass
class ProviderAsked:
    """One request. `ended` is how its answer ended: "whole", "refused", "cut", or "left" where the
    client went first; empty while it is under way. `sent` counts the tokens that were sent.
    """

    path: str
    key: str
    headers: dict[str, str]
    body: Any
    prompt: str = ""
    fault: Fault | None = None
    sent: int = 0
    ended: str = ""

    @property
    def model(self) -> str:
        return str(self.body.get("model", "")) if isinstance(self.body, dict) else ""


class _CutError(Exception):
    """The answer ends here: the connection is reset or closed."""


@dataclass
class ProviderSim:
    """A provider in this process: ``with ProviderSim() as sim``. Answers have `tokens` tokens."""

    tokens: int = 16
    models: tuple[str, ...] = ("sim-model",)
    keys: frozenset[str] | None = None
    gone: set[str] = field(default_factory=set)
    faults: list[Fault] = field(default_factory=list)
    script: list[Fault | None] = field(default_factory=list)
    asked: list[ProviderAsked] = field(default_factory=list)
    port: int = 0
    """Where it listens; 0: at a free port."""

    def __enter__(self) -> Self:
        self._lock = threading.Lock()
        self._loop = asyncio.new_event_loop()
        self._stopped = asyncio.Event()
        self._socket = socket.create_server(("127.0.0.1", self.port), backlog=1024)
        self._port = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._run, name="providersim")
        self._up = threading.Event()
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

    @property
    def root(self) -> str:
        """What Anthropic's client takes as its base URL."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def url(self) -> str:
        """What OpenAI's client takes as its base URL."""
        return f"{self.root}/v1"

    def fail(self, action: str, **details: Any) -> Fault:
        """Adds a fault, and gives it back (`sim.faults.remove` ends it)."""
        fault = Fault(action, **details)
        with self._lock:
            self.faults.append(fault)
        return fault

    def requests(self, path: str = "", prompt: str = "") -> list[ProviderAsked]:
        """The requests so far whose path and prompt contain these texts."""
        with self._lock:
            return [one for one in self.asked if path in one.path and prompt in one.prompt]

    # The thread

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve())
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()

    async def _serve(self) -> None:
        app = web.Application(client_max_size=1 << 30)
        app.router.add_get("/v1/models", self._models)
        for path, answer in _ROUTES.items():
            app.router.add_post(path, self._handler(answer))
        runner = web.AppRunner(
            app, access_log=None, shutdown_timeout=0.1, handler_cancellation=True
        )
        await runner.setup()
        await web.SockSite(runner, self._socket).start()
        self._up.set()
        await self._stopped.wait()
        await runner.cleanup()

    async def _models(self, request: web.Request) -> web.StreamResponse:
        asked = ProviderAsked(request.path, _key(request), dict(request.headers), None)
        with self._lock:
            self.asked.append(asked)
        fault = self._fault(request, asked)
        if fault is not None:
            await self._before(request, asked, fault)
            if fault.action in ("status", "ban"):
                return self._refused(asked, fault)
        listed = [
            {"id": name, "object": "model", "created": 1, "owned_by": "providersim"}
            for name in self.models
            if name not in self.gone
        ]
        asked.ended = "whole"
        return web.json_response({"object": "list", "data": listed})

    def _handler(self, answer: "_Answers") -> Any:
        async def handle(request: web.Request) -> web.StreamResponse:
            raw = await request.read()
            body = json.loads(raw) if raw else {}
            asked = ProviderAsked(request.path, _key(request), dict(request.headers), body)
            with self._lock:
                self.asked.append(asked)
            try:
                return await self._answer(request, asked, answer)
            except _CutError:
                asked.ended = "cut"
                return web.Response(status=500)
            except (ConnectionError, asyncio.CancelledError):
                asked.ended = asked.ended or "left"
                raise

        return handle

    def _fault(self, request: web.Request, asked: ProviderAsked) -> Fault | None:
        told = request.headers.get("X-Sim-Fault")
        if told:
            return Fault.parse(told)
        with self._lock:
            if self.script:
                return self.script.pop(0)
            for fault in self.faults:
                if fault.fits(asked.path, asked.model, asked.prompt, asked.key):
                    if fault.count is not None:
                        fault.count -= 1
                    return fault
        return None

    async def _answer(
        self, request: web.Request, asked: ProviderAsked, answer: "_Answers"
    ) -> web.StreamResponse:
        try:
            say = answer.say(asked.body, self.tokens)
        except AskError as error:
            return self._error(asked, 400, str(error))
        asked.prompt = say.prompt
        asked.fault = self._fault(request, asked)
        refused = self._not_admitted(asked)
        if refused is not None:
            return refused
        if asked.fault is not None:
            await self._before(request, asked, asked.fault)
            if asked.fault.action in ("status", "ban"):
                return self._refused(asked, asked.fault)
            if asked.fault.action == "giant":
                return await _giant(request, asked, asked.fault)
        form = _form(asked, say, asked.fault, len(self.asked))
        if asked.body.get("stream"):
            return await self._stream(request, asked, answer.events(form, say))
        return await self._whole(request, asked, answer.whole(form, say))

    def _not_admitted(self, asked: ProviderAsked) -> web.Response | None:
        if self.keys is not None and asked.key not in self.keys:
            return self._error(asked, 401, "this key is not known")
        if asked.model not in self.models or asked.model in self.gone:
            return self._error(asked, 404, f"the model {asked.model!r} does not exist")
        return None

    async def _whole(
        self, request: web.Request, asked: ProviderAsked, document: Any
    ) -> web.StreamResponse:
        fault = asked.fault
        if fault is not None and fault.action in ("close", "reset", "stall", "tool_cut"):
            return await self._whole_cut(request, asked, document, fault)
        if fault is not None and fault.action in ("garbage", "malformed", "utf8"):
            asked.ended = "whole"
            spoilt = {"garbage": _GARBAGE, "malformed": b'{"id": "x", "cho', "utf8": b'{"\xff": 1}'}
            return web.Response(body=spoilt[fault.action], content_type="application/json")
        asked.ended = "whole"
        return web.json_response(document)

    async def _before(self, request: web.Request, asked: ProviderAsked, fault: Fault) -> None:
        """What a fault does before the answer has begun."""
        if fault.action == "delay" or (fault.action == "stall" and fault.after is None):
            await asyncio.sleep(fault.seconds)
        if fault.action == "reset" and fault.after is None:
            asked.ended = "cut"
            _reset(request)

    def _refused(self, asked: ProviderAsked, fault: Fault) -> web.Response:
        asked.ended = "refused"
        if fault.action == "ban":
            status = fault.status or 403
            return web.Response(status=status, body=fault.body or _PAGE, content_type="text/html")
        status = fault.status or 500
        body = fault.body or json.dumps(forms.error(asked.path, status, f"said {status}")).encode()
        headers = {"Content-Type": "application/json", **fault.headers}
        if status in (204, 304):
            body = b""
        return web.Response(status=status, body=body, headers=headers)

    def _error(self, asked: ProviderAsked, status: int, message: str) -> web.Response:
        asked.ended = "refused"
        return web.json_response(forms.error(asked.path, status, message), status=status)

    async def _whole_cut(
        self, request: web.Request, asked: ProviderAsked, document: Any, fault: Fault
    ) -> web.StreamResponse:
        data = json.dumps(document).encode()
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        response.content_length = len(data)
        await response.prepare(request)
        await response.write(data[: len(data) // 2])
        await _misfortune(request, fault)
        asked.ended = "cut"
        return response

    async def _stream(
        self, request: web.Request, asked: ProviderAsked, events: Iterator[Event]
    ) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        async for event in _spoilt(request, asked, events):
            await response.write(event.data)
            asked.sent += event.token
        await response.write_eof()
        asked.ended = asked.ended or "whole"
        return response


async def _spoilt(
    request: web.Request, asked: ProviderAsked, events: Iterator[Event]
) -> AsyncIterator[Event]:
    """The events, and what the fault makes of them."""
    fault, struck = asked.fault, False
    for event in events:
        due = fault is not None and not struck and (event.token or event.finish)
        if fault is not None and due and asked.sent >= fault.tokens:
            struck = True
            async for one in _strike(request, asked, fault, event):
                yield one
            if asked.ended:
                return
            if fault.action == "finish" and not event.finish:
                yield next(left for left in events if left.finish)
                continue
        if fault is not None and fault.action == "drip" and event.token:
            await asyncio.sleep(fault.seconds)
        yield event


async def _strike(
    request: web.Request, asked: ProviderAsked, fault: Fault, event: Event
) -> AsyncIterator[Event]:
    """What comes before `event` once the fault is due. Sets `ended` where nothing may follow."""
    spoilt = {
        "garbage": _GARBAGE,
        "malformed": event.data[: len(event.data) * 2 // 3] + b"\n\n",
        "utf8": b'data: {"id": "x", "choices": [{"delta": {"content": "\xff\xfe"}}]}\n\n',
    }
    if fault.action in spoilt:
        yield Event(spoilt[fault.action])
    elif fault.action == "duplicate" and event.token:
        yield event
    elif fault.action == "late":
        status = fault.status or 429
        document = forms.error(asked.path, status, f"late {status}")
        name = "error" if "messages" in asked.path else ""
        if not name:
            document["error"]["code"] = status
        yield Event(forms.data(document, name))
        asked.ended = "refused"
    elif fault.action == "end":
        asked.ended = "cut"
    elif fault.action in ("reset", "close", "stall", "tool_cut"):
        await _misfortune(request, fault)


async def _misfortune(request: web.Request, fault: Fault) -> None:
    """Ends an answer that has begun, or lets it wait."""
    if fault.action == "stall":
        await asyncio.sleep(fault.seconds)
    elif fault.action == "reset":
        _reset(request)
    else:
        if request.transport is not None:
            request.transport.close()
        raise _CutError


def _reset(request: web.Request) -> None:
    """Ends the connection with a reset, which throws away what the client has not read."""
    transport = request.transport
    if transport is not None:
        kept = transport.get_extra_info("socket")
        with contextlib.suppress(OSError):
            kept.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()
    raise _CutError


async def _giant(request: web.Request, asked: ProviderAsked, fault: Fault) -> web.StreamResponse:
    """A body of `size` bytes, of which one block is in memory."""
    stream = bool(asked.body.get("stream"))
    kind = "text/event-stream" if stream else "application/json"
    start = b'data: {"id": "' if stream else b'{"id": "'
    response = web.StreamResponse(headers={"Content-Type": kind})
    if not stream:
        response.content_length = fault.size
    await response.prepare(request)
    await response.write(start)
    left = fault.size - len(start)
    while left > 0:
        await response.write(_BLOCK[:left])
        left -= len(_BLOCK)
    asked.ended = "whole"
    await response.write_eof()
    return response


def _form(asked: ProviderAsked, say: Say, fault: Fault | None, number: int) -> Form:
    ident = f"sim-{number}"
    form = Form(ident, asked.model, say.usage, say.finish, asked.body)
    if fault is not None and fault.action == "usage":
        form = Form(ident, asked.model, fault.value, say.finish, asked.body)
    elif fault is not None and fault.action == "finish":
        form = Form(ident, asked.model, say.usage, fault.value, asked.body)
    elif fault is not None and fault.action == "model":
        return replace(form, later=(fault.tokens, str(fault.value)))
    return form


def _key(request: web.Request) -> str:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token if scheme.lower() == "bearer" else request.headers.get("X-Api-Key", "")


def _embedded(body: Any) -> Any:
    given = body.get("input", "")
    texts = given if isinstance(given, list) else [given]
    if texts and isinstance(texts[0], int):
        texts = [texts]
    listed = []
    for index, text in enumerate(texts):
        digest = hashlib.sha256(repr(text).encode()).digest()
        vector: Any = [byte / 256 for byte in digest[:8]]
        if body.get("encoding_format") == "base64":
            vector = base64.b64encode(struct.pack("<8f", *vector)).decode()
        listed.append({"object": "embedding", "index": index, "embedding": vector})
    words = sum(len(str(text).split()) for text in texts)
    usage = {"prompt_tokens": words, "total_tokens": words}
    return {"object": "list", "data": listed, "model": body.get("model"), "usage": usage}


@dataclass(frozen=True)
class _Answers:
    """How one path is answered."""

    say: Callable[[Any, int], Say]
    whole: Callable[[Form, Say], Any]
    events: Callable[[Form, Say], Iterator[Event]]


_ROUTES = {
    "/v1/chat/completions": _Answers(say_chat, forms.chat_whole, forms.chat_events),
    "/v1/completions": _Answers(say_completion, forms.completion_whole, forms.completion_events),
    "/v1/embeddings": _Answers(
        lambda body, _: Say(str(body.get("input", "")), [], "stop", 0),
        lambda form, _: _embedded(form.asked),
        forms.completion_events,
    ),
    "/v1/messages": _Answers(say_messages, forms.messages_whole, forms.messages_events),
}
