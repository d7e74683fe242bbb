"""The handler of the API: checks a request, has the engine answer it, and passes the answer on."""

import asyncio
import contextlib
import hashlib
import hmac
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit

import aiohttp
from aiohttp import web

from outlast.core.errors import EngineError, OutlastError
from outlast.server.http.files import close_short
from outlast.server.http.log import log_bug
from outlast.server.http.queries import Bodies, parse_json
from outlast.server.http.replies import told
from outlast.server.model.origin import Origin, Stamp
from outlast.server.model.requests import (
    POSTS,
    Ask,
    Loaded,
    LoadedAdapter,
    adapter_called,
    understand,
)
from outlast.server.model.template_limits import TemplateLimits
from outlast.server.model.tools import SchemaError, as_call, as_events, forced
from outlast.server.model.words import RequestError, engine_error
from outlast.server.tuning import ServerTuning

BODY = 8 * 1024 * 1024
"""Bytes of a request: what a context of a million tokens takes, twice."""
_ERROR_BYTES = 1024 * 1024
_ERROR_EVENT = b'data: {"error"'
_TEMPLATE = "/apply-template"
_LEFT = 499
"""Of answers that no client waits for, and that are not sent."""
_STREAM = "text/event-stream"
_LOCAL = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, slots=True)
class Serves:
    """What is served: the model that is loaded, to clients with the API key `key` (None: to all).
    `origin` goes along with each answer; `start` is the command that serves this model, for hints;
    `asked` is called for each request that the engine gets.
    """

    loaded: Loaded
    key: str | None = field(default=None, repr=False)
    origin: Origin = field(default_factory=lambda: Origin("", ""))
    start: str = ""
    asked: Callable[[], object] = bool


class Front:
    """Answers requests to the model that the engine behind `session` has loaded."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        template: TemplateLimits,
        serves: Serves,
        bodies: Bodies,
        *,
        tuning: ServerTuning,
    ) -> None:
        self._session = session
        self._template = template
        self._serves = serves
        self._loaded = serves.loaded
        self._bodies = bodies
        self._key = None if serves.key is None else _digest(serves.key)
        self._origin = serves.origin
        self._start = serves.start
        self._tuning = tuning
        self._since = int(time.time())

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answers one request. A client that leaves ends the engine's work for it."""
        work = asyncio.ensure_future(self._answered(request))
        try:
            while not (await asyncio.wait({work}, timeout=self._tuning.client_poll))[0]:
                if request.transport is None or request.transport.is_closing():
                    return web.Response(status=_LEFT)
            return work.result()
        finally:
            if not work.done():
                work.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await work

    async def _answered(self, request: web.Request) -> web.StreamResponse:
        headers = dict(self._origin.headers)
        try:
            headers = {**_for_browsers(request), **self._origin.headers}
            if request.method == "OPTIONS":
                return web.Response(status=204, headers=headers)
            return await self._route(request, headers)
        except RequestError as error:
            return _refused(error, headers)
        except web.HTTPException as error:  # as a body that is too large
            return _refused(RequestError(error.status, error.reason), headers)
        except OutlastError as error:
            status = 503 if isinstance(error, EngineError) else 400
            return _refused(RequestError(status, told(status, str(error))), headers)
        except aiohttp.ClientError as error:
            text = told(503, f"the engine does not answer: {error}")
            return _refused(RequestError(503, text), headers)
        except ConnectionError:
            return web.Response(status=_LEFT)
        except Exception as error:  # noqa: BLE001 - a bug, which is logged
            log_bug("run --api", error)
            bug = RequestError(500, "a bug in outlast: its log has the traceback")
            return _refused(bug, headers)

    async def _route(self, request: web.Request, headers: dict[str, str]) -> web.StreamResponse:
        path = request.rel_url.raw_path
        if path in ("/health", "/v1/health"):
            return web.json_response({"status": "ok"}, headers=headers)
        self._check_key(request)
        if path in POSTS:
            if request.method != "POST":
                raise RequestError(405, f"{path} takes POST, and no {request.method}")
            body = await self._bodies.read(request, BODY, parse_json)
            ask = understand(POSTS[path], body, self._loaded, start=self._start)
            return await self._ask(request, path, ask, headers)
        if request.method not in ("GET", "HEAD"):
            raise RequestError(404, "nothing is served at this path")
        if path in ("/v1/models", "/models"):
            listed = {"object": "list", "data": await self._models()}
            return web.json_response(self._origin.stamped(listed), headers=headers)
        if path.startswith("/v1/models/"):
            asked = unquote(path.removeprefix("/v1/models/"))
            adapter = adapter_called(asked, self._loaded)
            origin = self._origin_of(adapter)
            entry = _entry(adapter, await self._model()) if adapter else await self._model()
            return web.json_response(origin.stamped(entry), headers={**headers, **origin.headers})
        if path == "/props":
            facts = self._origin.stamped(await self._get("/props"))
            return web.json_response(facts, headers=headers)
        raise RequestError(404, "nothing is served at this path")

    def _check_key(self, request: web.Request) -> None:
        if self._key is None:
            return
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            token = request.headers.get("X-Api-Key", "")
        if not hmac.compare_digest(self._key, _digest(token.strip())):
            raise RequestError(401, "the API key is wrong or missing", code="invalid_api_key")

    def _origin_of(self, adapter: LoadedAdapter | None) -> Origin:
        return self._origin if adapter is None else self._origin.with_adapter(adapter.manifest)

    async def _models(self) -> list[dict[str, Any]]:
        """The list of models: the one that is loaded, and that with each adapter."""
        model = await self._model()
        return [model, *(_entry(adapter, model) for adapter in self._loaded.adapters)]

    async def _model(self) -> dict[str, Any]:
        """The entry of the model that is loaded."""
        listed = await self._get("/v1/models")
        found = listed.get("data") or [{}]
        return {
            "id": self._loaded.name,
            "object": "model",
            "created": self._since,
            "owned_by": "outlast",
            "aliases": sorted(self._loaded.names - {self._loaded.name}),
            "meta": found[0].get("meta"),
        }

    async def _get(self, path: str) -> dict[str, Any]:
        async with self._session.get(f"http://engine{path}") as answer:
            document: dict[str, Any] = await answer.json(content_type=None)
            return document

    async def _ask(
        self, request: web.Request, path: str, ask: Ask, headers: dict[str, str]
    ) -> web.StreamResponse:
        enforced = ask.forced if path != _TEMPLATE else ()
        try:
            body = json.dumps(forced(ask.body, enforced) if enforced else ask.body).encode()
        except SchemaError as error:
            raise RequestError(400, str(error), param="tools") from error
        except RecursionError:
            raise RequestError(400, "the request's body is nested too deeply") from None
        origin = self._origin_of(ask.adapter)
        headers |= origin.headers
        self._serves.asked()
        await self._template.run(self._session, POSTS[path], ask.body)
        async with self._session.post(
            f"http://engine{path}", data=body, headers={"Content-Type": "application/json"}
        ) as answer:
            if answer.status >= 400:
                raise engine_error(answer.status, await _document(answer))
            if enforced:
                document = origin.stamped(await answer.json(content_type=None))
                return await _called(request, document, ask, headers)
            return await _passed_on(request, answer, headers, origin)


def _entry(adapter: LoadedAdapter, model: Mapping[str, Any]) -> dict[str, Any]:
    """The entry of an adapter in the list of models; `parent` as vLLM has it."""
    own = {"id": adapter.name, "aliases": sorted(adapter.names - {adapter.name})}
    return {**model, **own, "parent": model["id"]}


async def _passed_on(
    request: web.Request, answer: aiohttp.ClientResponse, headers: dict[str, str], origin: Origin
) -> web.StreamResponse:
    """The engine's answer as it comes, with where it came from."""
    kind = answer.headers.get("Content-Type", "application/json")
    response = web.StreamResponse(status=answer.status, headers=headers | {"Content-Type": kind})
    stamp = Stamp(origin, kind)
    await response.prepare(request)
    try:
        async for chunk in answer.content.iter_any():
            if data := stamp.take(_event(chunk)):
                await response.write(data)
        if rest := stamp.end():
            await response.write(rest)
        await response.write_eof()
    except (aiohttp.ClientError, ConnectionError):
        # The engine broke off, or the client: nothing may follow that looks like an end.
        return close_short(request, response)
    return response


def _event(chunk: bytes) -> bytes:
    """`chunk`; an error that ends a stream in our words."""
    if not chunk.startswith(_ERROR_EVENT):
        return chunk
    try:
        document = json.loads(chunk.removeprefix(b"data: "))
    except ValueError:
        return chunk
    return b"data: " + json.dumps(engine_error(500, document).document()).encode() + b"\n\n"


async def _called(
    request: web.Request, answer: dict[str, Any], ask: Ask, headers: dict[str, str]
) -> web.StreamResponse:
    """An answer that was enforced to be a call."""
    answer = as_call(answer, ask.forced)
    if not ask.stream:
        return web.json_response(answer, headers=headers)
    response = web.StreamResponse(headers=headers | {"Content-Type": _STREAM})
    await response.prepare(request)
    for event in as_events(answer, usage=ask.usage):
        await response.write(b"data: " + json.dumps(event).encode() + b"\n\n")
    await response.write(b"data: [DONE]\n\n")
    await response.write_eof()
    return response


async def _document(answer: aiohttp.ClientResponse) -> object:
    data = await answer.content.read(_ERROR_BYTES)
    with contextlib.suppress(ValueError):
        document: object = json.loads(data)
        return document
    return None


def _for_browsers(request: web.Request) -> dict[str, str]:
    """The headers that let a page on this machine read the answer. A page from elsewhere could
    have the model work for it without reading anything, and is refused.
    """
    origin = request.headers.get("Origin")
    if origin is None:
        return {}
    try:
        local = urlsplit(origin).hostname in _LOCAL
    except ValueError:
        local = False
    if not local:
        raise RequestError(403, "pages from elsewhere may not use this server")
    return {
        "Access-Control-Allow-Origin": origin,
        "Access-Control-Allow-Methods": "GET, POST",
        "Access-Control-Allow-Headers": "Authorization, Content-Type, X-Api-Key",
        "Vary": "Origin",
    }


def _refused(error: RequestError, headers: Mapping[str, str]) -> web.Response:
    return web.json_response(error.document(), status=error.status, headers=dict(headers))


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()
