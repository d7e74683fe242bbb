"""What requests ask for beside their paths: queries, forms, pages of long lists."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar
from urllib.parse import parse_qs, urlencode

import msgspec
from aiohttp import web

from outlast.core.closing import Closing
from outlast.core.errors import ExhaustedError, MalformedError, UsageError
from outlast.core.manifest import load_json
from outlast.server.http.connections import read_at_once
from outlast.server.http.memory import FairTurns, Lease, Memory, YieldingTurn, YieldingTurns
from outlast.server.tuning import ServerTuning

_FIELDS = 30_000
T = TypeVar("T")
ORIGIN = ""  # no field of a query has this name


def page(
    rows: list[Any], query: dict[str, str], most: int, headers: dict[str, str], path: str
) -> tuple[list[Any], dict[str, str]]:
    """The part of `rows` that ``limit`` and ``cursor`` ask for, and the Link to the next."""
    start, limit = number(query, "cursor", 0), max(1, min(number(query, "limit", most), most))
    following = start + limit
    if following < len(rows):
        link = urlencode({**query, "cursor": following})
        headers = {**headers, "Link": f'<{path}?{link}>; rel="next"'}
    return rows[start:following], headers


def number(query: dict[str, str], name: str, default: int) -> int:
    text = query.get(name, "")
    return int(text) if text.isdecimal() and len(text) < 10 else default


def flag(query: Mapping[str, str], name: str) -> bool:
    return query.get(name, "").lower() in {"true", "1"}


def read_query(request: web.Request) -> dict[str, str]:
    """The query's fields, and the origin that the client used, for links back to us. Raises
    :class:`UsageError` where that is none.
    """
    try:
        origin = str(request.url.origin())
    except ValueError as error:
        raise UsageError(f"the request's Host is not an address: {error}") from error
    return {**request.query, ORIGIN: origin}


def hold_body(request: web.Request, tuning: ServerTuning) -> None:
    """A long body waits at its sender until it is read or refused: those of many clients, taken
    in before their turns, would keep the event loop from all others.
    """
    if (request.content_length or 0) > tuning.written and request.transport is not None:
        request.transport.pause_reading()


def release_body(request: web.Request, tuning: ServerTuning) -> None:
    """It may come now."""
    if request.transport is not None:
        read_at_once(request.transport, tuning.body_read)
        request.transport.resume_reading()


async def read_body(
    request: web.Request,
    limit: int,
    lease: Lease,
    tuning: ServerTuning,
    turn: YieldingTurn | None = None,
) -> bytes:
    """The body of a request, of up to `limit` bytes; `turn`: which is left while it does not come.
    The lease grows with what came, so announcing a body takes nothing. Raises :class:`UsageError`
    where it does not come in time, :class:`ExhaustedError`, and what aiohttp answers to a body that
    is too large (413).
    """
    announced = request.content_length or 0
    if announced > limit:
        raise web.HTTPRequestEntityTooLarge(limit, announced)
    if request.content.is_eof():  # all of it came with the head: there is nothing to wait for
        data = await request.content.readany()
        if len(data) > limit:
            raise web.HTTPRequestEntityTooLarge(limit, len(data))
        lease.more(len(data))
        return data
    release_body(request, tuning)
    body = bytearray()
    try:
        async with asyncio.timeout(tuning.body_timeout):
            while True:
                async with asyncio.timeout(tuning.body_pause):
                    come = request.content.readany
                    data = await (come() if turn is None else turn.waiting(come))
                if turn is not None:
                    await turn.take()
                if not data:
                    return bytes(body)
                if len(body) + len(data) > limit:
                    raise web.HTTPRequestEntityTooLarge(limit, len(body) + len(data))
                lease.more(len(data))
                body += data
    except TimeoutError as error:
        request.protocol.force_close()
        raise UsageError("the request's body did not come") from error
    except web.RequestPayloadError as error:
        raise UsageError(f"the request's body cannot be read: {error}") from error


class Bodies(Closing):
    """Reads and parses the bodies of requests, within a budget of memory that long documents share.
    It belongs to one event loop.
    """

    def __init__(self, tuning: ServerTuning, large: int = 1) -> None:
        """So many `large` bodies of one asker are read at once."""
        self._tuning = tuning
        self._large = FairTurns(large)
        self._turns = FairTurns(1)
        self._yielding = YieldingTurns(tuning.large_at_work, tuning.soon)
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="parse")
        self._small = ThreadPoolExecutor(1, thread_name_prefix="parse-small")
        """No small body waits behind large ones of others."""
        self.memory = Memory(tuning)

    def close(self) -> None:
        for pool in (self._pool, self._small):
            pool.shutdown(wait=False, cancel_futures=True)

    async def read(self, request: web.Request, limit: int, parse: Callable[[bytes], T]) -> T:
        """What `parse` makes of the body of a request, of up to `limit` bytes, in a turn of it.
        Raises what `turn` and `read_in_turn` raise.
        """
        async with self.turn(request):
            return await self.read_in_turn(request, limit, parse)

    @contextlib.asynccontextmanager
    async def turn(self, request: web.Request) -> AsyncIterator[None]:
        """Lets a request with a long body wait until those before it, of the same asker, are done.
        Raises :class:`ExhaustedError` where that takes too long.
        """
        if not self._is_long(request):
            yield
            return
        waiting = asyncio.timeout(self._tuning.body_timeout)
        try:
            async with waiting, self._large.turn():
                waiting.reschedule(None)
                yield
        except TimeoutError as error:
            raise ExhaustedError("this client has too many large requests under way") from error

    async def read_in_turn(
        self, request: web.Request, limit: int, parse: Callable[[bytes], T]
    ) -> T:
        """As `read`, for who waits for the turn of the request. `parse` runs beside the event loop,
        for one body of an asker at a time. Raises what it and `read_body` raise.
        """
        if not self._is_long(request):
            with self.memory.lease() as lease:
                data = await read_body(request, limit, lease, self._tuning)
                return await self._parsed(self._small, parse, data)
        with self.memory.lease() as lease:
            async with self._yielding.turn() as turn:
                data = await read_body(request, limit, lease, self._tuning, turn)
                return await self._parsed(self._pool, parse, data)

    async def _parsed(
        self, pool: ThreadPoolExecutor, parse: Callable[[bytes], T], data: bytes
    ) -> T:
        async with self._turns.turn():
            return await asyncio.get_running_loop().run_in_executor(pool, parse, data)

    def _is_long(self, request: web.Request) -> bool:
        return not 0 <= (request.content_length or 0) <= self._tuning.written


def parse_json(body: bytes) -> Any:
    """The JSON of a body. Raises :class:`UsageError`."""
    try:
        return load_json(body, len(body))
    except MalformedError as error:
        raise UsageError(f"the request's body cannot be read: {error}") from error


def parse_form(body: bytes, kind: str) -> dict[str, list[str]]:
    """The fields of a form, or of the JSON object that some clients send instead, by the body's
    content type. Raises :class:`UsageError`.
    """
    separator = b"," if kind == "application/json" else b"&"
    if body.count(separator) > _FIELDS:  # counted before any of them takes memory
        raise UsageError(f"the request's body has more than {_FIELDS} fields")
    try:
        if kind != "application/json":
            return parse_qs(body.decode(), max_num_fields=_FIELDS)
        said = msgspec.json.decode(body, type=_PathsInfo)
    except (ValueError, msgspec.DecodeError, RecursionError) as error:
        raise UsageError(f"the request's body cannot be read: {error}") from error
    paths = [said.paths] if isinstance(said.paths, str) else said.paths
    return {"paths": paths, "expand": [str(said.expand)]}


class _PathsInfo(msgspec.Struct):
    """Decoded without a Python object for fields that are not used: ten times as fast as `json`."""

    paths: str | list[str] = []
    expand: bool | str = False
