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
from tests.clients.run import Call, client_env, run_cli, run_hub
from tests.hubsim import HubSim
from tests.serve.forms import pack_all
from tests.serve.node import Node, pull

pytestmark = pytest.mark.clients

TOKEN: dict[str, Any] = {"token": "hf_any"}
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


def _missing_calls(sample: Sample) -> dict[str, Call]:
    return {f"missing {name}": call for name, (call, _) in _missing(sample).items()}


def _check_missing(told: dict[str, Any], sample: Sample) -> None:
    for name, (_, error) in _missing(sample).items():
        one = told[f"missing {name}"]
        assert error in one.get("bases", ()), (name, one)
        assert "GatedRepoError" not in one["bases"], (name, one)


_UPLOAD: dict[str, Any] = {"repo_id": MODEL, "content": "text", "path_in_repo": "new.txt"}
WRITES: dict[str, Call] = {
    "create a repo": ("change", {"method": "create_repo", "repo_id": "org/new"}),
    "create one that is there": (
        "change",
        {"method": "create_repo", "repo_id": MODEL, "exist_ok": True},
    ),
    "upload": ("upload", _UPLOAD),
    "upload to a dataset": ("upload", _UPLOAD | {"repo_id": DATASET, "repo_type": "dataset"}),
    "upload a card": ("upload", _UPLOAD | {"content": "# x", "path_in_repo": "README.md"}),
    "delete a file": ("change", {"method": "delete_file", "repo_id": MODEL, "path_in_repo": "x"}),
    "branch": ("change", {"method": "create_branch", "repo_id": MODEL, "branch": "b"}),
    "no branch": ("change", {"method": "delete_branch", "repo_id": MODEL, "branch": "b"}),
    "tag": ("change", {"method": "create_tag", "repo_id": MODEL, "tag": "t"}),
    "no tag": ("change", {"method": "delete_tag", "repo_id": MODEL, "tag": "v1"}),
    "delete": ("change", {"method": "delete_repo", "repo_id": MODEL}),
    "move": ("change", {"method": "move_repo", "from_id": MODEL, "to_id": "org/moved"}),
    "settings": ("change", {"method": "update_repo_settings", "repo_id": MODEL, "private": True}),
    "squash": ("change", {"method": "super_squash_history", "repo_id": MODEL}),
    "discuss": ("change", {"method": "create_discussion", "repo_id": MODEL, "title": "title"}),
}


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

    @classmethod
    def more_calls(cls, sample: Sample) -> dict[str, Call]:
        short = {"revision": sample.head.sha[:7]}
        return _missing_calls(sample) | {
            "download short": ("download", CONFIG | short),
            "snapshot short": ("snapshot", {"repo_id": MODEL} | short),
            "models": ("models", {"search": "MOD"}),
            "repo exists": ("repo_exists", {"repo_id": MODEL}),
            "repo exists not": ("repo_exists", {"repo_id": "org/none"}),
            "whoami": ("whoami", {"token": "any"}),
            **{
                f"write: {name}": (action, {**arguments, **TOKEN})
                for name, (action, arguments) in WRITES.items()
            },
        }

    @pytest.mark.parametrize("name", WRITES)
    def test_a_client_shows_that_the_archive_is_read_only(
        self, told: dict[str, Any], name: str
    ) -> None:
        one = told[f"write: {name}"]
        assert "HfHubHTTPError" in one.get("bases", ()), one
        assert "this archive is read-only: 'outlast add'" in one["message"]
        assert "permission" not in one["message"]

    def test_what_is_missing(self, told: dict[str, Any], sample: Sample) -> None:
        _check_missing(told, sample)

    def test_short_commit_ids(self, told: dict[str, Any], sample: Sample) -> None:
        assert told["download short"] == {"value": digest(b'{"a": 1}\n')}
        assert told["snapshot short"]["value"]["name"] == sample.head.sha

    def test_what_there_is(self, told: dict[str, Any]) -> None:
        assert told["models"] == {"value": [MODEL]}
        assert told["repo exists"] == {"value": True}
        assert told["repo exists not"] == {"value": False}
        assert told["whoami"] == {"value": "anyone"}


@pytest.mark.torture
class TestCapsules(TestArchive):
    packed = True

    @pytest.fixture(scope="class")
    @classmethod
    def client(cls, newest_client: str) -> str:
        return newest_client


GATED_CONFIG = {"repo_id": GATED, "filename": "config.json"}
PRIVATE_CONFIG = {"repo_id": "org/private", "filename": "config.json"}


def _gate(sample: Sample) -> None:
    sample.repo(GATED).commit({"config.json": b"{}"})
    sample.repo(GATED).configure(gated="manual")


class TestMirror(OutlastContract):
    """Of a hub that says 401 to the anonymous, whatever is missing, and 404 to others."""

    @pytest.fixture(scope="class")
    @classmethod
    def endpoint(cls, sample: Sample, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
        home = tmp_path_factory.mktemp("mirror") / "home"
        _gate(sample)
        with (
            HubSim(sample.root, mode="thread", cdn=True, resolve_cache=True, token="good") as hub,
            Node(home, "--upstream", hub.url) as node,
        ):
            yield node.url
            assert not any(entry.has_auth for entry in hub.requests())

    @classmethod
    def more_calls(cls, sample: Sample) -> dict[str, Call]:
        return _missing_calls(sample) | {
            "gated": ("download", GATED_CONFIG),
            "gated info": ("info", {"repo_id": GATED}),
        }

    def test_what_is_missing(self, told: dict[str, Any], sample: Sample) -> None:
        _check_missing(told, sample)

    def test_a_gated_repo(self, told: dict[str, Any]) -> None:
        assert told["gated"]["error"] == "GatedRepoError"
        assert told["gated info"]["error"] == "GatedRepoError"

    def test_the_command_line(
        self, client: str, endpoint: str, sample: Sample, tmp_path: Path
    ) -> None:
        there = tmp_path / "there"
        environment = client_env(endpoint, tmp_path / "home")
        run_cli(client, ["download", MODEL, "--local-dir", str(there)], environment)
        for path, file in sample.head.files.items():
            assert (there / path).stat().st_size == file.size
        assert (there / "model.safetensors").read_bytes() == WEIGHTS


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    made = build_sample(tmp_path_factory.mktemp("sample"))
    made.repo("org/other").commit({"config.json": b"{}"})
    _gate(made)
    made.repo("org/private").commit({"config.json": b"{}"})
    made.repo("org/private").configure(private=True)
    return made


@pytest.fixture(params=HUB_CLIENTS)
def client(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def trusted(sample: Sample, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A mirror that has a token for its hub."""
    home = tmp_path_factory.mktemp("trusted") / "home"
    with HubSim(sample.root, mode="thread", token="good", limited_token="poor") as hub:
        env = {"HF_TOKEN": "good", "HF_ENDPOINT": hub.url}
        with Node(home, "--upstream", hub.url, env=env) as node:
            yield node.url


def test_a_mirror_with_a_token(client: str, trusted: str, sample: Sample, tmp_path: Path) -> None:
    """It lends it to no client; one with a token reads what the hub lets it read."""
    calls = _missing_calls(sample)
    for token in ("none", "poor", "good"):
        own = {"token": False if token == "none" else token}
        calls[f"gated {token}"] = ("download", GATED_CONFIG | own)
        calls[f"gated auth {token}"] = ("auth_check", {"repo_id": GATED} | own)
        calls[f"private {token}"] = ("download", PRIVATE_CONFIG | own)
        calls[f"private info {token}"] = ("info", {"repo_id": "org/private"} | own)
    results = run_hub(client, trusted, tmp_path, list(calls.values()))
    told = dict(zip(calls, results, strict=True))
    _check_missing(told, sample)
    for token in ("none", "poor"):
        for name in ("gated", "gated auth"):
            assert told[f"{name} {token}"]["error"] == "GatedRepoError"
        for name in ("private", "private info"):
            assert told[f"{name} {token}"]["error"] == "RepositoryNotFoundError"
    assert told["gated good"] == told["private good"] == {"value": digest(b"{}")}
    assert "value" in told["gated auth good"]
    assert told["private info good"]["value"]["private"] is True


@pytest.fixture(scope="module")
def locked(sample: Sample, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A node that asks for tokens, and lists one model a page."""
    folder = tmp_path_factory.mktemp("locked")
    tokens = folder / "tokens"
    tokens.write_text("alice letmein\n")
    with HubSim(sample.root, mode="thread") as hub:
        pull(folder / "home", hub.url, MODEL, "org/other")
    paged = {"outlast.server.tuning.TUNING.list_page": 1}
    with Node(folder / "home", "--tokens", str(tokens), tuned=paged) as node:
        yield node.url


def test_tokens(client: str, locked: str, sample: Sample, tmp_path: Path) -> None:
    """And every model of an archive of more than a page: clients follow the link as it is."""
    calls: list[Call] = [
        ("download", FILE),
        ("snapshot", {"repo_id": MODEL}),
        ("tree", {"repo_id": MODEL}),
        ("whoami", {}),
    ]
    wrong, good = (
        [(action, {**arguments, "token": token}) for action, arguments in calls]
        for token in ("wrong", "letmein")
    )
    listed = ("models", {"token": "letmein"})
    results = run_hub(client, locked, tmp_path, [*calls, *wrong, *good, listed])
    for token, told in (("none", results[:4]), ("wrong", results[4:8])):
        assert not [one for one in told if "value" in one], token
        assert {one["status"] for one in told[2:] if one["status"]} <= {401}, token
        names = {base for one in told for base in one["bases"]}
        assert not names & {"GatedRepoError", "EntryNotFoundError", "RevisionNotFoundError"}, token
    download, snapshot, _, whoami, models = results[8:]
    assert download == {"value": digest(WEIGHTS)}
    assert snapshot["value"]["name"] == sample.head.sha
    assert whoami == {"value": "alice"}
    assert models == {"value": [MODEL, "org/other"]}
