"""The two listeners, the control endpoints, and the way of a request through them."""

import asyncio
import contextlib
import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Self
from urllib.parse import unquote

from aiohttp import web

from tests.hubsim.access import Tokens
from tests.hubsim.answer import Answers, Asked
from tests.hubsim.catalogue import Catalogue
from tests.hubsim.faults import FaultPlan, RuleJson
from tests.hubsim.log import LogEntry, RequestLog
from tests.hubsim.reply import Reply, error_reply, json_reply
from tests.hubsim.route import parse, parse_cdn, split_query
from tests.hubsim.send import send

_KEEP_ALIVE = 75.0
_LONGEST_LINE = 1 << 16


@dataclass(frozen=True, slots=True)
class Options:
    """How a hub is set up; README.md says what each means."""

    root: Path
    host: str = "127.0.0.1"
    port: int = 0
    cdn_host: str = "localhost"
    cdn_port: int = 0
    cdn: bool = False
    resolve_cache: bool = False
    token: str | None = None
    limited_token: str | None = None
    page_limit: int = 1000
    cdn_ttl: int = 3600
    git: bool = False
    seed: int = 0
    faults: list[RuleJson] = field(default_factory=list)
    log: Path | None = None


class Hub:
    """A running hub: `async with Hub(options) as hub` starts and stops it."""

    def __init__(self, options: Options) -> None:
        self.url = ""
        self.cdn_url = ""
        self._options = options
        self._plan = FaultPlan(options.faults, options.seed)
        self._log = RequestLog(options.log)
        self._runners: list[web.ServerRunner] = []
        self._transports: list[web.Server] = []

    async def __aenter__(self) -> Self:
        options = self._options
        self.url = await self._listen("hub", options.host, options.port)
        self.cdn_url = await self._listen("cdn", options.cdn_host, options.cdn_port)
        self._answers = Answers(
            catalogue=Catalogue(options.root),
            tokens=Tokens(options.token, options.limited_token),
            plan=self._plan,
            url=self.url,
            cdn_url=self.cdn_url,
            secret=hashlib.sha256(f"cdn {options.seed}".encode()).digest(),
            cdn=options.cdn,
            resolve_cache=options.resolve_cache,
            page_limit=options.page_limit,
            cdn_ttl=options.cdn_ttl,
            git=options.git,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        for runner in self._runners:
            await runner.cleanup()
        self._log.close()

    async def _listen(self, listener: str, name: str, port: int) -> str:
        async def handle(request: web.BaseRequest) -> web.StreamResponse:
            return await self._handle(listener, request)

        server = web.Server(
            handle,
            handler_cancellation=True,
            keepalive_timeout=_KEEP_ALIVE,
            max_line_size=_LONGEST_LINE,
            max_field_size=_LONGEST_LINE,
            access_log=None,
        )
        runner = web.ServerRunner(server, shutdown_timeout=0.1)
        await runner.setup()
        address = self._options.host if name == "localhost" else name
        await web.TCPSite(runner, address, port, backlog=512).start()
        self._runners.append(runner)
        return f"http://{name}:{runner.addresses[0][1]}"

    async def _handle(self, listener: str, request: web.BaseRequest) -> web.StreamResponse:
        path, query = split_query(request.raw_path)
        route = parse(path) if listener == "hub" else parse_cdn(path)
        entry = LogEntry(
            index=0,
            listener=listener,
            method=request.method,
            path=unquote(path),
            query=request.raw_path.partition("?")[2],
            what=route.what,
            range=request.headers.get("Range"),
            repo=route.repo_id,
            has_auth="Authorization" in request.headers,
            user_agent=request.headers.get("User-Agent", ""),
            client=request.remote or "",
        )
        if route.what == "control":
            reply = await self._control(f"{request.method} {route.tail[0]}", request)
            return await send(request, reply, {}, entry)
        self._log.begin(entry)
        try:
            form = await _form(request) if request.method == "POST" else {}
            body = await request.read() if route.what == "git" else b""
            asked = Asked(listener, route, path, query, request.headers, form, body)
            with self._counted(path if route.what in {"resolve", "cdn"} else None):
                return await self._answer(asked, request, entry)
        finally:
            self._log.finish(entry)

    @contextlib.contextmanager
    def _counted(self, path: str | None) -> Iterator[None]:
        """A request for a file is under way until its last byte was sent."""
        under_way = self._answers.under_way
        names = () if path is None else ("", path)
        under_way.update(names)
        try:
            yield
        finally:
            under_way.subtract(names)

    async def _answer(
        self, asked: Asked, request: web.BaseRequest, entry: LogEntry
    ) -> web.StreamResponse:
        reply, rule = self._answers.answer(asked, entry)
        if rule.get("action") == "delay":
            await asyncio.sleep(rule.get("seconds", 1))
        elif rule.get("action") == "hold":
            await self._answers.plan.replaced.wait()
        return await send(request, reply, rule, entry)

    async def _control(self, order: str, request: web.BaseRequest) -> Reply:
        """What tests ask of the simulator itself; never logged, never faulty."""
        match order:
            case "GET faults":
                plan = self._answers.plan
                return json_reply([[rule.given, rule.fired.total()] for rule in plan.rules])
            case "POST faults":
                return self._set_faults(await request.json())
            case "GET log":
                return json_reply([asdict(entry) for entry in self._log.entries])
            case "DELETE log":
                self._log.clear()
                return json_reply("OK")
            case "POST clock":
                self._answers.ahead += float((await request.json())["advance"])
                return json_reply(self._answers.ahead)
        return error_reply(404, f"No such control: {order}")

    def _set_faults(self, rules: list[RuleJson]) -> Reply:
        try:
            plan = FaultPlan(rules, self._options.seed)
        except (ValueError, AttributeError) as error:
            return error_reply(400, str(error))
        self._answers.plan.replaced.set()
        self._answers.plan = plan
        return json_reply("OK")


async def _form(request: web.BaseRequest) -> dict[str, list[str]]:
    """A POST's fields, from a form or from JSON."""
    body = await request.read()
    if request.content_type == "application/json":
        given = json.loads(body or b"{}")
        return {
            key: [str(one) for one in (value if isinstance(value, list) else [value])]
            for key, value in given.items()
        }
    fields = await request.post()
    return {key: [str(value) for value in fields.getall(key)] for key in fields}
