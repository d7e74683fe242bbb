"""What an HTTP status of a source means: which error, whether to ask again, and what to do next.

One table for hubs, their CDNs, proxies on the way, and peers. Pure: a status and headers in, an
error out. The exit status follows from the error's family.

Sources: RFC 9110 (statuses), RFC 6585 (428, 429, 431, 511), RFC 7725 (451), RFC 4918 (423, 507),
and what `huggingface_hub` reads from ``X-Error-Code`` and ``X-Error-Message``.
"""

import contextlib
import email.utils
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from outlast.core.errors import (
    AccessDeniedError,
    EntryNotFoundError,
    MalformedError,
    OutlastError,
    RateLimitedError,
    RepoNotFoundError,
    RevisionNotFoundError,
    UnreachableError,
    WithdrawnError,
)

EXPIRED: Final = frozenset({400, 401, 403, 404, 410})
"""What a CDN answers if the signed URL that a hub redirected to holds no more."""
PASSED_ON: Final = frozenset({408, 410, 416, 421, 425, 429, 431, 451})
"""Statuses below 500 that a peer may answer with; any other is no node's."""
_LEGAL: Final = 451
_LONGEST: Final = 200
_NO_LOGIN: Final = "Invalid username or password."
"""What Hugging Face says of a model that it does not have, to a client that gave neither."""
"""Characters of a server's own message that are repeated."""
_RATE = re.compile(r"rate.?limit|too many|slow down|throttl|concurren|connections", re.IGNORECASE)
_DISABLED = re.compile(r"\bdisabled\b|\btaken down\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer that is no success. `source` is the name of the source, `host` who answered.
    `repo`, `ref` and `path` are what was asked for, as far as it matters. `token`: a token was
    sent. `elsewhere`: the source redirected to a host that is not its own, which answered.
    """

    status: int
    headers: Mapping[str, str]
    source: str
    host: str
    repo: str = ""
    ref: str = ""
    path: str = ""
    token: bool = False
    elsewhere: bool = False

    @property
    def code(self) -> str:
        """The hub's name of the case."""
        return self.headers.get("X-Error-Code", "")

    @property
    def said(self) -> str:
        """The server's own words, if they say more than the status."""
        said = self.headers.get("X-Error-Message", "")[:_LONGEST]
        return "" if said == _NO_LOGIN and not self.token else said

    @property
    def what(self) -> str:
        """What was asked for."""
        if self.path:
            return repr(self.path)
        return f"{self.repo}@{self.ref[:12]}" if self.repo else "it"


@dataclass(frozen=True, slots=True)
class Failure:
    """A status that says nothing of what was asked for. `text` follows the host's name. `again`:
    the same request may succeed later. `limit`: it may succeed if fewer are sent at once.
    """

    text: str
    hint: str = ""
    again: bool = True
    limit: bool = False
    error: type[UnreachableError] = UnreachableError


OTHER: Final = "name another source with --from"
FAILURES: Final[Mapping[int, Failure]] = {
    400: Failure("finds the request malformed", f"check the URL of the source, or {OTHER}"),
    407: Failure(
        "is reached through a proxy that wants a password",
        "write it into the proxy's URL: HTTPS_PROXY=http://USER:PASSWORD@HOST:PORT",
        again=False,
    ),
    408: Failure("waited too long for the request"),
    413: Failure("finds the request too large", OTHER, again=False),
    414: Failure("finds the URL too long", OTHER, again=False),
    416: Failure("refuses a part that lies within the file", OTHER),
    421: Failure(
        "does not answer to this host name",
        "use a name that the server knows; an outlast server takes more with --host NAME",
        again=False,
    ),
    423: Failure("has locked it"),
    425: Failure("wants the request once more"),
    428: Failure("wants a conditional request", OTHER, again=False),
    429: Failure("is rate-limiting", limit=True, error=RateLimitedError),
    431: Failure(
        "finds the headers of the request too large",
        "check HF_TOKEN: it may hold more than a token",
        again=False,
    ),
    501: Failure("cannot do what was asked", OTHER, again=False),
    503: Failure("failed", limit=True),
    505: Failure("does not speak this version of HTTP", OTHER, again=False),
    507: Failure("has no space left", OTHER, again=False),
    508: Failure("asks itself in a loop", OTHER, again=False),
    509: Failure("has used up its bandwidth", limit=True),
    511: Failure(
        "cannot be reached before you log in to this network",
        "open any page in a browser, log in to the network, and run the same command again",
        again=False,
    ),
    529: Failure("is overloaded", limit=True),
}
"""Statuses with a meaning of their own. Others of 5xx may pass; others of 4xx may too, because
their meaning is not known. What concerns the thing that was asked for is in `meaning`.
"""


_PAGE = Failure(
    "answers with a web page in place of what was asked: this network may want a login",
    f"{FAILURES[511].hint}; if no login is wanted, check the URL of the source, or {OTHER}",
)


def page_in_place(answer: Answer) -> OutlastError:
    """The error that a page in place of a document or file stands for: what comes of a network
    whose users have to log in first (a captive portal), and of a URL that is no hub's. It is not
    malformed, and may go.
    """
    by_way = f"{answer.source} redirects: " if answer.elsewhere else ""
    return UnreachableError(f"{by_way}{answer.host} {_PAGE.text}", hint=_PAGE.hint)


def meaning(answer: Answer) -> OutlastError:
    """The error that an answer stands for, whatever its status but 200 and 206."""
    status = answer.status
    if status == _LEGAL:
        return _withdrawn(answer)
    if answer.elsewhere and answer.path and status in EXPIRED:
        return UnreachableError(
            f"{answer.source} redirects to where {answer.what} is not served "
            f"({answer.host}: HTTP {status})"
        )
    if status == 410 or (status == 403 and not answer.code and _DISABLED.search(answer.said)):
        return _withdrawn(answer)
    named = _named(answer)
    if named is not None:
        return named
    if status < 400:
        return _no_error_at_all(answer)
    return _failed(answer, FAILURES.get(status) or _unknown(status))


def _named(answer: Answer) -> OutlastError | None:
    """What concerns the thing that was asked for: it is not there, or not for everybody."""
    if not 400 <= answer.status < 500 or answer.status == 429:
        return None
    found = _by_code(answer)
    if found is not None:
        return found
    match answer.status:
        case 401:
            return _unauthorized(answer)
        case 402:
            return AccessDeniedError(
                f"{answer.source} wants to be paid (HTTP 402): {answer.said}",
                hint=f"the plan or the quota of this account does not cover it; {OTHER}",
            )
        case 403:
            return _forbidden(answer)
        case 404:
            said = answer.said or "HTTP 404"
            if answer.path:
                return EntryNotFoundError(f"{answer.source} has no {answer.path!r}: {said}")
            return RepoNotFoundError(f"{answer.source} does not know {_model(answer)}: {said}")
    return None


def _by_code(answer: Answer) -> OutlastError | None:
    """The hub's own name of the case decides, whatever the status."""
    source, code = answer.source, answer.code
    if code == "GatedRepo":
        return AccessDeniedError(f"{source} refuses access: {answer.said or answer.status}")
    if code in {"EntryNotFound", "RemoteEntryNotFound"}:
        return EntryNotFoundError(
            f"{source} has no {answer.path!r} in {answer.repo}@{answer.ref[:12]}"
        )
    if code == "RevisionNotFound":
        return RevisionNotFoundError(f"{source} has no such revision: {answer.said or answer.ref}")
    if code == "RepoNotFound":
        if answer.status == 401 and not answer.token:
            return _unauthorized(answer)
        return RepoNotFoundError(f"{source} does not know {_model(answer)}: {answer.said or code}")
    return None


def _unauthorized(answer: Answer) -> OutlastError:
    if answer.token:
        return AccessDeniedError(
            f"{answer.source} refuses the token: {answer.said or answer.status}",
            hint="check HF_TOKEN: it may be revoked, expired, or of another hub",
        )
    said = f": {answer.said}" if answer.said else ""
    return RepoNotFoundError(
        f"{answer.source} does not know {_model(answer)}, or it is private{said}"
    )


def _model(answer: Answer) -> str:
    return answer.repo or "it"


def _forbidden(answer: Answer) -> OutlastError:
    """403 without a reason that a program can read. It may mean one request too many."""
    wait = retry_after(answer.headers)
    spent = answer.headers.get("X-RateLimit-Remaining", "").strip() == "0"
    if wait is not None or spent or _RATE.search(answer.said):
        return _failed(answer, FAILURES[429])
    hint = ""
    if answer.token:
        hint = (
            "the token may lack the right to read this model: give it that right on the hub's "
            "page of tokens, or accept the model's terms there"
        )
    return AccessDeniedError(
        f"{answer.source} refuses access: {answer.said or answer.status}",
        hint=hint,
        may_be_limit=True,
    )


def _withdrawn(answer: Answer) -> WithdrawnError:
    said = f": {answer.said}" if answer.said else ""
    legal = " for legal reasons" if answer.status == _LEGAL else ""
    return WithdrawnError(
        f"{answer.what} is withdrawn{legal} at {answer.source} (HTTP {answer.status}){said}"
    )


def _no_error_at_all(answer: Answer) -> OutlastError:
    """A success without what was asked for, or a redirect to nowhere."""
    if answer.status == 202:
        return _failed(answer, Failure("is still preparing it"))
    if 300 <= answer.status < 400:
        return MalformedError(f"{answer.source} redirects without a target (HTTP {answer.status})")
    return MalformedError(f"{answer.source} answered HTTP {answer.status} without what was asked")


def _unknown(status: int) -> Failure:
    if status >= 500:
        return Failure("failed")
    return Failure("refuses the request", f"outlast does not know this status; {OTHER}")


def _failed(answer: Answer, failure: Failure) -> UnreachableError:
    seconds = retry_after(answer.headers)
    wait = f"; it asks to wait {seconds:.0f} s" if seconds else ""
    said = f": {answer.said}" if answer.said else ""
    return failure.error(
        f"{answer.host} {failure.text} (HTTP {answer.status}){said}{wait}",
        hint=failure.hint,
        retry_after=seconds,
        again=failure.again,
        may_be_limit=failure.limit,
    )


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that a server asks to wait: ``Retry-After`` (seconds or a date), else the time to
    reset of an exhausted ``RateLimit`` (draft-ietf-httpapi-ratelimit-headers).
    """
    value = headers.get("Retry-After", "").strip()
    if value.isdecimal():
        return float(value[:9])
    if value:
        with contextlib.suppress(ValueError, TypeError, OverflowError):
            moment = email.utils.parsedate_to_datetime(value)
            return max(0.0, moment.timestamp() - time.time())
    limit = headers.get("RateLimit", "")
    remaining, reset = re.search(r"\br=(\d{1,9})", limit), re.search(r"\bt=(\d{1,9})", limit)
    if remaining and reset and int(remaining[1]) == 0:
        return float(reset[1])
    return None
