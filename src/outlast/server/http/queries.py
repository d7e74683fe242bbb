"""What requests ask for beside their paths: queries, forms, pages of long lists."""

import asyncio
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs, urlencode

from aiohttp import web

from outlast.core.errors import MalformedError, UsageError
from outlast.core.manifest import load_json

_FIELDS = 100_000
_BODY_LIMIT = 4 * 1024 * 1024
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
    """The query's fields, and the origin that the client used, for links back to us."""
    return {**request.query, ORIGIN: str(request.url.origin())}


async def read_json(request: web.Request, limit: int, within: float) -> Any:
    """The JSON of a request's body, of up to `limit` bytes, which has to come `within` seconds."""
    try:
        async with asyncio.timeout(within):
            return load_json(await request.read(), limit)
    except TimeoutError as error:
        request.protocol.force_close()
        raise UsageError("the request's body did not come") from error
    except (web.RequestPayloadError, MalformedError) as error:
        raise UsageError(f"the request's body cannot be read: {error}") from error


async def read_form(request: web.Request, within: float) -> dict[str, list[str]]:
    """The fields of a form, or of the JSON object that some clients send instead; it has to come
    `within` seconds.
    """
    try:
        async with asyncio.timeout(within):
            if request.content_type != "application/json":
                return parse_qs((await request.read()).decode(), max_num_fields=_FIELDS)
            document = load_json(await request.read(), _BODY_LIMIT)
    except TimeoutError as error:
        request.protocol.force_close()
        raise UsageError("the request's body did not come") from error
    except (ValueError, LookupError, web.RequestPayloadError, MalformedError) as error:
        raise UsageError(f"the request's body cannot be read: {error}") from error
    if not isinstance(document, dict):
        raise UsageError("the request's body is not a JSON object")
    paths = document.get("paths", [])
    paths = [paths] if isinstance(paths, str) else paths
    if not isinstance(paths, list):
        raise UsageError("'paths' is not a list")
    return {"paths": list(map(str, paths)), "expand": [str(document.get("expand", False))]}
