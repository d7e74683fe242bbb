"""What goes wrong with a target: which kind of fault an answer or an error is, and what follows."""

import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import msgspec

from outlast.core.errors import one_line
from outlast.features.gateway.seams import BrokenStream

_GONE_CODES: Final = frozenset(
    {"model_not_found", "model_decommissioned", "model_not_available", "model_deprecated"}
)
_GONE_WORDS: Final = (
    "not available",
    "does not exist",
    "not found",
    "decommissioned",
    "deprecated",
    "no longer",
    "do not have access",
)
_CALLERS: Final = frozenset({400, 413, 415, 422})
_MOST_MESSAGE: Final = 2000
_MOST_WAIT: Final = 3600.0


class FaultKind(StrEnum):
    """The kinds; the values are what headers, logs and metrics say."""

    UNREACHABLE = "unreachable"
    DNS = "dns"
    TLS = "tls"
    BANNED = "banned"
    BAD_KEY = "key-refused"
    GONE = "model-gone"
    LIMITED = "rate-limited"
    SPENT = "quota-spent"
    SERVER = "server-error"
    SLOW = "slow-first-token"
    STALLED = "stalled"
    CUT = "cut"
    MALFORMED = "malformed"
    ANOMALY = "anomaly"
    RULES = "refused-by-rules"
    ENGINE = "engine"
    DIVERGENT = "divergent"
    REQUEST = "request"


@dataclass(frozen=True, slots=True)
class Reaction:
    """What follows of a fault: after how many in a row a target is left alone, and for how many
    seconds before it is tried (doubling up to `most`). Guesses: what a restart takes, and a day's
    ban deserves no question a second.
    """

    after: int = 1
    pause: float = 1.0
    most: float = 30.0


_LONG: Final = Reaction(1, 60.0, 600.0)
_SOME: Final = Reaction(after=3)
REACTIONS: Final[Mapping[FaultKind, Reaction]] = {
    FaultKind.BANNED: _LONG,
    FaultKind.BAD_KEY: _LONG,
    FaultKind.GONE: _LONG,
    FaultKind.SPENT: _LONG,
    FaultKind.RULES: _LONG,
    FaultKind.LIMITED: Reaction(1, 5.0, 120.0),
    FaultKind.ENGINE: Reaction(1, 5.0, 60.0),
    FaultKind.SERVER: _SOME,
    FaultKind.CUT: _SOME,
    FaultKind.MALFORMED: _SOME,
    FaultKind.ANOMALY: _SOME,
}
"""Of the others: :class:`Reaction` as it is."""


class Fault(Exception):  # noqa: N818 - what it is
    """Why a target did not answer. `status` is the upstream's, or 0; `retry_after` in seconds. A
    fault of kind REQUEST is the caller's own, and `error` the document that says so.
    """

    def __init__(
        self,
        kind: FaultKind,
        detail: str,
        *,
        status: int = 0,
        retry_after: float | None = None,
        error: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(one_line(detail))
        self.kind, self.status, self.retry_after = kind, status, retry_after
        self.error = error or {}

    @property
    def is_callers(self) -> bool:
        """Whether another target would say the same."""
        return self.kind is FaultKind.REQUEST


def fault_of_error(error: BaseException, where: str) -> Fault:
    """What an error of the network is."""
    if isinstance(error, socket.gaierror):
        return Fault(FaultKind.DNS, f"the name of {where} is not known")
    if isinstance(error, ssl.SSLError):
        return Fault(FaultKind.TLS, f"no secure connection to {where}: {error.reason or 'TLS'}")
    if isinstance(error, TimeoutError):
        return Fault(FaultKind.UNREACHABLE, f"no connection to {where} in time")
    why = getattr(error, "strerror", None) or type(error).__name__
    return Fault(FaultKind.UNREACHABLE, f"no connection to {where}: {why}")


def fault_of_answer(
    status: int, headers: Mapping[str, str], body: bytes, *, worked: bool, key: str | None
) -> Fault:
    """What an answer with another status than 200 is. `worked`: the endpoint has taken this key
    before, so that its refusal now is a ban. No text of a refused key reaches a caller.
    """
    error = _error_of(body)
    if status in {400, 403, 404, 410, 451} and _says_gone(error):
        return Fault(FaultKind.GONE, "the provider no longer has this model", status=status)
    if status in {404, 410}:
        return Fault(FaultKind.GONE, "the provider does not know this model", status=status)
    if status == 451:
        return Fault(FaultKind.BANNED, "not available here for legal reasons", status=status)
    if status in {401, 403}:
        return _refused(status, worked=worked, key=key)
    if status == 402:
        return Fault(FaultKind.SPENT, "the provider asks for payment", status=status)
    if status == 429:
        wait = _wait(headers.get("retry-after", ""))
        spent = error.get("code") == "insufficient_quota"
        kind = FaultKind.SPENT if spent else FaultKind.LIMITED
        return Fault(kind, "the provider limits requests", status=status, retry_after=wait)
    if status in _CALLERS:
        if key:
            error = {k: v.replace(key, "…") if isinstance(v, str) else v for k, v in error.items()}
        message = str(error.get("message") or "the target refuses the request")
        return Fault(FaultKind.REQUEST, message, status=status, error=error)
    if 300 <= status < 400:
        return Fault(FaultKind.MALFORMED, "redirects are not followed", status=status)
    wait = _wait(headers.get("retry-after", ""))
    text = f"the target answers with status {status}"
    return Fault(FaultKind.SERVER, text, status=status, retry_after=wait)


def _refused(status: int, *, worked: bool, key: str | None) -> Fault:
    if worked:
        text = "the provider refuses a key that it took before"
        return Fault(FaultKind.BANNED, text, status=status)
    why = "no key is set for it" if key is None else "its key never worked: check it"
    return Fault(FaultKind.BAD_KEY, f"the provider refuses access, and {why}", status=status)


def _says_gone(error: Mapping[str, Any]) -> bool:
    if error.get("code") in _GONE_CODES:
        return True
    message = str(error.get("message") or "").lower()
    return "model" in message and any(word in message for word in _GONE_WORDS)


def _error_of(body: bytes) -> dict[str, Any]:
    """The error that a body states in OpenAI's way or a similar one; empty for a page."""
    try:
        said = msgspec.json.decode(body)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return {}
    error = said.get("error", said) if isinstance(said, dict) else said
    if isinstance(error, str):
        error = {"message": error}
    if not isinstance(error, dict):
        return {}
    found = {key: error.get(key) for key in ("message", "type", "param", "code")}
    return {
        key: value[:_MOST_MESSAGE] if isinstance(value, str) else value
        for key, value in found.items()
        if isinstance(value, str | int)
    }


def error_in_stream(chunk: Mapping[str, Any]) -> Fault | None:
    """The fault that a stream's event states; None where it is no error."""
    error = chunk.get("error")
    if error is None:
        return None
    said = error if isinstance(error, dict) else {}
    code = said.get("code", said.get("type"))
    if code in {429, "429", "rate_limit_exceeded", "rate_limit_error"}:
        return Fault(FaultKind.LIMITED, "the provider limits requests, in the stream", status=429)
    return Fault(FaultKind.SERVER, "the target reports an error in its stream", status=500)


_BROKEN: Final[Mapping[str, FaultKind]] = {
    "cut": FaultKind.CUT,
    "finish": FaultKind.ANOMALY,
    "filtered": FaultKind.ANOMALY,
    "model": FaultKind.ANOMALY,
    "error": FaultKind.SERVER,
}


def fault_of_stream(broken: BrokenStream) -> Fault:
    """What a stream is that is not sound."""
    if broken.status == 429:
        return Fault(FaultKind.LIMITED, "the provider limits requests, in the stream", status=429)
    kind = _BROKEN.get(broken.kind, FaultKind.MALFORMED)
    return Fault(kind, str(broken), status=broken.status or 0)


def _wait(text: str) -> float | None:
    """Seconds of a Retry-After; None where it is no number (a date is not worth the clocks)."""
    try:
        seconds = float(text)
    except ValueError:
        return None
    return min(seconds, _MOST_WAIT) if seconds >= 0 else None
