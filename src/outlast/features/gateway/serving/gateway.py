"""The handler of the gateway: finds the route, asks who the caller is, and answers."""

import asyncio
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from aiohttp import web

from outlast.core.errors import CorruptError, OutlastError, StorageError, TransientError
from outlast.features.gateway.processes.figures import figures_of_all
from outlast.features.gateway.routes.values import GatewayRoute
from outlast.features.gateway.seams import Dialect, KeyRefused, RequestRefused, Understood
from outlast.features.gateway.serving.fleet import Fleet
from outlast.features.gateway.serving.job import CallerJob, Desk, Failed
from outlast.features.gateway.serving.streamed import answer_streamed
from outlast.features.gateway.serving.whole import answer_whole
from outlast.features.gateway.upstream.clock import CallerLeft
from outlast.server.http.log import log_bug
from outlast.server.http.queries import Bodies, read_body
from outlast.server.http.replies import told
from outlast.server.tuning import TUNING

BODY: Final = 8 * 1024 * 1024
"""Bytes of a request: what a context of a million tokens takes, twice."""
NO_SUBSTITUTE: Final = "X-Outlast-No-Substitute"
_LEFT: Final = 499
_SMALL: Final = TUNING.written
_KINDS: Final = {401: "authentication_error", 404: "invalid_request_error", 429: "rate_limit_error"}
_OPEN_PATHS: Final = frozenset({"/healthz", "/health"})


class Gateway:
    """Answers every request of the gateway's port."""

    def __init__(
        self,
        desk: Desk,
        dialects: Mapping[str, tuple[str, Dialect]],
        bodies: Bodies,
        *,
        substitutes: bool,
        others: Sequence[Path] = (),
    ) -> None:
        """`dialects` maps paths to what is asked there (a key of `upstream.asking.PATHS`) and how.
        Without `substitutes` only the choice of a route answers. `others`: the private sockets of
        this gateway's other processes, whose figures are added to those of this one.
        """
        self._desk = desk
        self._dialects = dialects
        self._bodies = bodies
        self._substitutes = substitutes
        self._others = tuple(others)
        self.since = int(time.time())
        self.draining = False
        self.under_way = 0

    @property
    def _fleet(self) -> Fleet:
        return self._desk.fleet

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answers one request. Never raises, but for what ends the task."""
        self.under_way += 1
        try:
            return await self._answered(request)
        except CallerLeft:
            if request.transport is not None:
                request.transport.abort()
            return web.Response(status=_LEFT)
        finally:
            self.under_way -= 1

    async def _answered(self, request: web.Request) -> web.StreamResponse:
        path = request.rel_url.raw_path
        found = self._dialects.get(path)
        if found is None:
            return await self._other(request, path)
        kind, dialect = found
        if request.method != "POST":
            return _refusal(dialect, 405, f"{path} takes POST")
        route = ""
        job: CallerJob | None = None
        answer: web.StreamResponse | None = None
        try:
            caller = self._desk.accounts.authenticate(_secret(request))
            asked, size = await self._read(request, dialect)
            picked = self._route(asked.model)
            route = picked.name
            plan = self._fleet.plan(picked, asked.chat)
            strict = request.headers.get(NO_SUBSTITUTE, "").lower() not in {"", "0", "false"}
            job = CallerJob(
                request,
                dialect,
                kind,
                asked,
                picked,
                caller,
                size,
                plan,
                substitutes=self._substitutes and picked.substitutes and not strict,
            )
            do = answer_streamed if asked.stream else answer_whole
            answer = await do(self._desk, job)
        except (CallerLeft, ConnectionError):
            raise CallerLeft from None
        except Exception as error:  # noqa: BLE001 - mapped below; a bug is logged
            answer = _answer_to(error, dialect)
            self._desk.metrics.refused.labels(route, answer.status).inc()
        finally:
            tracer = self._desk.tracer()
            if tracer is not None and job is not None:
                status = _LEFT if answer is None else answer.status
                tracer.ended(job.traced(status), request.headers)
        return answer

    async def _read(self, request: web.Request, dialect: Dialect) -> tuple[Understood, int]:
        """The request as understood, and the bytes of its body."""
        size = request.content_length or 0
        if size <= _SMALL:  # a thread costs more than it saves
            with self._bodies.memory.lease() as lease:
                data = await read_body(request, BODY, lease, TUNING)
            return dialect.understand(data), size
        return await self._bodies.read(request, BODY, dialect.understand), size

    def _route(self, model: str) -> GatewayRoute:
        route = self._fleet.routes.get(model)
        if route is None:
            raise RequestRefused(
                404,
                "invalid_request_error",
                f"there is no route {model[:200]!r}; GET /v1/models lists them",
                "model",
            )
        return route

    async def _other(self, request: web.Request, path: str) -> web.Response:
        if request.method not in {"GET", "HEAD"}:
            return _plain(404, "nothing is served at this path")
        if path in _OPEN_PATHS:
            status = 503 if self.draining else 200
            word = "draining" if self.draining else "ok"
            return web.json_response({"status": word}, status=status)
        try:
            self._desk.accounts.authenticate(_secret(request))
        except KeyRefused as error:
            return _plain(401, str(error))
        if path == "/metrics":
            return await self._metrics()
        if path in {"/v1/models", "/models"}:
            listed = [self._model(route) for route in self._fleet.routes.values()]
            return web.json_response({"object": "list", "data": listed})
        name = path.removeprefix("/v1/models/")
        if name != path and name in self._fleet.routes:
            return web.json_response(self._model(self._fleet.routes[name]))
        return _plain(404, "nothing is served at this path")

    async def _metrics(self) -> web.Response:
        text = self.figures()
        if self._others:
            text = await asyncio.to_thread(figures_of_all, text, self._others)
        return web.Response(body=text, headers={"Content-Type": "text/plain; version=0.0.4"})

    def figures(self) -> bytes:
        """Those of this process, for Prometheus."""
        metrics = self._desk.metrics
        metrics.under_way.set(self.under_way)
        for server in self._fleet.servers:
            metrics.stands(server.target.name, server.url, server.standing.state)
        return metrics.text()

    def _model(self, route: GatewayRoute) -> dict[str, Any]:
        """The entry of the list of models: what the route would ask, and how that stands."""
        targets = [
            {"target": t.name, "hosted": t.hosted, "answers": self._fleet.seen(t).answers}
            for t in route.targets
        ]
        return {
            "id": route.name,
            "object": "model",
            "created": self.since,
            "owned_by": "outlast",
            "outlast": {"mode": route.mode, "targets": targets},
        }


def _secret(request: web.Request) -> str | None:
    """The caller's key, as clients of OpenAI and of Anthropic send it."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return token.strip()
    return request.headers.get("X-Api-Key")


def _answer_to(error: Exception, dialect: Dialect) -> web.Response:
    """What the caller hears of an error. Raises nothing: a bug is logged."""
    if isinstance(error, RequestRefused):
        document = dialect.refusal(error.status, error.kind, str(error), error.param)
        return web.json_response(document, status=error.status)
    if isinstance(error, KeyRefused):
        return _refusal(dialect, 401, str(error))
    if isinstance(error, Failed):
        return _failed(dialect, error)
    if isinstance(error, web.HTTPException):
        return _refusal(dialect, error.status, error.reason)
    if isinstance(error, OutlastError):
        ours = isinstance(error, TransientError | StorageError | CorruptError)
        status = 503 if ours else 400  # a full disk, say: no fault of the caller's
        return _refusal(dialect, status, told(status, str(error)))
    log_bug("gateway", error)
    return _refusal(dialect, 500, "a bug in outlast: its log has the traceback")


def _failed(dialect: Dialect, error: Failed) -> web.Response:
    headers = {}
    if error.retry_after is not None:
        headers["Retry-After"] = str(max(1, round(error.retry_after)))
    said = error.error
    document = dialect.refusal(
        error.status,
        str(said.get("type") or _kind(error.status)),
        str(error),
        said.get("param"),
    )
    inner = document.get("error")
    if isinstance(inner, dict) and said.get("code") is not None and "code" in inner:
        inner["code"] = said["code"]
    return web.json_response(document, status=error.status, headers=headers)


def _kind(status: int) -> str:
    usual = "invalid_request_error" if status < 500 else "server_error"
    return _KINDS.get(status, usual)


def _refusal(dialect: Dialect, status: int, message: str) -> web.Response:
    document = dialect.refusal(status, _kind(status), message)
    return web.json_response(document, status=status)


def _plain(status: int, message: str) -> web.Response:
    error = {"message": message, "type": _kind(status), "param": None, "code": None}
    body = json.dumps({"error": error}).encode()
    return web.Response(status=status, body=body, content_type="application/json")
