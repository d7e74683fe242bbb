"""Who may read what through a server: {public, private, gated} models, for every kind of client,
with the hub there, gone, or never named.
"""

import json
import random
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.hubsim import HubRepo, HubSim
from tests.serve.node import Node, outlast, until
from tests.serve.upstream import same
from tests.serve.wire import Reply, Wire, once

OWNER, LIMITED, WRONG, LOCAL, OTHER = "hf_owner", "hf_limited", "hf_wrong", "s3cret", "0ther"
KINDS = ("public", "private", "gated")
REPO = {kind: f"org/{kind}" for kind in KINDS}
MISSING = "org/missing"
SECRET = b"secret words\n"
FORM = {"Content_Type": "application/x-www-form-urlencoded"}


@dataclass(frozen=True)
class World:
    """A hub with a model of each kind, and the commit of each."""

    root: Path
    commits: dict[str, str]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    root = tmp_path_factory.mktemp("restricted") / "hub"
    commits = {}
    for kind in KINDS:
        repo = HubRepo(root, REPO[kind], private=kind == "private", gated=kind == "gated")
        made = repo.commit({"words.txt": SECRET, "other.txt": kind.encode()}, tags=["v1"])
        commits[kind] = made.sha
    return World(root, commits)


@pytest.fixture(scope="module")
def hub(world: World) -> Iterator[HubSim]:
    with HubSim(world.root, mode="thread", token=OWNER, limited_token=LIMITED) as hub:
        yield hub


def env(hub: HubSim) -> dict[str, str]:
    """The operator's environment: its own token opens everything."""
    return {"HF_TOKEN": OWNER, "HF_ENDPOINT": hub.url}


@pytest.fixture(scope="module")
def archived(hub: HubSim, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive that the operator filled with its own token."""
    home = tmp_path_factory.mktemp("filled") / "home"
    for kind in KINDS:
        for ref in ("main", "v1"):
            name = f"{REPO[kind]}@{ref}"
            outlast(home, "pull", name, "--from", hub.url, "--quiet", env=env(hub))
    return home


def auth(token: str | None) -> dict[str, str]:
    return {} if token is None else {"Authorization": f"Bearer {token}"}


def asked(node: Node, repo: str, commit: str, token: str | None) -> dict[str, Reply]:
    """Every way to ask for a model or a part of it."""
    sent, api = auth(token), f"/api/models/{repo}"
    file = f"/{repo}/resolve/main/words.txt"
    body = b"paths=words.txt&expand=false"
    return {
        "head": once(node.url, file, "HEAD", **sent),
        "get": once(node.url, file, **sent),
        "range": once(node.url, file, Range="bytes=1-", **sent),
        "pinned": once(node.url, f"/{repo}/resolve/{commit}/words.txt", **sent),
        "missing file": once(node.url, f"/{repo}/resolve/main/none", **sent),
        "missing ref": once(node.url, f"/{repo}/resolve/none/words.txt", **sent),
        "info": once(node.url, api, **sent),
        "revision": once(node.url, f"{api}/revision/v1", **sent),
        "tree": once(node.url, f"{api}/tree/main", **sent),
        "refs": once(node.url, f"{api}/refs", **sent),
        "commits": once(node.url, f"{api}/commits/main", **sent),
        "auth-check": once(node.url, f"{api}/auth-check", **sent),
        "paths": once(node.url, f"{api}/paths-info/main", "POST", body, **FORM, **sent),
    }


def listed(node: Node, token: str | None) -> set[str]:
    """What the list and the search name."""
    rows = json.loads(once(node.url, "/api/models", **auth(token)).body)
    found = json.loads(once(node.url, "/api/models?search=org", **auth(token)).body)
    assert rows == found
    return {row["id"] for row in rows}


def check_open(replies: dict[str, Reply]) -> None:
    told = {name: reply.status for name, reply in replies.items()}
    usual = dict.fromkeys(told, 200) | {"missing file": 404, "missing ref": 404, "range": 206}
    assert told == usual
    assert replies["get"].body == replies["pinned"].body == SECRET


def check_shut(replies: dict[str, Reply], status: int, code: str | None) -> None:
    """No answer differs by what there is."""
    assert {name: reply.status for name, reply in replies.items()} == dict.fromkeys(replies, status)
    assert {reply.headers.get("x-error-code") for reply in replies.values()} == {code}
    for reply in replies.values():
        assert not {"etag", "x-repo-commit", "x-linked-etag", "last-modified"} & set(reply.headers)
        assert b"secret" not in reply.body


def same_as_missing(replies: dict[str, Reply], missing: dict[str, Reply], repo: str) -> None:
    """Who may not read a model cannot tell it from one that does not exist."""
    for name, reply in replies.items():
        other = missing[name]
        names = [(one.headers.get("x-error-message") or "") for one in (reply, other)]
        assert names[0].replace(repo, "X") == names[1].replace(MISSING, "X")
        assert reply.body.replace(repo.encode(), b"X") == other.body.replace(MISSING.encode(), b"X")
        assert reply.headers.keys() == other.headers.keys()


SHUT = {
    ("private", None): (401, "RepoNotFound"),
    ("private", LIMITED): (404, "RepoNotFound"),
    ("private", WRONG): (404, "RepoNotFound"),
    ("gated", None): (401, "GatedRepo"),
    ("gated", LIMITED): (403, "GatedRepo"),
    ("gated", WRONG): (403, "GatedRepo"),
}


class TestTheHubIsThere:
    @pytest.fixture(scope="class", params=["archived", "not archived"])
    @classmethod
    def node(
        cls,
        request: pytest.FixtureRequest,
        hub: HubSim,
        archived: Path,
        tmp_path_factory: pytest.TempPathFactory,
    ) -> Iterator[Node]:
        """The mirror of an operator whose token opens everything."""
        fresh = tmp_path_factory.mktemp("fresh") / "home"
        home = archived if request.param == "archived" else fresh
        with Node(home, "--upstream", hub.url, env=env(hub)) as node:
            yield node

    @pytest.mark.parametrize("token", [None, LIMITED, WRONG, OWNER])
    def test_what_is_public_is_everybodys(
        self, node: Node, world: World, token: str | None
    ) -> None:
        check_open(asked(node, REPO["public"], world.commits["public"], token))
        assert REPO["public"] in listed(node, token)

    @pytest.mark.parametrize("kind", ["private", "gated"])
    def test_the_operators_token_lends_nothing(
        self, node: Node, world: World, hub: HubSim, kind: str
    ) -> None:
        repo, commit = REPO[kind], world.commits[kind]
        hub.clear_log()
        for token in (None, LIMITED, WRONG):
            replies = asked(node, repo, commit, token)
            check_shut(replies, *SHUT[kind, token])
            assert repo not in listed(node, token)
            if kind == "private":
                same_as_missing(replies, asked(node, MISSING, commit, token), repo)
        assert not hub.requests(what="resolve", repo=repo)
        # Whom the hub admits reads it, after all those whom it did not, and opens it to no other.
        check_open(asked(node, repo, commit, OWNER))
        assert repo in listed(node, OWNER)
        for token in (None, LIMITED, WRONG):
            check_shut(asked(node, repo, commit, token), *SHUT[kind, token])
            assert repo not in listed(node, token)


class TestTheHubIsGone:
    @pytest.fixture(scope="class")
    @classmethod
    def node(cls, world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
        """It admitted the owner before the hub went."""
        home = tmp_path_factory.mktemp("dark") / "home"
        tuned = {"outlast.fetch.tuning.TUNING.first_wait": 0.01}
        with HubSim(world.root, mode="thread", token=OWNER, limited_token=LIMITED) as hub:
            for kind in KINDS:
                outlast(home, "pull", REPO[kind], "--from", hub.url, "--quiet", env=env(hub))
            flags = ("--upstream", hub.url, "--ttl", "0")
            with Node(home, *flags, env=env(hub), tuned=tuned) as node:
                for kind in ("private", "gated"):
                    path = f"/{REPO[kind]}/resolve/{world.commits[kind]}/words.txt"
                    assert once(node.url, path, **auth(OWNER)).body == SECRET
                hub.stop()
                yield node

    @pytest.mark.parametrize("kind", ["private", "gated"])
    def test_it_admits_whom_the_hub_admitted(self, node: Node, world: World, kind: str) -> None:
        path = f"/{REPO[kind]}/resolve/{world.commits[kind]}/words.txt"
        assert once(node.url, path, **auth(OWNER)).body == SECRET
        assert once(node.url, path, "HEAD", **auth(OWNER)).status == 200
        assert REPO[kind] in listed(node, OWNER)

    @pytest.mark.parametrize("token", [None, LIMITED, WRONG])
    def test_and_no_other(self, node: Node, world: World, token: str | None) -> None:
        repo, commit = REPO["private"], world.commits["private"]
        replies = asked(node, repo, commit, token)
        check_shut(replies, 503, None)
        same_as_missing(replies, asked(node, MISSING, commit, token), repo)
        shut = 401 if token is None else 403
        check_shut(asked(node, REPO["gated"], world.commits["gated"], token), shut, "GatedRepo")
        assert listed(node, token) == {REPO["public"]}

    def test_what_is_public_stays_so(self, node: Node, world: World) -> None:
        path = f"/{REPO['public']}/resolve/{world.commits['public']}/words.txt"
        assert once(node.url, path).body == SECRET

    def test_for_as_long_as_the_operator_says(self, world: World, tmp_path: Path) -> None:
        path = f"/{REPO['private']}/resolve/{world.commits['private']}/words.txt"
        with HubSim(world.root, mode="thread", token=OWNER) as hub:
            flags = ("--upstream", hub.url, "--ttl", "0", "--offline-access", "0")
            with Node(tmp_path / "home", *flags, env=env(hub)) as node:
                assert once(node.url, path, **auth(OWNER)).status == 200
                hub.stop()
                assert once(node.url, path, **auth(OWNER)).status == 503


class TestWithoutAHub:
    @pytest.fixture(scope="class")
    @classmethod
    def node(cls, archived: Path) -> Iterator[Node]:
        with Node(archived) as node:
            yield node

    @pytest.mark.parametrize("token", [None, LIMITED, OWNER])
    def test_no_client_reads_what_is_restricted(
        self, node: Node, world: World, token: str | None
    ) -> None:
        """Not even with a token that the hub would admit: it is not there to say so."""
        check_open(asked(node, REPO["public"], world.commits["public"], token))
        for kind in ("private", "gated"):
            replies = asked(node, REPO[kind], world.commits[kind], token)
            check_shut(replies, *SHUT[kind, LIMITED if token else None])
            if kind == "private":
                missing = asked(node, MISSING, world.commits[kind], token)
                same_as_missing(replies, missing, REPO[kind])
        assert listed(node, token) == {REPO["public"]}

    def test_unless_the_operator_opens_it(self, archived: Path, world: World) -> None:
        with Node(archived, "--open-restricted") as node:
            for kind in KINDS:
                check_open(asked(node, REPO[kind], world.commits[kind], None))
            assert listed(node, None) == set(REPO.values())
            warned = [line for line in node.lines() if line.startswith("WARNING")]
            assert warned
            assert "every client may read" in warned[0]

    def test_it_says_so_though_it_is_quiet(self, archived: Path) -> None:
        with Node(archived, "--open-restricted", "--quiet") as node:
            until(lambda: any("--open-restricted" in line for line in node.lines()), "a warning")


@pytest.mark.parametrize("upstream", [True, False])
def test_the_file_of_tokens_opens_models_by_name(
    upstream: bool, hub: HubSim, archived: Path, world: World, tmp_path: Path
) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text(f"# users\nann {LOCAL} org/priv* nothing/*\nbob {OTHER}\n")
    flags = ["--tokens", str(tokens), *(["--upstream", hub.url] if upstream else [])]
    hub.clear_log()
    with Node(archived, *flags, env=env(hub)) as node:
        check_open(asked(node, REPO["private"], world.commits["private"], LOCAL))
        check_open(asked(node, REPO["public"], world.commits["public"], OTHER))
        check_shut(asked(node, REPO["gated"], world.commits["gated"], LOCAL), 403, "GatedRepo")
        check_shut(
            asked(node, REPO["private"], world.commits["private"], OTHER), 404, "RepoNotFound"
        )
        for token in (None, OWNER):  # the operator's file decides who comes in at all
            check_shut(asked(node, REPO["public"], world.commits["public"], token), 401, None)
        assert listed(node, LOCAL) == {REPO["public"], REPO["private"]}
        assert listed(node, OTHER) == {REPO["public"]}


def test_a_mirror_fetches_for_a_granted_client_with_the_operators_token(
    hub: HubSim, world: World, tmp_path: Path
) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text(f"ann {LOCAL} *\n")
    flags = ("--tokens", str(tokens), "--upstream", hub.url)
    with Node(tmp_path / "home", *flags, env=env(hub)) as node:
        for kind in KINDS:
            check_open(asked(node, REPO[kind], world.commits[kind], LOCAL))


def test_a_client_needs_no_token_of_the_operator(hub: HubSim, world: World, tmp_path: Path) -> None:
    """Its own is passed on, and nothing else is."""
    with Node(tmp_path / "home", "--upstream", hub.url) as node:
        for kind in KINDS:
            check_open(asked(node, REPO[kind], world.commits[kind], OWNER))
            shut = (None, LIMITED)
            for token in shut if kind != "public" else ():
                check_shut(asked(node, REPO[kind], world.commits[kind], token), *SHUT[kind, token])


class TestAPublicModelThatClaimsAFile:
    """Its owner has listed the digest of a file that is here for a gated model."""

    @pytest.fixture
    def weights(self, tmp_path: Path) -> Path:
        path = tmp_path / "weights"
        path.write_bytes(random.Random(1).randbytes(6 << 20))
        return path

    @pytest.mark.parametrize("size", [300, 6 << 20])
    @pytest.mark.parametrize("serves", [False, True])
    def test_it_has_it_only_if_the_hub_serves_it_there(
        self, tmp_path: Path, weights: Path, size: int, *, serves: bool
    ) -> None:
        data = weights.read_bytes()[:size]
        weights.write_bytes(data)
        root, home = tmp_path / "hub", tmp_path / "home"
        HubRepo(root, REPO["gated"], gated=True).commit({"model.safetensors": weights})
        HubRepo(root, "evil/claims").commit({"a.safetensors": weights, "b.txt": b"b"})
        with HubSim(root, mode="thread", token=OWNER) as hub:
            outlast(home, "pull", REPO["gated"], "--from", hub.url, "--quiet", env=env(hub))
            if not serves:
                hub.set_faults([{"action": "status", "status": 404, "file": "a.safetensors"}])
            hub.clear_log()
            tuned = {"outlast.fetch.tuning.TUNING.first_wait": 0.01}
            with Node(home, "--upstream", hub.url, env=env(hub), tuned=tuned) as node:
                path = "/evil/claims/resolve/main/a.safetensors"
                assert once(node.url, "/evil/claims/resolve/main/b.txt").body == b"b"
                for _ in range(3):
                    reply = once(node.url, path)
                    assert reply.complete == serves
                    assert same(reply.body, data) == serves
                asked = hub.requests(what="resolve", file="a.safetensors")
                assert asked
                assert not any(one.has_auth for one in asked)
                if serves:
                    hub.clear_log()
                    assert same(once(node.url, path).body, data)
                    assert not hub.requests(what="resolve")
        outlast(home, "verify", "--quiet")

    def test_nor_by_a_pull(self, tmp_path: Path, weights: Path) -> None:
        root, home = tmp_path / "hub", tmp_path / "home"
        HubRepo(root, REPO["gated"], gated=True).commit({"model.safetensors": weights})
        HubRepo(root, "evil/claims").commit({"a.safetensors": weights})
        with HubSim(root, mode="thread", token=OWNER) as hub:
            outlast(home, "pull", REPO["gated"], "--from", hub.url, "--quiet", env=env(hub))
            outlast(home, "pull", "evil/claims", "--from", hub.url, "--quiet", env=env(hub))
            size = weights.stat().st_size
            sent = sum(one.sent for one in hub.requests(file="a.safetensors"))
            assert sent == size
        outlast(home, "verify", "--quiet")


LOGIN = {"path": "/login", "action": "page"}
FALSE_ANSWERS: dict[str, dict[str, Any]] = {
    "page": {"action": "page"},
    "page as text": {"action": "page", "type": "text/plain", "body": " <html>Log in</html>"},
    "page without tags": {"action": "page", "body": "Log in"},
    "page as JSON": {"action": "page", "type": "application/json"},
    "another object": {"action": "page", "type": "application/json", "body": '{"ok": true}'},
    "another model": {
        "action": "page",
        "type": "application/json",
        "body": json.dumps({"id": "org/x", "sha": "1" * 40, "private": False, "gated": False}),
    },
    "redirect to a page": {"action": "redirect", "to": "/login"},
    "server error": {"action": "status", "status": 500},
}
PAGES = ["page", "page without tags", "page as text", "redirect to a page"]


class TestWhatIsNoAdmission:
    """Only the hub's own answer for this model admits a token."""

    @pytest.fixture
    def other(self, tmp_path: Path) -> Iterator[HubSim]:
        """A hub that would serve the model to every client."""
        for kind in ("private", "gated"):
            HubRepo(tmp_path / "other", REPO[kind]).commit({"words.txt": SECRET})
        with HubSim(tmp_path / "other", mode="thread") as other:
            yield other

    @pytest.mark.parametrize("kind", ["private", "gated"])
    @pytest.mark.parametrize("fault", FALSE_ANSWERS)
    def test_it_admits_no_client(
        self, world: World, hub: HubSim, archived: Path, fault: str, kind: str
    ) -> None:
        path = f"/{REPO[kind]}/resolve/{world.commits[kind]}/words.txt"
        rule = {"repo": REPO[kind], **FALSE_ANSWERS[fault]}
        try:
            hub.set_faults([{"what": what, **rule} for what in ("info", "auth-check")])
            with Node(archived, "--upstream", hub.url, env=env(hub)) as node:
                for token in (None, WRONG, LIMITED, OWNER):
                    reply = once(node.url, path, **auth(token))
                    assert reply.status in {401, 403, 404, 503}
                    assert SECRET not in reply.body
        finally:
            hub.set_faults([])

    @pytest.mark.parametrize("fault", FALSE_ANSWERS)
    def test_nor_does_it_tell_what_is_here(
        self, world: World, hub: HubSim, archived: Path, fault: str
    ) -> None:
        repo, commit = REPO["private"], world.commits["private"]
        try:
            hub.set_faults([FALSE_ANSWERS[fault]])
            tuned = {"outlast.fetch.tuning.TUNING.first_wait": 0.01}
            with Node(archived, "--upstream", hub.url, env=env(hub), tuned=tuned) as node:
                for token in (None, LIMITED):
                    replies = asked(node, repo, commit, token)
                    same_as_missing(replies, asked(node, MISSING, commit, token), repo)
        finally:
            hub.set_faults([])

    @pytest.mark.parametrize(
        "fault", ["page", "page without tags", "page as text", "redirect to a page"]
    )
    def test_nor_at_the_gate(self, world: World, hub: HubSim, archived: Path, fault: str) -> None:
        """The description of a gated model is public; who may have its files, this route tells."""
        path = f"/{REPO['gated']}/resolve/{world.commits['gated']}/words.txt"
        try:
            hub.set_faults([{"what": "auth-check", **FALSE_ANSWERS[fault]}, LOGIN])
            with Node(archived, "--upstream", hub.url, env=env(hub)) as node:
                for token in (None, WRONG, LIMITED, OWNER):
                    assert once(node.url, path, **auth(token)).status in {401, 403, 503}
        finally:
            hub.set_faults([])

    @pytest.mark.parametrize("kind", ["private", "gated"])
    @pytest.mark.parametrize("what", ["info", "auth-check"])
    def test_a_redirect_to_a_hub_that_admits_everybody(
        self, world: World, hub: HubSim, other: HubSim, archived: Path, *, what: str, kind: str
    ) -> None:
        path = f"/{REPO[kind]}/resolve/{world.commits[kind]}/words.txt"
        api = f"{other.url}/api/models/{REPO[kind]}"
        target = api if what == "info" else f"{api}/auth-check"
        try:
            hub.set_faults([{"what": what, "action": "redirect", "to": target}])
            with Node(archived, "--upstream", hub.url, env=env(hub)) as node:
                for token in (None, WRONG, LIMITED):
                    assert once(node.url, path, **auth(token)).status in {401, 403, 404, 503}
        finally:
            hub.set_faults([])
        assert not any(one.has_auth for one in other.requests())

    def test_another_hub_that_knows_the_name(
        self, world: World, archived: Path, other: HubSim
    ) -> None:
        """What is here came from the first hub: the second decides nothing about it."""
        path = f"/{REPO['gated']}/resolve/{world.commits['gated']}/words.txt"
        with Node(archived, "--upstream", other.url) as node:
            for token in (None, WRONG, OWNER):
                assert once(node.url, path, **auth(token)).status in {401, 403}


class TestTheClientsToken:
    def test_it_goes_to_the_first_upstream_and_into_no_log(
        self, world: World, tmp_path: Path
    ) -> None:
        canary = "hf_canary4711secret"
        second_root = tmp_path / "second"
        HubRepo(second_root, "org/second").commit({"a.txt": b"a"})
        home = tmp_path / "home"
        with (
            HubSim(world.root, mode="thread", cdn=True, token=canary) as hub,
            HubSim(second_root, mode="thread") as second,
        ):
            flags = ("--upstream", hub.url, "--upstream", second.url, "--debug")
            with Node(home, *flags) as node:
                for kind in KINDS:
                    check_open(asked(node, REPO[kind], world.commits[kind], canary))
                once(node.url, "/org/second/resolve/main/a.txt", **auth(canary))
                once(node.url, "/org/none/resolve/main/a.txt", **auth(canary))
                assert "canary" not in node.log.read_text()
            assert any(one.has_auth for one in hub.requests(what="resolve"))
            assert not any(one.has_auth for one in hub.requests(listener="cdn"))
            assert second.requests()
            assert not any(one.has_auth for one in second.requests())
        for path in home.rglob("*"):
            assert not path.is_file() or b"canary" not in path.read_bytes()

    @pytest.mark.parametrize(
        "token", ["a b", "a\tb", "\x80\xff", "x" * 5000], ids=["space", "tab", "no ascii", "long"]
    )
    def test_what_is_no_token_is_not_sent_on(
        self, world: World, hub: HubSim, archived: Path, token: str
    ) -> None:
        path = f"/{REPO['private']}/resolve/{world.commits['private']}/words.txt"
        with Node(archived, "--upstream", hub.url) as node:
            hub.clear_log()
            assert once(node.url, path, Authorization=f"Bearer {token}").status == 404
            assert not any(one.has_auth for one in hub.requests())


@pytest.mark.parametrize("change", [{"private": True}, {"gated": "auto"}])
@pytest.mark.parametrize("pinned", [False, True])
def test_what_was_public_closes_when_the_hub_closes_it(
    tmp_path: Path, change: dict[str, Any], *, pinned: bool
) -> None:
    """And opens again when the hub opens it."""
    root, home = tmp_path / "hub", tmp_path / "home"
    repo = HubRepo(root, "org/model")
    commit = repo.commit({"words.txt": SECRET}).sha
    path = f"/org/model/resolve/{commit if pinned else 'main'}/words.txt"
    tuned = {"outlast.mirror.tuning.TUNING.recheck": 0.0}
    with HubSim(root, mode="thread", token=OWNER) as hub:
        outlast(home, "pull", "org/model", "--from", hub.url, "--quiet")
        flags = ("--upstream", hub.url, "--ttl", "0")
        with Node(home, *flags, env=env(hub), tuned=tuned) as node:
            assert once(node.url, path).body == SECRET
            repo.configure(**change)
            until(lambda: once(node.url, path).status == 401, "the model to be closed")
            for _ in range(3):
                reply = once(node.url, path)
                assert (reply.status, SECRET in reply.body) == (401, False)
            assert once(node.url, path, **auth(OWNER)).body == SECRET
            assert listed(node, None) == set()
            repo.configure(private=False, gated=False)
            assert once(node.url, path).body == SECRET


def test_what_the_hub_withdrew_stays_public(tmp_path: Path) -> None:
    """It says the same of what is deleted and what is private; its owner's token tells."""
    root, home = tmp_path / "hub", tmp_path / "home"
    commit = HubRepo(root, "org/model").commit({"words.txt": SECRET}).sha
    with HubSim(root, mode="thread", token=OWNER) as hub:
        outlast(home, "pull", "org/model", "--from", hub.url, "--quiet")
        shutil.rmtree(root / "models" / "org" / "model")
        tuned = {"outlast.mirror.tuning.TUNING.recheck": 0.0}
        flags = ("--upstream", hub.url, "--ttl", "0")
        with Node(home, *flags, env=env(hub), tuned=tuned) as node:
            for _ in range(3):
                for ref in ("main", commit):
                    path = f"/org/model/resolve/{ref}/words.txt"
                    assert once(node.url, path).body == SECRET
            until(lambda: hub.requests(what="info"), "a question")


def test_waiting_for_the_same_bytes_is_no_way_in(tmp_path: Path) -> None:
    """A gated file is on its way to who may have it, and another model claims the same digest."""
    root, home, weights = tmp_path / "hub", tmp_path / "home", tmp_path / "weights"
    data = random.Random(3).randbytes(12 << 20)
    weights.write_bytes(data)
    HubRepo(root, REPO["gated"], gated=True).commit({"model.safetensors": weights})
    HubRepo(root, "evil/claims").commit({"a.safetensors": weights})
    with HubSim(root, mode="thread", token=OWNER) as hub:
        hub.set_faults(
            [
                {"action": "status", "status": 404, "file": "a.safetensors"},
                {"action": "slow", "rate": 4 << 20, "file": "model.safetensors"},
            ]
        )
        tuned = {"outlast.fetch.tuning.TUNING.first_wait": 0.01}
        with Node(home, "--upstream", hub.url, tuned=tuned) as node, Wire(node.url) as owner:
            owner.ask(f"/{REPO['gated']}/resolve/main/model.safetensors", **auth(OWNER))
            assert owner.head().status == 200
            assert owner.read(1 << 20)
            while node.metric("outlast_fetches"):
                reply = once(node.url, "/evil/claims/resolve/main/a.safetensors")
                assert not reply.complete
                assert len(reply.body) < 1000
            reply = once(node.url, "/evil/claims/resolve/main/a.safetensors")
            assert not reply.complete


def test_refs_that_one_client_may_read_are_not_shown_to_others(
    world: World, tmp_path: Path
) -> None:
    """Nothing of the model is here: what the hub said was only remembered."""
    with (
        HubSim(world.root, mode="thread", token=OWNER) as hub,
        Node(tmp_path / "home", "--upstream", hub.url, "--ttl", "600") as node,
    ):
        path, none = f"/api/models/{REPO['private']}/refs", f"/api/models/{MISSING}/refs"
        shown = once(node.url, path, **auth(OWNER))
        assert (shown.status, b"v1" in shown.body) == (200, True)
        for token in (None, WRONG):
            replies = [once(node.url, each, **auth(token)) for each in (path, none)]
            same_as_missing({"refs": replies[0]}, {"refs": replies[1]}, REPO["private"])
            assert replies[0].status == replies[1].status != 200
