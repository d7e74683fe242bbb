"""`outlast serve` is to the three majors of huggingface_hub what the hub is: over an archive whose
hub is gone, and as a mirror that begins with nothing.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.clients.contract import (
    DATASET,
    GATED,
    MODEL,
    WEIGHTS,
    HubContract,
    Sample,
    build_sample,
    digest,
)
from tests.clients.envs import HUB_CLIENTS
from tests.clients.run import Call, run_hub
from tests.hubsim import HubSim
from tests.serve.forms import pack_all
from tests.serve.node import Node, pull

pytestmark = pytest.mark.clients

FILE = {"repo_id": MODEL, "filename": "model.safetensors"}
CONFIG = {"repo_id": MODEL, "filename": "config.json"}


class OutlastContract(HubContract):
    """The contract, and what of it an archive cannot know as the hub does."""

    def test_history_is_what_is_archived(self, told: dict[str, Any], sample: Sample) -> None:
        """Not git's: the commit asked for, then the others that are here."""
        assert told["commits"] == {"value": [sample.head.sha, sample.first.sha]}

    def test_folders_have_ids_but_not_those_of_git(
        self, told: dict[str, Any], sample: Sample
    ) -> None:
        folders = {row["path"]: row["oid"] for row in told["tree"]["value"] if row["folder"]}
        assert folders.keys() == {"deep", "deep/er"}
        assert len(set(folders.values())) == 2
        assert not set(folders.values()) & set(sample.head.folders.values())

    def test_the_last_commit_of_a_file_is_the_archived_one(
        self, told: dict[str, Any], sample: Sample
    ) -> None:
        assert {row["last"] for row in told["tree folder"]["value"]} == {sample.head.sha}


class TestArchive(OutlastContract):
    packed = False

    @pytest.fixture(scope="class")
    @classmethod
    def endpoint(cls, sample: Sample, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
        home = tmp_path_factory.mktemp("archive") / "home"
        with HubSim(sample.root, mode="thread") as hub:
            pull(home, hub.url, MODEL, f"{MODEL}@v1", f"{MODEL}@feature/x", f"datasets/{DATASET}")
        if cls.packed:
            pack_all(home)
        with Node(home) as node:
            yield node.url


class TestCapsules(TestArchive):
    packed = True


class TestMirror(OutlastContract):
    @pytest.fixture(scope="class")
    @classmethod
    def endpoint(cls, sample: Sample, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
        home = tmp_path_factory.mktemp("mirror") / "home"
        with (
            HubSim(sample.root, mode="thread", cdn=True, resolve_cache=True) as hub,
            Node(home, "--upstream", hub.url) as node,
        ):
            yield node.url
            assert not any(entry.has_auth for entry in hub.requests())


@pytest.fixture
def sample(tmp_path: Path) -> Sample:
    return build_sample(tmp_path / "hub")


@pytest.fixture(params=HUB_CLIENTS)
def client(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def _missing(sample: Sample) -> dict[str, tuple[Call, str]]:
    """Calls for what does not exist, and what each has to raise."""
    short = sample.head.sha[:7]
    return {
        "repo": (("download", CONFIG | {"repo_id": "org/none"}), "RepositoryNotFoundError"),
        "repo info": (("info", {"repo_id": "org/none"}), "RepositoryNotFoundError"),
        "repo tree": (("tree", {"repo_id": "org/none"}), "RepositoryNotFoundError"),
        "repo refs": (("refs", {"repo_id": "org/none"}), "RepositoryNotFoundError"),
        "repo snapshot": (("snapshot", {"repo_id": "org/none"}), "RepositoryNotFoundError"),
        "dataset": (
            ("info", {"repo_id": MODEL, "repo_type": "dataset"}),
            "RepositoryNotFoundError",
        ),
        "auth": (("auth_check", {"repo_id": "org/none"}), "RepositoryNotFoundError"),
        "file": (("download", CONFIG | {"filename": "none"}), "EntryNotFoundError"),
        "file of a commit": (
            ("download", CONFIG | {"filename": "none", "revision": sample.head.sha}),
            "EntryNotFoundError",
        ),
        "file of a short id": (
            ("download", CONFIG | {"filename": "none", "revision": short}),
            "EntryNotFoundError",
        ),
        "revision": (("download", CONFIG | {"revision": "none"}), "RevisionNotFoundError"),
        "commit": (("download", CONFIG | {"revision": "0" * 40}), "RevisionNotFoundError"),
        "revision snapshot": (
            ("snapshot", {"repo_id": MODEL, "revision": "none"}),
            "RevisionNotFoundError",
        ),
        "revision tree": (
            ("tree", {"repo_id": MODEL, "revision": "none"}),
            "RevisionNotFoundError",
        ),
    }


def _check_missing(client: str, url: str, home: Path, sample: Sample) -> None:
    calls = _missing(sample)
    told = run_hub(client, url, home, [call for call, _ in calls.values()])
    for (name, (_, error)), one in zip(calls.items(), told, strict=True):
        assert error in one.get("bases", ()), (name, one)
        assert "GatedRepoError" not in one["bases"], (name, one)


def test_what_is_missing_in_an_archive(client: str, sample: Sample, tmp_path: Path) -> None:
    with HubSim(sample.root, mode="thread") as hub:
        pull(tmp_path / "home", hub.url, MODEL)
    with Node(tmp_path / "home") as node:
        _check_missing(client, node.url, tmp_path / "client", sample)
        short = {"revision": sample.head.sha[:7]}
        calls: list[Call] = [
            ("download", CONFIG | short),
            ("snapshot", {"repo_id": MODEL} | short),
            ("models", {"search": "MOD"}),
            ("repo_exists", {"repo_id": MODEL}),
            ("repo_exists", {"repo_id": "org/none"}),
            ("whoami", {"token": "any"}),
        ]
        download, snapshot, *others = run_hub(client, node.url, tmp_path / "client", calls)
    assert download == {"value": digest(b'{"a": 1}\n')}
    assert snapshot["value"]["name"] == sample.head.sha
    assert [one["value"] for one in others] == [[MODEL], True, False, "anyone"]


@pytest.mark.parametrize("token", [None, "good"], ids=["anonymous", "with a token"])
def test_what_is_missing_upstream(
    client: str, sample: Sample, tmp_path: Path, token: str | None
) -> None:
    """The hub says 401 to the anonymous and 404 to others; what it means is the same."""
    with HubSim(sample.root, mode="thread", token="good") as hub:
        env = {"HF_TOKEN": token, "HF_ENDPOINT": hub.url} if token else {}
        with Node(tmp_path / "home", "--upstream", hub.url, env=env) as node:
            _check_missing(client, node.url, tmp_path / "client", sample)


def test_a_gated_repo_is_gated_behind_a_mirror(client: str, sample: Sample, tmp_path: Path) -> None:
    sample.repo(GATED).commit({"config.json": b"{}"})
    sample.repo(GATED).configure(gated="manual")
    config = {"repo_id": GATED, "filename": "config.json"}
    calls: list[Call] = [("download", config), ("info", {"repo_id": GATED})]
    with HubSim(sample.root, mode="thread", token="good") as hub:
        with Node(tmp_path / "none", "--upstream", hub.url) as node:
            download, info = run_hub(client, node.url, tmp_path / "first", calls)
            assert download["error"] == "GatedRepoError"
            assert info["value"]["gated"] == "manual"
        env = {"HF_TOKEN": "good", "HF_ENDPOINT": hub.url}
        with Node(tmp_path / "good", "--upstream", hub.url, env=env) as node:
            download, info = run_hub(client, node.url, tmp_path / "second", calls)
            assert download == {"value": digest(b"{}")}


def test_tokens(client: str, sample: Sample, tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text("alice letmein\n")
    calls: list[Call] = [
        ("download", FILE),
        ("snapshot", {"repo_id": MODEL}),
        ("tree", {"repo_id": MODEL}),
        ("whoami", {}),
    ]
    with HubSim(sample.root, mode="thread") as hub:
        pull(tmp_path / "home", hub.url, MODEL)
    with Node(tmp_path / "home", "--tokens", str(tokens)) as node:
        home = tmp_path / "in"
        download, snapshot, _, whoami = run_hub(client, node.url, home, calls, token="letmein")
        assert download == {"value": digest(WEIGHTS)}
        assert snapshot["value"]["name"] == sample.head.sha
        assert whoami == {"value": "alice"}
        for token in (None, "wrong"):
            told = run_hub(client, node.url, tmp_path / str(token), calls, token=token)
            assert not [one for one in told if "value" in one]
            assert {one["status"] for one in told[2:] if one["status"]} <= {401}
            names = {base for one in told for base in one["bases"]}
            assert not names & {"GatedRepoError", "EntryNotFoundError", "RevisionNotFoundError"}


def test_every_model_of_a_large_archive_is_listed(
    client: str, sample: Sample, tmp_path: Path
) -> None:
    """More than a page of them: clients follow the link as it is."""
    sample.repo("org/other").commit({"config.json": b"{}"})
    with HubSim(sample.root, mode="thread") as hub:
        pull(tmp_path / "home", hub.url, MODEL, "org/other")
    with Node(tmp_path / "home", tuned={"outlast.server.tuning.TUNING.list_page": 1}) as node:
        (told,) = run_hub(client, node.url, tmp_path / "client", [("models", {})])
    assert told == {"value": [MODEL, "org/other"]}
