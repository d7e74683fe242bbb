"""Names that differ only in case are one model, for pulls and mirrors as for hubs."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from outlast.core.digest import GitOid
from outlast.core.events import Note
from outlast.core.names import RepoId
from outlast.server.hub.routes import parse, respelled
from outlast.store.archive import Archive
from tests.clients.envs import HUB_CLIENTS
from tests.clients.run import Call, run_hub
from tests.hubsim import HubRepo, HubSim, add_alias
from tests.pull.kit import Puller, check_pulled, file_requests
from tests.serve.node import Node, outlast
from tests.serve.wire import Reply, once
from tests.warm import calls as cli

NAME, OTHER, THIRD = "Qwen/Qwen3-0.6B", "qwen/qwen3-0.6b", "QWEN/QWEN3-0.6B"
HIDDEN, OTHER_HIDDEN = "Org/Hidden", "org/hidden"
FILES = {"config.json": b'{"a": 1}', "sub/a b.txt": b"a b", "weights.bin": bytes(1 << 21)}
TOKEN = "hf_owner"


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HubSim]:
    """A hub that leads from every spelling to its own."""
    root = tmp_path / "hub"
    HubRepo(root, NAME).commit(FILES, tags=["v1"])
    HubRepo(root, HIDDEN, private=True).commit(FILES)
    for other in (OTHER, THIRD):
        add_alias(root, other, NAME)
    add_alias(root, OTHER_HIDDEN, HIDDEN)
    with HubSim(root, mode="thread", token=TOKEN) as sim:
        yield sim


def models(home: Path) -> set[str]:
    with Archive(home) as archive:
        return {str(summary.repo) for summary in archive.summaries()}


def notes(pull: Puller) -> list[str]:
    return [event.text for event in pull.events if isinstance(event, Note)]


class TestPull:
    @pytest.fixture
    def pull(self, tmp_path: Path) -> Puller:
        return Puller(tmp_path / "home")

    def test_it_is_archived_as_the_hub_spells_it(self, hub: HubSim, pull: Puller) -> None:
        pull(OTHER, hub.url)
        assert [text for text in notes(pull) if OTHER in text and NAME in text]
        check_pulled(pull.home, FILES, NAME)
        assert {entry.repo for entry in file_requests(hub)} == {NAME}
        pull(THIRD, hub.url)
        pull(f"{NAME}@v1", hub.url)
        assert models(pull.home) == {NAME}
        assert len(file_requests(hub)) == len(FILES)

    def test_its_own_spelling_is_nothing_to_tell(self, hub: HubSim, pull: Puller) -> None:
        pull(NAME, hub.url)
        assert notes(pull) == []

    def test_what_the_archive_has_keeps_its_name(self, hub: HubSim, pull: Puller) -> None:
        """As of an older version, or of another hub. Files are asked for as this hub spells it."""
        HubRepo(hub.root.parent / "old", OTHER).commit({"old.txt": b"old"})
        with HubSim(hub.root.parent / "old", mode="thread") as old:
            pull(OTHER, old.url)
        assert models(pull.home) == {OTHER}
        for asked in (NAME, THIRD, OTHER):
            pull(asked, hub.url)
            assert models(pull.home) == {OTHER}
        check_pulled(pull.home, FILES, OTHER)
        assert {entry.repo for entry in file_requests(hub)} == {NAME}
        assert len([text for text in notes(pull) if OTHER in text]) == 2

    @pytest.mark.parametrize("said", ["qwen/other", "Qwen/Qwen3-0.6B-Instruct", 7, None, ""])
    def test_a_hub_does_not_choose_another_name(
        self, hub: HubSim, pull: Puller, said: object
    ) -> None:
        commit = hub.repo(NAME).head.sha
        siblings = [
            {"rfilename": "a.txt", "size": 0, "blobId": "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"}
        ]
        body = json.dumps({"id": said, "sha": commit, "siblings": siblings})
        page = {"action": "page", "type": "application/json"}
        tree = json.dumps([])
        hub.set_faults(
            [{**page, "what": "info", "body": body}, {**page, "what": "tree", "body": tree}]
        )
        pull(NAME, hub.url)
        assert models(pull.home) == {NAME}


class TestOtherWaysIn:
    def test_add_refuses_a_second_spelling(self, tmp_path: Path) -> None:
        (tmp_path / "one.txt").write_bytes(b"one")
        add = ["add", str(tmp_path / "one.txt"), "--as"]
        cli.outlast(*add, NAME, home=tmp_path).ok()
        before = sorted((tmp_path / "archive" / "blobs").rglob("*"))
        (tmp_path / "one.txt").write_bytes(b"two")
        said = cli.outlast(*add, OTHER, home=tmp_path)
        assert "only in case" in said.failed("bad-name")
        assert "outlast ls" in said.err
        assert sorted((tmp_path / "archive" / "blobs").rglob("*")) == before
        cli.outlast(*add, NAME, home=tmp_path).ok()
        assert models(tmp_path / "archive") == {NAME}

    def test_a_cache_that_has_both(self, tmp_path: Path) -> None:
        """As clients leave one behind to which both spellings were typed."""
        for name, commit in ((NAME, "a" * 40), (OTHER, "b" * 40)):
            folder = tmp_path / "cache" / f"models--{name.replace('/', '--')}"
            (folder / "blobs").mkdir(parents=True)
            blob = folder / "blobs" / GitOid.of_blob(b"one").hex
            blob.write_bytes(b"one")
            (folder / "snapshots" / commit).mkdir(parents=True)
            (folder / "snapshots" / commit / "a.txt").symlink_to(blob)
        cli.outlast("adopt", str(tmp_path / "cache"), home=tmp_path).ok()
        assert models(tmp_path / "archive") == {NAME}


def _paths(name: str, commit: str) -> list[str]:
    api = f"/api/models/{name}"
    return [
        *(f"/{name}/resolve/main/config.json", f"/{name}/resolve/{commit}/sub/a%20b.txt"),
        *(f"/{name}/raw/main/config.json", f"/{name}/blob/main/config.json?x=%2F"),
        *(f"/{name}", f"/{name}/tree/main/sub", api, f"{api}/revision/main?blobs=true"),
        *(f"{api}/tree/main?recursive=true", f"{api}/refs", f"{api}/commits/main"),
        f"{api}/auth-check",
    ]


class TestServe:
    @pytest.mark.parametrize("archived", [True, False])
    def test_it_leads_to_the_name_that_is_here(
        self, hub: HubSim, tmp_path: Path, *, archived: bool
    ) -> None:
        """At the first request too, when only the hub upstream can know it."""
        home, commit = tmp_path / "home", hub.repo(NAME).head.sha
        if archived:
            outlast(home, "pull", NAME, "--from", hub.url, "--quiet")
        with Node(home, "--upstream", hub.url) as node:
            if not archived:
                first = once(node.url, f"/{THIRD}/resolve/main/config.json", "HEAD")
                wanted = f"/{NAME}/resolve/main/config.json"
                assert (first.status, first.headers["location"]) == (307, wanted)
            hub.clear_log()
            pairs = zip(_paths(OTHER, commit), _paths(NAME, commit), strict=True)
            for asked, wanted in pairs:
                for method in ("GET", "HEAD"):
                    reply = once(node.url, asked, method)
                    assert (reply.status, reply.headers["location"]) == (307, wanted)
                    assert not {"etag", "x-linked-etag"} & reply.headers.keys()
                    assert once(node.url, wanted, method).status in {200, 307}
            form = {"Content_Type": "application/json"}
            info = once(
                node.url, f"/api/models/{OTHER}/paths-info/main", "POST", b'{"paths":["a"]}', **form
            )
            assert info.status == 307
            assert once(node.url, f"/{OTHER}/resolve/none/config.json").status in {307, 404}
            assert not [one for one in hub.requests() if one.repo == OTHER]
        assert models(home) == {NAME}

    @pytest.mark.parametrize("client", HUB_CLIENTS)
    def test_clients_follow(self, hub: HubSim, tmp_path: Path, client: str) -> None:
        """Also those that follow a redirect of a HEAD only within a host."""
        asks: list[Call] = [
            ("download", {"repo_id": OTHER, "filename": "config.json"}),
            ("download", {"repo_id": OTHER, "filename": "weights.bin"}),
            ("snapshot", {"repo_id": OTHER}),
            ("paths_info", {"repo_id": OTHER, "paths": ["config.json"]}),
        ]
        with Node(tmp_path / "home", "--upstream", hub.url) as node:
            told = run_hub(client, node.url, tmp_path, asks)
        assert [one for one in told if "value" not in one] == []
        assert models(tmp_path / "home") == {NAME}

    def test_without_upstream(self, hub: HubSim, tmp_path: Path) -> None:
        home = tmp_path / "home"
        outlast(home, "pull", NAME, "--from", hub.url, "--quiet")
        with Node(home) as node:
            assert once(node.url, f"/{OTHER}/resolve/main/config.json").status == 307
            assert once(node.url, f"/datasets/{OTHER}/resolve/main/config.json").status == 401

    @pytest.mark.parametrize("upstream", [True, False])
    def test_what_is_hidden_stays_hidden(
        self, hub: HubSim, tmp_path: Path, *, upstream: bool
    ) -> None:
        """In every spelling it is as if it were missing, for all but those who may read it."""
        home, env = tmp_path / "home", {"HF_TOKEN": TOKEN, "HF_ENDPOINT": hub.url}
        outlast(home, "pull", HIDDEN, "--from", hub.url, "--quiet", env=env)
        more = ["--upstream", hub.url] if upstream else []
        commit = hub.repo(HIDDEN).head.sha
        with Node(home, *more, env=env) as node:
            for token in (None, "hf_wrong"):
                sent = {"Authorization": f"Bearer {token}"} if token else {}
                for asked, missing in zip(
                    _paths(OTHER_HIDDEN, commit), _paths("org/missing", commit), strict=True
                ):
                    hidden, none = once(node.url, asked, **sent), once(node.url, missing, **sent)
                    assert hidden.status in {401, 404}
                    assert _told(hidden, OTHER_HIDDEN) == _told(none, "org/missing")
                    assert HIDDEN.encode() not in hidden.body
            if upstream:
                sent = {"Authorization": f"Bearer {TOKEN}"}
                path = f"/{OTHER_HIDDEN}/resolve/main/config.json"
                assert once(node.url, path, **sent).headers["location"].startswith(f"/{HIDDEN}/")
                assert once(node.url, path).status == 401  # and the others as before
        assert models(home) == {HIDDEN}

    def test_a_hidden_model_that_is_not_here(self, hub: HubSim, tmp_path: Path) -> None:
        home = tmp_path / "home"
        with Node(home, "--upstream", hub.url, env={"HF_TOKEN": TOKEN}) as node:
            path, sent = f"/{OTHER_HIDDEN}/resolve/main/config.json", f"Bearer {TOKEN}"
            assert once(node.url, path).status == 401
            assert once(node.url, path, Authorization=sent).status == 307
            there = f"/{HIDDEN}/resolve/main/config.json"
            assert once(node.url, there, Authorization=sent).body == FILES["config.json"]
            assert once(node.url, there).status == once(node.url, path).status == 401
        assert models(home) == {HIDDEN}


def _told(reply: Reply, name: str) -> tuple[object, ...]:
    said = reply.headers.get("x-error-message", "").replace(name, "X")
    body = reply.body.replace(name.encode(), b"X")
    return reply.status, reply.headers.get("x-error-code"), said, body, reply.headers.keys()


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        ("/org/name/resolve/main/a%2Fb?x", "/Org/Name/resolve/main/a%2Fb"),
        ("/api/models/o%72g/name/tree/main", "/api/models/Org/Name/tree/main"),
        ("/models/org/name", "/models/Org/Name"),
        ("//org/name/resolve/main//evil", "/Org/Name/resolve/main//evil"),
        ("///org/name", "/Org/Name"),
    ],
)
def test_the_path_under_another_name(path: str, wanted: str) -> None:
    repo = RepoId.parse("Org/Name")
    assert respelled(path, repo) == wanted
    assert parse(wanted).repo == repo


def test_names_without_an_organisation_and_datasets() -> None:
    assert respelled("/gpt2/resolve/main/a", RepoId.parse("GPT2")) == "/GPT2/resolve/main/a"
    data = RepoId.parse("datasets/Org/Name")
    assert respelled("/datasets/org/name", data) == "/datasets/Org/Name"
    assert respelled("/api/datasets/org/name/refs", data) == "/api/datasets/Org/Name/refs"
