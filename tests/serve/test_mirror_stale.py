"""The hub is down, slow, or takes back what it gave: the mirror serves what it has, at once."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.clients.contract import MODEL, WEIGHTS, Sample, build_sample
from tests.hubsim import HubSim
from tests.serve.node import Node, outlast, pull, until
from tests.serve.upstream import OLD, age_refs, beside_git, marks, target
from tests.serve.wire import once, several

CONFIG = target("config.json", MODEL)
API = f"/api/models/{MODEL}"
STALE = {"x-outlast-stale-since": OLD}

# Delays are longer than any test: what waits for such an answer fails.
TROUBLES: dict[str, dict[str, Any]] = {
    "429": {"action": "status", "status": 429},
    "429, come back in a minute": {"action": "status", "status": 429, "retry_after": 60},
    "429, come back in a second": {"action": "status", "status": 429, "retry_after": 1},
    "429 with a date": {
        "action": "status",
        "status": 429,
        "retry_after": 90,
        "retry_after_form": "date",
    },
    "429 with RateLimit": {"action": "status", "status": 429, "ratelimit": True, "retry_after": 60},
    "503": {"action": "status", "status": 503},
    "500": {"action": "status", "status": 500},
    "401": {"action": "status", "status": 401},
    "403": {"action": "status", "status": 403},
    "404": {"action": "status", "status": 404, "code": "RepoNotFound"},
    "slow to answer": {"action": "delay", "seconds": 120},
    "stalled": {"action": "stall", "at": 5},
    "cut": {"action": "truncate"},
    "reset": {"action": "reset"},
    "no JSON": {"action": "malformed_json", "kind": "garbage"},
    "a page of HTML": {"action": "malformed_json", "kind": "html"},
    "another JSON": {"action": "malformed_json", "kind": "wrong_type"},
    "nothing": {"action": "malformed_json", "kind": "empty"},
    "deep JSON": {"action": "huge_json", "depth": 100_000},
    "a circle": {"action": "redirect_loop"},
    "redirected to nowhere": {"action": "redirect", "to": "http://127.0.0.1:9/"},
    "redirected to a file": {"action": "redirect", "to": "file:///etc/passwd"},
}


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    return build_sample(tmp_path_factory.mktemp("stale"))


@pytest.fixture(scope="module")
def hub(sample: Sample) -> Iterator[HubSim]:
    # A process: it keeps its sockets open when it is asked to stop in the middle of a delay.
    with HubSim(sample.root) as hub:
        yield hub


@pytest.fixture(scope="module")
def filled(hub: HubSim, tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("filled") / "home"
    pull(home, hub.url, MODEL, f"{MODEL}@v1", f"{MODEL}@feature/x")
    age_refs(home)
    return home


@pytest.fixture
def home(filled: Path, tmp_path: Path) -> Path:
    """An archive that has all of the model, and was last sure of its refs years ago."""
    return Path(shutil.copytree(filled, tmp_path / "home"))


@pytest.fixture
def trouble(hub: HubSim) -> Iterator[HubSim]:
    hub.clear_log()
    yield hub
    hub.set_faults([])


class TestUpstreamInTrouble:
    @pytest.mark.parametrize("name", TROUBLES)
    def test_the_last_known_commit_is_served(
        self, sample: Sample, trouble: HubSim, home: Path, name: str
    ) -> None:
        trouble.set_faults([TROUBLES[name]])
        with Node(home, "--upstream", trouble.url) as node:
            for method in ("HEAD", "GET"):
                reply = once(node.url, CONFIG, method)
                assert (reply.status, marks(reply)) == (200, STALE)
                assert reply.headers["x-repo-commit"] == sample.head.sha
            assert reply.body == b'{"a": 1}\n'
            info = once(node.url, f"{API}/revision/feature%2Fx")
            assert (info.status, marks(info)) == (200, STALE)
            assert info.headers["x-repo-commit"] == sample.first.sha
            pinned = once(node.url, target("model.safetensors", MODEL, sample.head.sha))
            assert (pinned.body, marks(pinned)) == (WEIGHTS, {})
            assert [line["stale_since"] for line in node.access() if "stale_since" in line] == [
                OLD
            ] * 3
            assert node.metric("outlast_stale_answers_total") == 3

    def test_it_is_gone(self, sample: Sample, hub: HubSim, home: Path) -> None:
        url = hub.url
        hub.stop()
        try:
            with Node(home, "--upstream", url, "--ttl", "0") as node:
                for path in (CONFIG, API, f"{API}/tree/main", f"{API}/revision/v1", f"{API}/refs"):
                    reply = once(node.url, path)
                    assert (reply.status, marks(reply)) == (200, STALE), path
                for path, file in sample.head.files.items():
                    assert len(once(node.url, target(path, MODEL)).body) == file.size
                new = once(node.url, "/org/none/resolve/main/x")
                assert (new.status, int(new.headers["retry-after"]) > 0) == (503, True)
                no_revision = once(node.url, target("config.json", MODEL, "none"))
                assert no_revision.status == 503
        finally:
            hub.start()

    def test_a_clock_that_was_wrong_does_not_keep_a_ref_fresh(
        self, hub: HubSim, home: Path
    ) -> None:
        age_refs(home, "2099-01-01T00:00:00+00:00")
        hub.set_faults([])
        hub.clear_log()
        with Node(home, "--upstream", hub.url) as node:
            assert marks(once(node.url, CONFIG)) == {}
            assert hub.requests()

    def test_it_comes_back(self, hub: HubSim, home: Path) -> None:
        hub.set_faults([{"action": "status", "status": 503}])
        tuned = {
            "outlast.mirror.tuning.TUNING.down_for": 0.0,
            "outlast.fetch.tuning.TUNING.first_wait": 0.01,
        }
        with Node(home, "--upstream", hub.url, tuned=tuned) as node:
            assert marks(once(node.url, CONFIG)) == STALE
            hub.set_faults([])
            until(lambda: marks(once(node.url, CONFIG)) == {}, "a fresh answer")
            hub.clear_log()
            assert marks(once(node.url, CONFIG)) == {}
            assert beside_git(hub) == []

    def test_the_log_says_why(self, hub: HubSim, home: Path) -> None:
        """What was asked for upstream and why, and why a stale answer was given."""
        hub.set_faults([{"action": "status", "status": 503}])
        env = {"OUTLAST_LOG": "mirror=debug"}
        with Node(home, "--upstream", hub.url, env=env) as node:
            assert marks(once(node.url, CONFIG)) == STALE

            def said(*parts: str) -> bool:
                return any(all(part in line for part in parts) for line in node.lines())

            until(lambda: said("upstream has no answer for", "503"), "the failure's line")
            assert said(f"upstream is asked for {MODEL}@main: older than 300.0 s")
            assert marks(once(node.url, CONFIG)) == STALE
            assert said(f"{MODEL}@main is served stale (since {OLD}): upstream failed, and is not")

    def test_no_client_waits_twice_for_a_slow_answer(self, trouble: HubSim, home: Path) -> None:
        """A client that asks while another one waits for upstream is answered at once."""
        trouble.set_faults([{"action": "delay", "seconds": 4}])
        with Node(home, "--upstream", trouble.url) as node:
            for _ in range(20):
                assert marks(once(node.url, CONFIG)) == STALE
            (asked,) = trouble.requests()
            assert not asked.done, "twenty requests took as long as one slow answer"

    def test_those_who_need_nothing_do_not_wait_for_those_who_do(
        self, sample: Sample, trouble: HubSim, home: Path
    ) -> None:
        trouble.set_faults([{"action": "delay", "seconds": 120, "repo": "org/slow-*"}])
        with Node(home, "--upstream", trouble.url) as node, several(node.url, 80) as waiting:
            for n, wire in enumerate(waiting):
                wire.ask(f"/org/slow-{n}/resolve/main/x")
            until(lambda: trouble.requests(what="info"), "a question upstream")
            pinned = once(node.url, target("config.json", MODEL, sample.head.sha))
            assert pinned.status == 200
            assert once(node.url, CONFIG).status == 200
            assert once(node.url, "/healthz").status == 200
            slow = [line for line in node.access() if "/org/slow-" in line["path"]]
            assert slow == [], "they were answered before it"


class TestUpstreamChangesItsMind:
    @pytest.fixture
    def root(self, sample: Sample, tmp_path: Path) -> Path:
        return Path(shutil.copytree(sample.root, tmp_path / "hub"))

    def test_a_repo_is_deleted(self, sample: Sample, root: Path, home: Path) -> None:
        with HubSim(root, token="good", mode="thread") as hub:
            shutil.rmtree(root / "models" / "org" / "model")
            for env in ({}, {"HF_TOKEN": "good", "HF_ENDPOINT": hub.url}):
                hub.clear_log()
                with Node(home, "--upstream", hub.url, env=env) as node:
                    for path, file in sample.head.files.items():
                        reply = once(node.url, target(path, MODEL))
                        assert (reply.status, len(reply.body), marks(reply)) == (
                            (200, file.size, STALE)
                        )
                    assert once(node.url, target("old.txt", MODEL, "v1")).body == b"old\n"
                asked = [(one.path, one.has_auth) for one in hub.requests()]
                assert asked
                assert len(asked) == len(set(asked)), "each ref is asked for once at most"

    def test_a_branch_is_deleted(self, root: Path, home: Path) -> None:
        state = root / "models" / "org" / "model" / "repo.json"
        with HubSim(root, mode="thread") as hub:
            state.write_text(state.read_text().replace("feature/x", "feature/y"))
            with Node(home, "--upstream", hub.url) as node:
                reply = once(node.url, target("old.txt", MODEL, "feature/x"))
                assert (reply.status, reply.body, marks(reply)) == (200, b"old\n", STALE)
                assert marks(once(node.url, CONFIG)) == {}

    def test_one_repo_that_may_not_be_read_does_not_trouble_others(
        self, sample: Sample, root: Path, home: Path
    ) -> None:
        with HubSim(root, mode="thread", token="good") as hub:
            made = Sample(root, sample.first, sample.head, sample.data)
            made.repo("org/private").commit({"config.json": b"{}"})
            made.repo("org/private").configure(private=True)
            made.repo("org/gated").commit({"config.json": b"{}"})
            made.repo("org/gated").configure(gated="manual")
            with Node(home, "--upstream", hub.url, "--ttl", "0") as node:
                for repo in ("org/none", "org/private", "org/gated"):
                    reply = once(node.url, target("config.json", repo))
                    assert reply.status in {401, 403, 404}
                    assert marks(once(node.url, CONFIG)) == {}, repo

    def test_history_is_rewritten(self, sample: Sample, root: Path, home: Path) -> None:
        """A force-push: the new commit is served, the old one is still there."""
        with HubSim(root, mode="thread") as hub:
            new = Sample(root, sample.first, sample.head, sample.data).repo(MODEL)
            made = new.commit({"config.json": b"{9}"}, fresh=True)
            with Node(home, "--upstream", hub.url) as node:
                assert once(node.url, CONFIG).body == b"{9}"
                assert once(node.url, target("model.safetensors", MODEL)).status == 404
                old = once(node.url, target("model.safetensors", MODEL, sample.head.sha))
                assert old.body == WEIGHTS
            listed = outlast(home, "ls", "--json")
            assert made.sha in listed
            assert sample.head.sha in listed

    @pytest.mark.parametrize("asked", [False, True])
    def test_a_new_commit_is_seen_but_never_comes(
        self, sample: Sample, root: Path, home: Path, asked: bool
    ) -> None:
        """Main moves on, and the hub goes down before the new files are here: then the last
        commit that is complete is the one to serve.
        """
        with HubSim(root, mode="thread") as hub:
            new = Sample(root, sample.first, sample.head, sample.data).repo(MODEL)
            made = new.commit({"config.json": b"{9}", "more.txt": b"more"})
            with Node(home, "--upstream", hub.url, "--ttl", "0") as node:
                head = once(node.url, CONFIG, "HEAD")
                assert head.headers["x-repo-commit"] == made.sha
                if asked:
                    assert once(node.url, target("more.txt", MODEL)).body == b"more"
                hub.stop()
                reply = once(node.url, CONFIG)
                assert (reply.status, reply.body) == (200, b'{"a": 1}\n')
                assert reply.headers["x-repo-commit"] == sample.head.sha
                assert marks(reply).keys() == STALE.keys()
                commit = node.get(API).json["sha"]
                for path in node.get(f"{API}/tree/{commit}?recursive=true").json:
                    if path["type"] == "file":
                        assert once(node.url, target(path["path"], MODEL, commit)).status == 200
