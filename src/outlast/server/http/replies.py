"""Errors as a hub states them, mapped once: status, ``X-Error-Code`` and ``X-Error-Message``."""

import json
import math
from typing import Any

from aiohttp import web

from outlast.core.errors import (
    AccessDeniedError,
    BadNameError,
    DiskFullError,
    EntryNotFoundError,
    ExhaustedError,
    IntegrityError,
    NotArchivedError,
    NotFoundError,
    OutlastError,
    PolicyError,
    RevisionNotFoundError,
    TransientError,
    UsageError,
    WithdrawnError,
)

STALE_HEADER = "X-Outlast-Stale-Since"
PARTIAL_HEADER = "X-Outlast-Partial"
_RETRY_AFTER = 5

# The most specific class first.
_STATUS: tuple[tuple[type[OutlastError], int, str], ...] = (
    (EntryNotFoundError, 404, "EntryNotFound"),
    (NotArchivedError, 404, "EntryNotFound"),
    (RevisionNotFoundError, 404, "RevisionNotFound"),
    (WithdrawnError, 451, ""),
    (NotFoundError, 404, "RepoNotFound"),
    (BadNameError, 404, "RevisionNotFound"),
    (UsageError, 400, ""),
    (AccessDeniedError, 403, "GatedRepo"),
    (PolicyError, 403, ""),
    (DiskFullError, 507, ""),
    (TransientError, 503, ""),
    (IntegrityError, 502, ""),
)


def json_reply(document: Any, headers: dict[str, str] | None = None) -> web.Response:
    """A JSON body."""
    body = json.dumps(document, separators=(",", ":")).encode()
    return web.Response(body=body, content_type="application/json", headers=headers)


def error_reply(
    error: OutlastError, headers: dict[str, str] | None = None, *, status: int | None = None
) -> web.Response:
    """The answer to a request that failed with `error`; `status` is another than the usual one."""
    usual, code = 500, ""
    for family, family_status, family_code in _STATUS:
        if isinstance(error, family):
            usual, code = family_status, family_code
            break
    if isinstance(error, ExhaustedError) and error.retry_after is not None:
        headers = {**(headers or {}), "Retry-After": str(math.ceil(error.retry_after))}
    return failure(status or usual, code, str(error), headers)


def failure(
    status: int, code: str, message: str, headers: dict[str, str] | None = None
) -> web.Response:
    """An error reply; `code` is the hub's name of the case, if it has one."""
    message = message.encode("ascii", "replace").decode()
    sent = {"X-Error-Message": message, **(headers or {})}
    if code:
        sent["X-Error-Code"] = code
    if status == 503:
        sent.setdefault("Retry-After", str(_RETRY_AFTER))
    body = json.dumps({"error": message}).encode()
    return web.Response(status=status, body=body, content_type="application/json", headers=sent)


def closing(response: web.Response) -> web.Response:
    """The same, after which the connection ends."""
    response.force_close()
    return response
