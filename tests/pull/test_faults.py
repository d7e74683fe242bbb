"""One source that misbehaves: what may pass passes, what is wrong is refused and never kept."""

from typing import Any

import pytest

from outlast.core.errors import (
    AccessDeniedError,
    IntegrityError,
    MalformedError,
    NotArchivedError,
    OutlastError,
    TransientError,
    UnreachableError,
)
from outlast.core.events import SourceWaiting
from outlast.sources.statuses import retry_after
from tests.campaign import crossed
from tests.hubsim import HubSim
from tests.pull.kit import (
    BIG,
    FILES,
    TOTAL,
    Puller,
    check_archive,
    check_pulled,
    contents,
    file_requests,
    has_blob,
    sent,
)

SMALL = "small.bin"
GIT = "config.json"
PASSING: dict[str, dict[str, Any]] = {
    "503": {"action": "status", "status": 503, "count": 3},
    "500": {"action": "status", "status": 500, "count": 2},
    "429": {"action": "status", "status": 429, "count": 2},
    "truncated": {"action": "truncate", "count": 3},
    "truncated at once": {"action": "truncate", "at": 0, "count": 2},
    "reset": {"action": "reset", "at": 300_000, "count": 3},
    "stalled": {"action": "stall", "at": 5, "count": 2},
    "late": {"action": "delay", "seconds": 0.2, "count": 3},
    "slow": {"action": "slow", "rate": 8 << 20},
    "wrong Content-Range": {"action": "content_range", "count": 2},
    "ignored range, once": {"action": "ignore_range", "count": 1},
    "ignored ranges": {"action": "ignore_range"},
    "encoded": {"action": "gzip", "count": 1},
    "redirect loop": {"action": "redirect_loop", "count": 1},
    "redirect to the CDN": {"action": "redirect_cdn"},
    "416 inside the file": {"action": "status", "status": 416, "count": 2},
    "unknown status": {"action": "status", "status": 418, "count": 1},
}


@pytest.mark.parametrize(("fault", "file"), crossed(PASSING, [BIG], [SMALL, GIT]))
def test_what_may_pass_passes(hub: HubSim, pull: Puller, fault: str, file: str) -> None:
    hub.set_faults([{**PASSING[fault], "what": "resolve", "file": file}])
    if PASSING[fault]["action"] == "stall":
        pull.read_timeout = 0.5
    pull.tries = 6
    pull("org/name", hub.url)
    check_pulled(pull.home)
    ((_, hits),) = hub.fault_hits()
    ranged = PASSING[fault]["action"] in {"content_range", "ignore_range"}
    assert (hits > 0) == (file == BIG or not ranged)


@pytest.mark.parametrize(
    "fault",
    [
        {"action": "status", "status": 503, "count": 2},
        {"action": "truncate", "count": 2},
        {"action": "reset", "count": 2},
        {"action": "stall", "count": 2},
        {"action": "malformed_json", "kind": "truncated", "count": 1},
        {"action": "malformed_json", "kind": "html", "count": 1},
        {"action": "redirect_loop", "count": 1},
    ],
    ids=lambda fault: str(fault.get("kind") or fault["action"]),
)
def test_metadata_is_asked_for_again(hub: HubSim, pull: Puller, fault: dict[str, Any]) -> None:
    hub.set_faults([{**fault, "what": "info"}])
    if fault["action"] == "stall":
        pull.read_timeout = 0.5
    pull("org/name", hub.url)
    check_pulled(pull.home)
    assert hub.fault_hits() == [(fault["action"], fault["count"])]


@pytest.mark.parametrize("form", ["seconds", "date"])
@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("what", ["info", "resolve"])
def test_patience_is_kept_as_long_as_asked(
    hub: HubSim, pull: Puller, form: str, status: int, what: str
) -> None:
    fault = {"action": "status", "status": status, "retry_after": 2, "retry_after_form": form}
    hub.set_faults([{**fault, "what": what, "nth": 1}])
    pull("org/name", hub.url, include=[GIT])
    waits = [event.seconds for event in pull.events if isinstance(event, SourceWaiting)]
    assert len(waits) == 1
    assert waits[0] >= (2 if form == "seconds" else 0.9)  # a date has whole seconds


def test_no_pull_waits_for_days(hub: HubSim, pull: Puller) -> None:
    hub.set_faults([{"action": "status", "status": 429, "retry_after": 90_000, "what": "resolve"}])
    with pytest.raises(UnreachableError, match="429") as caught:
        pull("org/name", hub.url, include=[GIT])
    assert caught.value.retry_after == 90_000
    assert len(file_requests(hub)) == 1


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"Retry-After": "7"}, 7),
        ({"Retry-After": " 7 "}, 7),
        ({"Retry-After": "-7"}, None),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "Mon, 01 Jan 2001 00:00:00 GMT"}, 0),
        ({"Retry-After": "9" * 400}, 999_999_999),
        ({"RateLimit": '"api";r=0;t=42'}, 42),
        ({"RateLimit": '"api";r=3;t=42'}, None),
        ({"RateLimit": '"api";r=0'}, None),
        ({"Retry-After": "3", "RateLimit": '"api";r=0;t=42'}, 3),
        ({"Retry-After": "soon", "RateLimit": '"api";r=0;t=42'}, 42),
    ],
)
def test_headers_that_ask_for_patience(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers) == seconds


FINAL: dict[str, tuple[dict[str, Any], type[OutlastError]]] = {
    "wrong byte": ({"action": "flip"}, IntegrityError),
    "wrong last byte": ({"action": "flip", "at": -1}, IntegrityError),
    "wrong byte, once": ({"action": "flip", "count": 9}, IntegrityError),
    "other bytes": ({"action": "changed"}, IntegrityError),
    "other bytes, other ETag": ({"action": "changed", "etag": "other"}, IntegrityError),
    "longer": ({"action": "changed", "size_delta": 3}, IntegrityError),
    "shorter": ({"action": "changed", "size_delta": -3}, IntegrityError),
    "longer than the API says": ({"action": "length", "delta": 10}, IntegrityError),
    "shorter than the API says": ({"action": "length", "delta": -10}, IntegrityError),
    "the API says more": ({"action": "size", "delta": 10}, IntegrityError),
    "the API says less": ({"action": "size", "delta": -10}, IntegrityError),
    "never whole": ({"action": "truncate", "at": 0}, UnreachableError),
    "always reset": ({"action": "reset", "at": 0}, UnreachableError),
    "never answers": ({"action": "stall", "at": 0}, UnreachableError),
    "always 503": ({"action": "status", "status": 503}, UnreachableError),
    "always a loop": ({"action": "redirect_loop"}, UnreachableError),
    "always encoded": ({"action": "gzip"}, MalformedError),
    "gone": ({"action": "status", "status": 404, "code": "EntryNotFound"}, NotArchivedError),
    "forbidden": ({"action": "status", "status": 403}, AccessDeniedError),
    "elsewhere": ({"action": "redirect", "to": "ftp://127.0.0.1/x"}, MalformedError),
    "nowhere": ({"action": "redirect", "to": "http://[/"}, MalformedError),
}


@pytest.mark.parametrize(("fault", "file"), crossed(FINAL, [BIG], [SMALL, GIT]))
def test_what_is_wrong_is_refused(hub: HubSim, pull: Puller, fault: str, file: str) -> None:
    rule, error = FINAL[fault]
    if (fault, file) == ("always encoded", BIG):
        return  # the simulator encodes whole files only
    given = {**rule, "file": file}
    if rule.get("at") == -1:
        given["at"] = len(FILES[file]) - 1
    if rule["action"] != "size":
        given["what"] = "resolve"
    hub.set_faults([given])
    patience = pull.read_timeout
    if rule["action"] == "stall":
        pull.read_timeout = 0.3
    with pytest.raises(error):
        pull("org/name", hub.url)
    pull.read_timeout = patience
    check_archive(pull.home)
    assert file not in pull.done
    assert not has_blob(pull.home, FILES[file])
    held = contents(pull.home, f"org/name@{hub.repo('org/name').head.sha}")
    assert [path for path, data in held.items() if data != FILES[path]] == []
    hub.set_faults([])
    hub.clear_log()
    pull("org/name", hub.url)
    check_pulled(pull.home)
    assert sent(hub) <= TOTAL


@pytest.mark.parametrize("etag", ["same", "other"])
def test_a_file_that_changes_between_two_ranges(hub: HubSim, pull: Puller, etag: str) -> None:
    fault = {"action": "changed", "etag": etag, "what": "resolve", "file": BIG}
    hub.set_faults([{**fault, "skip": 1}])
    with pytest.raises(IntegrityError):
        pull("org/name", hub.url)
    assert pull.banned == {hub.url}
    assert not has_blob(pull.home, FILES[BIG])
    check_archive(pull.home)


def test_a_source_that_always_garbles_ranges(hub: HubSim, pull: Puller) -> None:
    hub.set_faults([{"action": "content_range", "file": BIG}])
    with pytest.raises((TransientError, IntegrityError)):
        pull("org/name", hub.url)
    assert not has_blob(pull.home, FILES[BIG])
    check_archive(pull.home)


def test_a_source_without_ranges_serves_whole_files(hub: HubSim, pull: Puller) -> None:
    hub.set_faults([{"action": "ignore_range"}])
    pull.connections = 2
    pull("org/name", hub.url)
    check_pulled(pull.home)
    whole = [e for e in file_requests(hub) if e.file == BIG and e.sent == len(FILES[BIG])]
    assert 1 <= len(whole) <= 2  # the second, where two connections found out at the same time


def test_wrong_bytes_are_never_retried_against_the_same_source(hub: HubSim, pull: Puller) -> None:
    hub.set_faults([{"action": "flip", "file": SMALL}])
    pull.tries = 9
    with pytest.raises(IntegrityError):
        pull("org/name", hub.url)
    assert len([entry for entry in file_requests(hub) if entry.file == SMALL]) == 1


def test_all_faults_at_once(hub: HubSim, pull: Puller) -> None:
    every: list[Any] = [
        {**rule, "p": 0.2, "what": "resolve", "count": 2} for rule in PASSING.values()
    ]
    hub.set_faults(every)
    pull.read_timeout = 0.5
    pull.tries = 12
    pull("org/name", hub.url)
    check_pulled(pull.home)
