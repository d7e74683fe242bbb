"""Tokens: who gets in, and where a token may go."""

from dataclasses import replace
from pathlib import Path

import pytest

from outlast.core.control import Control
from outlast.core.errors import AccessDeniedError, PolicyError, RepoNotFoundError
from outlast.core.names import RepoId, Target
from outlast.fetch.file_filter import Selection
from outlast.fetch.transfer import Wishes
from outlast.ops import pull as ops
from outlast.sources.base import Listing, RepoClaims
from outlast.sources.http import HttpClient
from outlast.sources.hub import HubSource
from outlast.sources.settings import HttpSettings
from outlast.store.archive import Archive
from tests.hubsim import HubRepo, HubSim
from tests.pull.kit import FILES, Puller, check_archive, check_pulled, contents, has_blob
from tests.warm.calls import outlast

GIT = "config.json"


@pytest.fixture
def private(hub: HubSim) -> HubSim:
    HubRepo(hub.root, "org/name").configure(private=True)
    return hub


@pytest.fixture
def gated(hub: HubSim) -> HubSim:
    HubRepo(hub.root, "org/name").configure(gated="manual")
    return hub


def test_a_private_model_needs_a_token(private: HubSim, pull: Puller) -> None:
    with pytest.raises(RepoNotFoundError, match="or it is private") as caught:
        pull("org/name", private.url)
    assert "HF_TOKEN" in caught.value.hint
    pull.tokens = {private.url: "hf_limited"}
    with pytest.raises(RepoNotFoundError):
        pull("org/name", private.url)
    pull.tokens = {private.url: "hf_unknown"}
    with pytest.raises(AccessDeniedError):
        pull("org/name", private.url)
    assert len(private.requests()) == 3  # a refusal is final
    pull.tokens = {private.url: "hf_right"}
    pull("org/name", private.url)
    check_pulled(pull.home)


def test_a_gated_model_needs_its_terms_accepted(gated: HubSim, pull: Puller) -> None:
    for token in (None, "hf_limited"):
        pull.tokens = {gated.url: token} if token else {}
        with pytest.raises(AccessDeniedError, match="restricted"):
            pull("org/name", gated.url)
    assert pull.done <= {"empty.txt"}
    assert not has_blob(pull.home, FILES[GIT])
    check_archive(pull.home)
    pull.tokens = {gated.url: "hf_right"}
    pull("org/name", gated.url)
    check_pulled(pull.home)


def test_what_the_hub_says_is_remembered(gated: HubSim, tmp_path: Path) -> None:
    env = {"HF_ENDPOINT": gated.url, "HF_TOKEN": "hf_right"}
    outlast("pull", "org/name", home=tmp_path, env=env).ok()
    assert "gated at its hub" in outlast("show", "org/name", home=tmp_path).ok().out


def test_no_token_reaches_the_cdn(root: Path, pull: Puller) -> None:
    HubRepo(root, "org/name").configure(private=True)
    with HubSim(root, mode="thread", cdn=True, token="hf_right") as hub:
        pull.tokens = {hub.url: "hf_right"}
        pull("org/name", hub.url)
        assert all(entry.has_auth for entry in hub.requests(listener="hub"))
        assert len(hub.requests(listener="cdn")) >= 2
        assert not any(entry.has_auth for entry in hub.requests(listener="cdn"))
    check_pulled(pull.home)


@pytest.mark.parametrize("what", ["info", "resolve"])
def test_no_token_follows_a_redirect(
    private: HubSim, pull: Puller, tmp_path: Path, what: str
) -> None:
    other_root = tmp_path / "other"
    HubRepo(other_root, "org/name").commit(FILES)
    with HubSim(other_root, mode="thread") as other:
        sha = HubRepo(private.root, "org/name").head.sha
        path = f"/org/name/resolve/{sha}/{GIT}"
        if what == "info":
            path = "/api/models/org/name/revision/main"
        target = f"{other.url}{path}?blobs=true"
        private.set_faults([{"action": "redirect", "to": target, "path": path}])
        pull.tokens = {private.url: "hf_right"}
        pull("org/name", private.url, include=[GIT])
        assert len(other.requests()) == 1
        assert not any(entry.has_auth for entry in other.requests())
    assert contents(pull.home)[GIT] == FILES[GIT]


def test_every_source_gets_its_own_token(private: HubSim, pull: Puller) -> None:
    with HubSim(private.root, mode="thread", token="hf_other") as second:
        pull.tokens = {private.url: "hf_right", second.url: "hf_other"}
        pull("org/name", private.url, second.url)
        answers = {entry.status for hub in (private, second) for entry in hub.requests()}
    assert answers <= {200, 206}
    check_pulled(pull.home)


def test_a_source_that_refuses_leaves_it_to_the_others(private: HubSim, pull: Puller) -> None:
    with HubSim(private.root, mode="thread", token="hf_other") as closed:
        pull.tokens = {private.url: "hf_right"}
        pull("org/name", private.url, closed.url)
        pull("org/name@v1.0", closed.url, private.url)
    check_pulled(pull.home)


def test_where_the_command_line_takes_tokens_from(private: HubSim, tmp_path: Path) -> None:
    arguments = ("pull", "org/name", "--include", GIT, "--json")
    endpoint = {"HF_ENDPOINT": private.url}
    outlast(*arguments, home=tmp_path, env=endpoint).failed("repo-not-found")
    outlast(*arguments, home=tmp_path, env={**endpoint, "HF_TOKEN": " hf_right\n"}).ok()
    token = tmp_path / "hf" / "token"
    token.parent.mkdir()
    token.write_text("hf_right\n")
    outlast(*arguments, home=tmp_path, env=endpoint).ok()
    token.rename(tmp_path / "elsewhere")
    outlast(*arguments, home=tmp_path, env=endpoint).failed("repo-not-found")
    path = {**endpoint, "HF_TOKEN_PATH": str(tmp_path / "elsewhere")}
    outlast(*arguments, home=tmp_path, env=path).ok()
    config = tmp_path / "config.toml"
    config.write_text(f'[tokens]\n"{private.url}" = "hf_right"\n')
    outlast(*arguments, home=tmp_path, env={"OUTLAST_CONFIG": str(config), **endpoint}).ok()
    by_flag = (*arguments, "--from", private.url)
    outlast(*by_flag, home=tmp_path, env={"OUTLAST_CONFIG": str(config)}).ok()


def test_the_hubs_token_is_for_the_hub_alone(private: HubSim, tmp_path: Path) -> None:
    env = {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_TOKEN": "hf_right"}
    arguments = ("pull", "org/name", "--from", private.url)
    call = outlast(*arguments, home=tmp_path, env=env)
    call.failed("repo-not-found")
    assert not any(entry.has_auth for entry in private.requests())


def test_no_token_is_ever_printed(private: HubSim, tmp_path: Path) -> None:
    env = {"HF_ENDPOINT": private.url, "HF_TOKEN": "hf_unknown_secret"}
    for more in ([], ["--json"], ["--dry-run"]):
        call = outlast("pull", "org/name", *more, home=tmp_path, env=env)
        call.failed("access-denied", "repo-not-found")
        assert "secret" not in call.out + call.err
    url = private.url.replace("//", "//user:secret@")
    call = outlast("pull", "org/name", "--from", url, home=tmp_path)
    assert call.code != 0
    assert "Traceback" not in call.err
    assert "secret" not in call.out + call.err


def test_https_does_not_fall_back_to_http(hub: HubSim, pull: Puller) -> None:
    """Without a network: the rule itself."""
    client = HttpClient(HttpSettings())
    with pytest.raises(PolicyError, match="https to http"):
        client.led_to("https://127.0.0.1/a", "http://127.0.0.1/b")
    assert client.led_to("https://127.0.0.1/a", "/b") == "https://127.0.0.1/b"
    assert (hub.requests(), pull.events) == ([], [])


class _Neighbour:
    """Says that the hub's model is public, and has nothing."""

    name = "peer 10.0.0.9:8091"

    def __init__(self, hub: HubSource) -> None:
        self._hub = hub

    def describe(self, repo: RepoId, ref: str, timeout: float | None = None) -> Listing:
        facts = RepoClaims(private=False, gated=False, tags=(), facts={})
        return replace(self._hub.describe(repo, ref, timeout), facts=facts)


@pytest.mark.parametrize("gated", [False, "manual"])
def test_a_neighbours_word_opens_nothing(hub: HubSim, pull: Puller, *, gated: bool | str) -> None:
    """What it calls public is fetched as everybody may: else it would be offered to everybody."""
    HubRepo(hub.root, "org/name").configure(gated=gated)
    target = Target.parse("org/name")
    owner = HubSource(HttpClient(HttpSettings()), hub.url, "hf_right")
    told = _Neighbour(owner)
    listing = told.describe(target.repo, "main")
    hub.clear_log()
    with Archive(pull.home, create=True) as archive:
        try:
            ops.pull(
                archive,
                target,
                [owner],
                selection=Selection(),
                wishes=Wishes(),
                control=Control(),
                found=(listing, told),  # type: ignore[arg-type]
            )
        except AccessDeniedError:
            assert gated
        else:
            assert not gated
    asked = hub.requests(what="resolve")
    assert asked
    assert not any(entry.has_auth for entry in asked)
    assert has_blob(pull.home, FILES[GIT]) == (not gated)


def test_public_is_what_the_hub_serves_without_a_token(hub: HubSim, pull: Puller) -> None:
    """A hub that is for its own users calls everything public, to them."""
    pull.tokens = {hub.url: "hf_right"}
    pull("org/name", hub.url)
    with Archive(pull.home) as archive:
        assert archive.refs.about(RepoId.parse("org/name")).is_open
    hub.set_faults([{"action": "status", "status": 401, "what": "info", "skip": 1}])
    pull("org/name@v1.0", hub.url)
    with Archive(pull.home) as archive:
        assert archive.refs.about(RepoId.parse("org/name")).private
