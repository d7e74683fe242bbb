"""Errors as a hub states them, mapped once: status, ``X-Error-Code`` and ``X-Error-Message``."""

import json
import math
import re
from typing import Any, Final

from aiohttp import web

from outlast.core.errors import (
    AccessDeniedError,
    BadNameError,
    DamagedError,
    DiskFullError,
    EntryNotFoundError,
    ExhaustedError,
    IntegrityError,
    NotArchivedError,
    NotFoundError,
    OutlastError,
    PolicyError,
    QuarantinedError,
    RevisionNotFoundError,
    TakenDownError,
    TransientError,
    UsageError,
    WithdrawnError,
)
from outlast.server.http.log import log_line

STALE_HEADER = "X-Outlast-Stale-Since"
PARTIAL_HEADER = "X-Outlast-Partial"
CLAIMS_HEADER = "X-Outlast-Claims"
WITHHELD_HEADER = "X-Outlast-Withheld"
LISTED_BY_HEADER = "X-Outlast-Listed-By"
_RETRY_AFTER = 5

_A_PATH: Final = "a path of the server"
_QUOTED: Final = re.compile(r"""(['"])(?:file:)?/(?:\\.|(?!\1)[^\\])+\1""")
# The name of a folder may hold anything: such a path ends where a reason follows, or never.
_BARE: Final = re.compile(r"(?:file:/+|(?<![\w/.:%~\]-])/+|(?<=:)/)[^\s/].*?(?=: |$)")

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
    (TakenDownError, 451, ""),
    # With this code huggingface_hub stops, and shows the message. Without one, it tells its user
    # after a HEAD to check the connection.
    (QuarantinedError, 403, "GatedRepo"),
    (PolicyError, 403, ""),
    (DiskFullError, 507, ""),
    (TransientError, 503, ""),
    (DamagedError, 503, "DamagedFile"),
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


def without_paths(message: str) -> str:
    """`message` as a client may have it: no absolute path says where the server keeps what. Rather
    too much is left out than too little; what follows the path (``: Input/output error``) stays.
    """
    return _BARE.sub(_A_PATH, _QUOTED.sub(rf"\1{_A_PATH}\1", message))


def told(status: int, message: str) -> str:
    """What a client gets of `message`. If a path is left out, the log has the whole."""
    text = without_paths(message)
    if text != message and status >= 500:  # else it is what the client itself wrote
        log_line({"level": "error", "what": "answer", "status": status, "error": message})
    return text


def failure(
    status: int, code: str, message: str, headers: dict[str, str] | None = None
) -> web.Response:
    """An error reply; `code` is the hub's name of the case, if it has one. A path of the server in
    `message` goes to its log alone.
    """
    message = told(status, message).encode("ascii", "replace").decode()
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
