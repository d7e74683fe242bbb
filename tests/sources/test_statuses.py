"""What every HTTP status means: which error, which exit status, whether it is asked again."""

from typing import Any

import pytest

from outlast.core.errors import (
    AccessDeniedError,
    EntryNotFoundError,
    MalformedError,
    OutlastError,
    RateLimitedError,
    RepoNotFoundError,
    RevisionNotFoundError,
    TransientError,
    UnreachableError,
    WithdrawnError,
)
from outlast.sources.statuses import FAILURES, Answer, meaning


def error_of(status: int, **more: Any) -> OutlastError:
    given: dict[str, Any] = {"headers": {}, "source": "http://hub", "host": "hub", "repo": "org/m"}
    return meaning(Answer(status, **given | more))


SAID = "X-Error-Message"
CODE = "X-Error-Code"
FILE = {"path": "w.bin", "ref": "main"}
KINDS: list[tuple[int, dict[str, Any], type[OutlastError], str]] = [
    (401, {}, RepoNotFoundError, "HF_TOKEN"),
    (401, {"token": True}, AccessDeniedError, "revoked"),
    (401, {"headers": {CODE: "GatedRepo"}}, AccessDeniedError, "terms"),
    (402, {}, AccessDeniedError, "quota"),
    (403, {"headers": {CODE: "GatedRepo"}}, AccessDeniedError, "terms"),
    (403, {"token": True}, AccessDeniedError, "right to read"),
    (403, {}, AccessDeniedError, "HF_TOKEN"),
    (403, {"headers": {SAID: "Access to this resource is disabled."}}, WithdrawnError, "--from"),
    (403, {"headers": {"Retry-After": "3"}}, RateLimitedError, "later"),
    (403, {"headers": {SAID: "API rate limit exceeded"}}, RateLimitedError, "later"),
    (403, {"headers": {"X-RateLimit-Remaining": "0"}}, RateLimitedError, "later"),
    (403, {**FILE, "elsewhere": True}, UnreachableError, "--from"),
    (404, {}, RepoNotFoundError, "spelling"),
    (404, FILE, EntryNotFoundError, "show"),
    (404, {"headers": {CODE: "EntryNotFound"}, **FILE}, EntryNotFoundError, "show"),
    (404, {"headers": {CODE: "RevisionNotFound"}}, RevisionNotFoundError, "refs"),
    (404, {**FILE, "elsewhere": True}, UnreachableError, "--from"),
    (410, {}, WithdrawnError, "bundle"),
    (410, FILE, WithdrawnError, "lan"),
    (410, {**FILE, "elsewhere": True}, UnreachableError, "--from"),
    (416, FILE, UnreachableError, "--from"),
    (429, {"headers": {CODE: "RepoNotFound"}}, RateLimitedError, "later"),
    (451, {}, WithdrawnError, "peer:HOST:PORT"),
    (451, {**FILE, "elsewhere": True}, WithdrawnError, "--from"),
    (503, {"headers": {CODE: "EntryNotFound"}, **FILE}, UnreachableError, "again"),
]


@pytest.mark.parametrize(("status", "more", "kind", "hint"), KINDS)
def test_the_kinds_of_a_status(
    status: int, more: dict[str, Any], kind: type[OutlastError], hint: str
) -> None:
    error = error_of(status, **more)
    assert type(error) is kind
    assert hint in error.hint


FINAL = {407, 413, 414, 421, 428, 431, 501, 505, 507, 508, 511}
"""The same request would fail again."""
LIMITS = {429, 503, 509, 529}
"""Fewer requests at once may be what is wanted."""


@pytest.mark.parametrize("path", ["", "w.bin"])
@pytest.mark.parametrize("status", [s for s in range(201, 600) if s != 206])
def test_every_status_has_a_meaning(status: int, path: str) -> None:
    """With its number in the message, a hint, and the exit status of a family."""
    error = error_of(status, path=path)
    assert str(status) in str(error) or isinstance(error, RepoNotFoundError)
    assert error.hint
    expected = {401: 3, 402: 7, 403: 7, 404: 3, 410: 3, 451: 3}.get(status)
    if expected is None and status < 400 and status != 202:
        expected = MalformedError.exit_code
    assert error.exit_code == (expected or TransientError.exit_code)
    if isinstance(error, TransientError):
        assert error.again == (status not in FINAL)
    assert error.may_be_limit == (status in LIMITS | {403})


@pytest.mark.parametrize("status", FAILURES)
def test_a_server_may_name_the_wait(status: int) -> None:
    error = error_of(status, headers={"Retry-After": "7"})
    assert isinstance(error, TransientError)
    assert error.retry_after == 7
    assert "7 s" in str(error)


def test_a_servers_own_words_are_bounded() -> None:
    assert len(str(error_of(451, headers={SAID: "x" * 10_000}))) < 400
