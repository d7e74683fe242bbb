"""The hub breaks off, stalls or answers nonsense while a file comes through; the server ends."""

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.hubsim import HubRepo, HubSim
from tests.serve.node import Node, archived, outlast, until
from tests.serve.upstream import MIB, Resuming, sha256, target, weights
from tests.serve.wire import Wire, once

REPO = "org/big"
FILE = "model.safetensors"
SIZE = 9 * MIB
LARGE = 40 * MIB
SPARED = 16 * MIB
"""What a crash may cost."""
QUICK = {
    "outlast.fetch.tuning.TUNING.first_wait": 0.02,
    "outlast.fetch.tuning.TUNING.hedge_after": 0.2,
}

# What passes: the file comes, whole and right, to the client that asked first.
PASSING: dict[str, dict[str, Any]] = {
    "truncated": {"action": "truncate", "count": 3},
    "reset": {"action": "reset", "count": 3},
    "reset at once": {"action": "reset", "at": 0, "count": 3},
    "429": {"action": "status", "status": 429, "retry_after": 0, "count": 3},
    "503": {"action": "status", "status": 503, "count": 3},
    "wrong Content-Range": {"action": "content_range", "count": 3},
    "ignored range": {"action": "ignore_range", "count": 3},
    "ranges are never heeded": {"action": "ignore_range"},
    "compressed": {"action": "gzip", "count": 3},
    "redirect loop": {"action": "redirect_loop", "count": 3},
    "CDN, once expired": {"action": "redirect_cdn", "expires_in": -5, "count": 1},
    "slow": {"action": "slow", "rate": 30 * MIB},
    "late": {"action": "delay", "seconds": 0.3},
    "no length": {"action": "headers", "drop": ["Content-Length"]},
    "a cache's ETag": {"action": "headers", "set": {"ETag": '"cache-1"'}},
    "weak ETag": {"action": "headers", "drop": ["X-Repo-Commit"]},
}
# What lasts: no client gets a whole file, and no client a wrong one.
LASTING: dict[str, dict[str, Any]] = {
    "truncated": {"action": "truncate", "at": 9},
    "reset": {"action": "reset", "at": 9},
    "429": {"action": "status", "status": 429, "retry_after": 0},
    "503": {"action": "status", "status": 503},
    "404": {"action": "status", "status": 404, "code": "EntryNotFound"},
    "403": {"action": "status", "status": 403},
    "416": {"action": "status", "status": 416},
    "wrong Content-Range": {"action": "content_range"},
    "redirect loop": {"action": "redirect_loop"},
    "CDN, always expired": {"action": "redirect_cdn", "expires_in": -5},
    "redirected to a file": {"action": "redirect", "to": "file:///etc/passwd"},
    "redirected to nowhere": {"action": "redirect", "to": "http://127.0.0.1:9/"},
    "shorter than listed": {"action": "length", "delta": -5},
    "longer than listed": {"action": "length", "delta": 5},
    "changed": {"action": "changed", "etag": "other"},
    "changed under its name": {"action": "changed"},
    "another commit": {"action": "headers", "set": {"X-Repo-Commit": "0" * 40}},
    "a smaller file is listed": {"action": "size", "delta": -5},
    "a larger file is listed": {"action": "size", "delta": 5},
}


class Case:
    def __init__(self, root: Path) -> None:
        self.digest = sha256(weights(root / "weights", SIZE))
        self.commit = HubRepo(root / "hub", REPO).commit({FILE: root / "weights"})
        self.target = target(FILE, REPO, self.commit.sha)
        self.hub = HubSim(root / "hub", mode="thread")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Case]:
    case = Case(tmp_path_factory.mktemp("faults"))
    with case.hub:
        yield case


@pytest.fixture
def case(shared: Case) -> Iterator[Case]:
    shared.hub.clear_log()
    yield shared
    shared.hub.set_faults([])


def fault(name: str, rules: dict[str, dict[str, Any]]) -> list[Any]:
    rule = rules[name]
    return [rule if rule["action"] == "size" else {"what": "resolve", **rule}]


class TestTheHubFails:
    @pytest.mark.parametrize("name", PASSING)
    def test_what_passes(self, case: Case, tmp_path: Path, name: str) -> None:
        case.hub.set_faults(fault(name, PASSING))
        with Node(tmp_path / "home", "--upstream", case.hub.url, tuned=QUICK) as node:
            reply = once(node.url, case.target)
            assert (reply.status, sha256(reply.body)) == (200, case.digest)
            assert archived(node, [case.digest])
        assert sum(hits for _, hits in case.hub.fault_hits()) > 0

    @pytest.mark.parametrize("name", LASTING)
    def test_what_lasts(self, case: Case, tmp_path: Path, name: str) -> None:
        case.hub.set_faults(fault(name, LASTING))
        with Node(tmp_path / "home", "--upstream", case.hub.url, tuned=QUICK) as node:
            client = Resuming(case.target, SIZE)
            with Wire(node.url) as wire:
                wire.ask(case.target)
                reply = wire.reply()
                assert not reply.complete
                assert reply.status in {200, 401, 403, 404, 502, 503}
                assert reply.status == 200 or reply.headers["x-error-message"]
            assert not archived(node, [case.digest])
            assert once(node.url, "/healthz").status == 200
            case.hub.set_faults([])
            if LASTING[name]["action"] != "size":  # a commit's listing is believed once
                client.insist(node.url)
                assert sha256(client.data) == case.digest

    def test_a_stall_is_nothing_where_another_hub_goes_on(self, case: Case, tmp_path: Path) -> None:
        case.hub.set_faults([{"action": "stall", "what": "resolve", "count": 2}])
        other = HubSim(case.hub.root, mode="thread")
        with other:
            flags = ("--upstream", case.hub.url, "--upstream", other.url)
            with Node(tmp_path / "home", *flags, tuned=QUICK) as node:
                reply = once(node.url, case.target)
                assert (reply.status, sha256(reply.body)) == (200, case.digest)

    def test_a_stall_stops_only_those_who_need_it(self, case: Case, tmp_path: Path) -> None:
        small = HubRepo(case.hub.root, "org/small").commit({"config.json": b"{}"})
        case.hub.set_faults([{"action": "stall", "what": "resolve", "repo": REPO}])
        with Node(tmp_path / "home", "--upstream", case.hub.url) as node, Wire(node.url) as wire:
            wire.ask(case.target)
            until(lambda: case.hub.requests(what="resolve"), "a request upstream")
            path = target("config.json", "org/small", small.sha)
            assert once(node.url, path).body == b"{}"
            assert node.metric("outlast_fetches") >= 1


class TestTheServerEnds:
    def test_a_killed_fetch_is_resumed(self, case: Case, tmp_path: Path) -> None:
        digest = sha256(weights(tmp_path / "weights", LARGE))
        commit = HubRepo(case.hub.root, "org/large").commit({FILE: tmp_path / "weights"})
        flags = ("--upstream", case.hub.url, "--limit-rate", "16M")
        with Node(tmp_path / "home", *flags) as node:
            client = Resuming(target(FILE, "org/large", commit.sha), LARGE)
            client.fetch(node.url, stop=LARGE - 8 * MIB)
            assert not archived(node, [digest])
            node.kill()
            node.start()
            client.insist(node.url)
            assert sha256(client.data) == digest
            until(lambda: archived(node, [digest]), "the blob")
            assert node.stop() == 0
        asked = sum(
            int(last) - int(first) + 1
            for first, _, last in (
                (one.range or "").removeprefix("bytes=").partition("-")
                for one in case.hub.requests(what="resolve")
            )
        )
        assert asked <= LARGE + SPARED
        outlast(tmp_path / "home", "verify", "--quiet")

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    def test_it_ends_in_the_middle_of_a_transfer(
        self, case: Case, tmp_path: Path, number: signal.Signals
    ) -> None:
        tuned = {"outlast.server.tuning.TUNING.shutdown": 0.5}
        flags = ("--upstream", case.hub.url, "--limit-rate", "8M")
        with Node(tmp_path / "home", *flags, tuned=tuned) as node:
            client = Resuming(case.target, SIZE)
            client.fetch(node.url, stop=3 * MIB)
            assert node.stop(number) == 0, node.lines()
            assert not [line for line in node.lines() if "Traceback" in line], node.lines()
            node.start()
            case.hub.set_faults([])
            client.insist(node.url)
            assert sha256(client.data) == case.digest

    def test_it_ends_while_native_code_works(self, tmp_path: Path) -> None:
        """A thread of a fetch may still hash when the process ends, which must not abort it."""
        hashing = (
            "import threading\n"
            "from outlast.codec import merkle\n"
            "def work():\n"
            "    while True: merkle.piece_hash(bytes(merkle.PIECE))\n"
            "for _ in range(4): threading.Thread(target=work, daemon=True).start()"
        )
        with Node(tmp_path / "home", sabotage=hashing) as node:
            assert node.stop() == 0, node.lines()

    @pytest.mark.parametrize(
        ("what", "rule"),
        [
            ("resolve", {"action": "stall"}),
            ("resolve", {"action": "delay", "seconds": 120}),
            ("info", {"action": "delay", "seconds": 120}),
            ("info", {"action": "stall", "at": 5}),
        ],
        ids=["stalled file", "late file", "late listing", "stalled listing"],
    )
    def test_it_does_not_wait_for_the_hub(
        self, case: Case, tmp_path: Path, what: str, rule: dict[str, Any]
    ) -> None:
        """Not for as long as it would wait for an answer while it serves: half a minute."""
        tuned = {"outlast.server.tuning.TUNING.shutdown": 0.5}
        case.hub.set_faults([{"what": what, **rule}])
        with Node(tmp_path / "home", "--upstream", case.hub.url, tuned=tuned) as node:
            with Wire(node.url) as wire:
                wire.ask(target(FILE, REPO))
                until(lambda: case.hub.requests(what=what), "a request upstream")
                assert node.stop(within=10.0) == 0
            assert not [line for line in node.lines() if "Traceback" in line], node.lines()
