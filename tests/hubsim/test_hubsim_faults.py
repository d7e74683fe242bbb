"""The stand-in hub misbehaves as told: every action, and when it is applied."""

import gzip
import hashlib
import http.client
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.hubsim import HubRepo, HubSim
from tests.hubsim.ask import ask
from tests.hubsim.faults import FaultPlan
from tests.hubsim.log import LogEntry

MODEL = bytes(range(256)) * 400
SHA256 = hashlib.sha256(MODEL).hexdigest()
FILE = "/org/name/resolve/main/sub/model.safetensors"
CONFIG = "/org/name/resolve/main/config.json"


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HubSim]:
    files = {"config.json": b'{"a": 1}', "sub/model.safetensors": MODEL, "sub/deep/x.txt": b"x\n"}
    HubRepo(tmp_path, "org/name").commit(files)
    with HubSim(tmp_path, mode="thread", seed=1) as sim:
        yield sim


@pytest.mark.parametrize("action", ["truncate", "reset"])
def test_bodies_that_end_early(hub: HubSim, action: str) -> None:
    hub.set_faults([{"action": action, "file": "*.safetensors", "at": 5000, "count": 1}])
    cut = ask(hub.url, FILE)
    assert (cut.status, cut.broken, cut.body) == (200, True, MODEL[:5000])
    assert cut.headers["Content-Length"] == str(len(MODEL))
    assert ask(hub.url, FILE).body == MODEL
    assert [(one.fault, one.sent) for one in hub.requests()] == [
        (action, 5000),
        (None, len(MODEL)),
    ]
    assert hub.fault_hits() == [(action, 1)]


def test_a_stall_sends_no_more_and_keeps_the_socket(hub: HubSim) -> None:
    hub.set_faults([{"action": "stall", "at": 100}])
    at = urlsplit(hub.url)
    connection = http.client.HTTPConnection(at.hostname or "", at.port, timeout=0.05)
    connection.request("GET", FILE)
    response = connection.getresponse()
    assert response.read(100) == MODEL[:100]
    with pytest.raises(TimeoutError):
        response.read(1)
    connection.close()
    response.close()


def test_a_flipped_byte_has_the_right_etag(hub: HubSim) -> None:
    hub.set_faults([{"action": "flip", "at": 300, "mask": 255}])
    wrong = ask(hub.url, FILE)
    changed = [
        i for i, (ours, theirs) in enumerate(zip(MODEL, wrong.body, strict=True)) if ours != theirs
    ]
    assert changed == [300]
    assert wrong.headers["ETag"] == f'"{SHA256}"'
    assert ask(hub.url, FILE, Range="bytes=300-300").body == bytes([MODEL[300] ^ 255])
    assert ask(hub.url, FILE, Range="bytes=301-").body == MODEL[301:]


@pytest.mark.parametrize("etag", ["same", "other"])
def test_a_file_that_changes_between_two_ranges(hub: HubSim, etag: str) -> None:
    hub.set_faults(
        [{"action": "changed", "etag": etag, "ranged": True, "skip": 1, "size_delta": 5}]
    )
    before = ask(hub.url, FILE, Range="bytes=0-9")
    after = ask(hub.url, FILE, Range="bytes=10-19")
    assert before.body == MODEL[:10]
    assert after.body == bytes(value ^ 0x55 for value in MODEL[10:20])
    assert (before.headers["ETag"] == after.headers["ETag"]) == (etag == "same")
    assert after.headers["Content-Range"].endswith(f"/{len(MODEL) + 5}")


def test_lies_about_ranges(hub: HubSim) -> None:
    hub.set_faults([{"action": "content_range", "shift": 7, "nth": 1}, {"action": "ignore_range"}])
    shifted = ask(hub.url, FILE, Range="bytes=0-9")
    assert shifted.headers["Content-Range"] == f"bytes 7-16/{len(MODEL)}"
    whole = ask(hub.url, FILE, Range="bytes=10-19")
    assert (whole.status, whole.body) == (200, MODEL)
    assert whole.headers["Content-Range"] is None


@pytest.mark.parametrize("delta", [-10, 10])
def test_lies_about_length(hub: HubSim, delta: int) -> None:
    hub.set_faults([{"action": "length", "delta": delta}])
    answer = ask(hub.url, FILE)
    assert answer.body == (MODEL + bytes(10))[: len(MODEL) + delta]
    assert not answer.broken
    assert ask(hub.url, FILE, "HEAD").headers["Content-Length"] == str(len(MODEL) + delta)
    assert answer.headers["X-Linked-Size"] == str(len(MODEL))


def test_lies_about_size_in_listings(hub: HubSim) -> None:
    hub.set_faults([{"action": "size", "file": "*.safetensors", "size": 2**63}])
    rows = ask(hub.url, "/api/models/org/name/tree/main/sub").json
    assert [row["size"] for row in rows] == [0, 2**63]
    assert rows[1]["lfs"]["size"] == 2**63
    info = ask(hub.url, "/api/models/org/name?blobs=true").json
    assert [one["size"] for one in info["siblings"]] == [8, 2, 2**63]


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_refusals(hub: HubSim, form: str) -> None:
    hub.set_faults(
        [
            {
                "action": "status",
                "status": 429,
                "retry_after": 7,
                "retry_after_form": form,
                "ratelimit": True,
                "count": 1,
            },
            {"action": "status", "code": "Odd", "message": "No.", "nth": [1]},
        ]
    )
    limited = ask(hub.url, FILE)
    assert limited.status == 429
    assert limited.headers["Retry-After"] == "7" or limited.headers["Retry-After"].endswith(" GMT")
    assert limited.headers["RateLimit"] == '"api";r=0;t=7'
    down = ask(hub.url, "/api/models/org/name")
    assert (down.status, down.headers["Retry-After"]) == (503, None)
    assert (down.headers["X-Error-Code"], down.json) == ("Odd", {"error": "No."})
    assert ask(hub.url, FILE).status == 200


def test_redirects(hub: HubSim) -> None:
    hub.set_faults(
        [
            {"action": "redirect_cdn", "what": "resolve", "expires_in": -5, "nth": 1},
            {"action": "redirect_cdn", "what": "resolve", "nth": 1},
            {"action": "redirect_loop", "nth": 1},
            {"action": "redirect", "to": "http://[::1]:9/", "status": 308, "what": "resolve"},
        ]
    )
    expired, alive, loop, away = (ask(hub.url, FILE) for _ in range(4))
    assert ask(expired.headers["Location"]).status == 403
    assert ask(alive.headers["Location"]).body == MODEL
    assert (loop.status, loop.headers["Location"]) == (302, FILE)
    assert (away.status, away.headers["Location"]) == (308, "http://[::1]:9/")


def test_headers_and_gzip(hub: HubSim) -> None:
    hub.set_faults([{"action": "headers", "set": {"ETag": "bad"}, "drop": ["x-repo-commit"]}])
    answer = ask(hub.url, CONFIG)
    assert (answer.headers["ETag"], answer.headers["X-Repo-Commit"]) == ("bad", None)
    hub.set_faults([{"action": "gzip"}])
    packed = ask(hub.url, CONFIG)
    assert packed.headers["ETag"].startswith('W/"')
    assert packed.headers["Content-Length"] is None
    assert gzip.decompress(packed.body) == b'{"a": 1}'


def test_listings_that_mean_harm(hub: HubSim) -> None:
    entry = {"type": "file", "path": "../x", "oid": "0" * 40, "size": -1}
    hub.set_faults([{"action": "inject", "entries": [entry]}])
    assert entry in ask(hub.url, "/api/models/org/name/tree/main").json
    hub.set_faults([{"action": "malformed_json", "kind": "html", "what": "tree"}])
    assert ask(hub.url, "/api/models/org/name/tree/main").body.startswith(b"<!DOCTYPE")
    assert ask(hub.url, "/api/models/org/name").status == 200
    hub.set_faults([{"action": "huge_json", "bytes": 3_000_000, "nth": 1}])
    hub.add_fault(action="huge_json", depth=1000)
    assert len(ask(hub.url, "/api/models/org/name").json[0]["path"]) > 2_999_000
    assert ask(hub.url, "/api/models/org/name").body == b"[" * 1000 + b"]" * 1000
    hub.set_faults([{"action": "link"}])
    looping = ask(hub.url, "/api/models/org/name/tree/main?limit=1")
    assert (
        looping.headers["Link"] == f'<{hub.url}/api/models/org/name/tree/main?limit=1>; rel="next"'
    )


def test_slow_and_delayed_answers_are_whole(hub: HubSim) -> None:
    hub.set_faults([{"action": "delay", "seconds": 0.01}])
    assert ask(hub.url, FILE).body == MODEL
    hub.set_faults([{"action": "slow", "rate": 10_000_000}])
    assert ask(hub.url, FILE).body == MODEL


def test_a_held_answer_comes_when_the_rules_are_replaced(hub: HubSim) -> None:
    hub.set_faults([{"action": "hold", "count": 1}])
    with ThreadPoolExecutor(1) as pool:
        held = pool.submit(ask, hub.url, FILE)
        while hub.fault_hits() != [("hold", 1)]:
            assert not held.done()
        assert ask(hub.url, FILE).body == MODEL  # others are not held
        assert not held.done()
        hub.set_faults([])
        assert held.result().body == MODEL


@pytest.mark.parametrize(
    "rule",
    [
        {"action": "none"},
        {},
        {"action": "reset", "when": 1},
        {"action": "reset", "at": "5"},
        {"action": "slow", "what": "cake"},
    ],
)
def test_wrong_rules_are_refused(hub: HubSim, rule: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"unknown|wrong type"):
        hub.set_faults([rule])


def _fired(plan: FaultPlan, paths: list[str]) -> list[bool]:
    entries = [LogEntry(0, "hub", "GET", path, "", "resolve") for path in paths]
    return [plan.pick(entry) is not None for entry in entries]


def test_chance_depends_on_the_seed_and_not_on_the_order() -> None:
    paths = [f"/{n}" for n in range(200)]
    rules = [{"action": "reset", "p": 0.25}]
    first = _fired(FaultPlan(rules, 1), paths)
    assert 20 < sum(first) < 80
    assert _fired(FaultPlan(rules, 1), paths[::-1]) == first[::-1]
    assert _fired(FaultPlan(rules, 2), paths) != first


def test_counting() -> None:
    paths = ["/a", "/b", "/a", "/b", "/a", "/b"]
    by_rule = FaultPlan([{"action": "reset", "skip": 1, "count": 2}])
    assert _fired(by_rule, paths) == [False, True, True, False, False, False]
    by_path = FaultPlan([{"action": "reset", "nth": [1, 3], "per": "path"}])
    assert _fired(by_path, paths) == [True, True, False, False, True, True]
    globbed = FaultPlan([{"action": "reset", "path": "/b", "method": "GET", "on": "hub"}])
    assert _fired(globbed, paths) == [False, True] * 3
