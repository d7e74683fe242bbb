"""What the three majors of huggingface_hub must see at any endpoint that serves the sample repos.

Subclass `HubContract`, name the class `Test…`, and give a class-scoped fixture `endpoint` that
takes `sample` and yields the URL of a hub that serves it. Where an endpoint is a variant of another
one, let `client` be `newest_client`: the newest asks it alone, but all do in `make torture`.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.clients.envs import HUB_CLIENTS
from tests.clients.run import Call, run_hub
from tests.hubsim import Commit, HubRepo

MODEL, DATASET, GATED = "org/model", "org/data", "org/gated"
WEIGHTS = bytes(range(256)) * 4096
NESTED = "deep/er/nested? file+%41\\é.txt"


@dataclass(frozen=True)
class Sample:
    """Repos on disk: a model of two commits with a tag and a branch, and a dataset."""

    root: Path
    first: Commit
    head: Commit
    data: Commit

    def repo(self, repo_id: str) -> HubRepo:
        return HubRepo(self.root, repo_id)


def build_sample(root: Path) -> Sample:
    """Make the sample repos under a hub's root."""
    model = HubRepo(root, MODEL, tags=["sample"])
    first = model.commit({"config.json": b"{}\n", "old.txt": b"old\n"}, tags=["v1"])
    model.set_ref("feature/x", first.sha)
    files = {"model.safetensors": WEIGHTS, "empty.txt": b"", NESTED: b"nested\n"}
    head = model.commit({"config.json": b'{"a": 1}\n', **files}, delete=["old.txt"])
    data = HubRepo(root, DATASET, kind="dataset").commit(
        {"train/part-0.parquet": WEIGHTS[:1000], "README.md": b"# data\n"}
    )
    return Sample(root, first, head, data)


def digest(data: bytes) -> list[Any]:
    """Size and sha256, as the drivers give them."""
    return [len(data), hashlib.sha256(data).hexdigest()]


def _by_revision(first: str) -> dict[str, Call]:
    """A download and an info for each way to name the first commit."""
    revisions = {"tag": "v1", "branch": "feature/x", "commit": first, "ref": "refs/tags/v1"}
    calls: dict[str, Call] = {}
    for name, revision in revisions.items():
        asked = {"repo_id": MODEL, "revision": revision}
        calls[f"download {name}"] = ("download", asked | {"filename": "old.txt"})
        calls[f"info {name}"] = ("info", asked)
    return calls


def _calls(sample: Sample) -> dict[str, Call]:
    """Every call of the contract by its name; all are made in one process."""
    data = {"repo_id": DATASET, "repo_type": "dataset"}
    missing = {"repo_id": MODEL, "filename": "none.txt"}
    no_revision = {"repo_id": MODEL, "filename": "config.json", "revision": "none"}
    return _by_revision(sample.first.sha) | {
        "snapshot": ("snapshot", {"repo_id": MODEL}),
        "snapshot again": ("snapshot", {"repo_id": MODEL}),
        "snapshot offline": ("snapshot", {"repo_id": MODEL, "local_files_only": True}),
        "snapshot some": ("snapshot", {"repo_id": MODEL, "revision": "v1", "allow_patterns": "o*"}),
        "snapshot data": ("snapshot", data),
        "metadata lfs": ("metadata", {"repo_id": MODEL, "filename": "model.safetensors"}),
        "metadata git": ("metadata", {"repo_id": MODEL, "filename": "config.json"}),
        "tree": ("tree", {"repo_id": MODEL, "recursive": True}),
        "tree folder": ("tree", {"repo_id": MODEL, "path_in_repo": "deep/er", "expand": True}),
        "tree missing": ("tree", {"repo_id": MODEL, "path_in_repo": "none"}),
        "paths": ("paths_info", {"repo_id": MODEL, "paths": ["none", "deep", "model.safetensors"]}),
        "refs": ("refs", {"repo_id": MODEL}),
        "commits": ("commits", {"repo_id": MODEL}),
        "info blobs": ("info", {"repo_id": MODEL, "files_metadata": True}),
        "info data": ("info", data),
        "exists": ("file_exists", {"repo_id": MODEL, "filename": "config.json"}),
        "exists not": ("file_exists", missing),
        "revision exists": ("revision_exists", {"repo_id": MODEL, "revision": "feature/x"}),
        "revision exists not": ("revision_exists", {"repo_id": MODEL, "revision": "none"}),
        "fs ls": ("fs_ls", {"path": MODEL}),
        "fs glob": ("fs_glob", {"pattern": f"{MODEL}/**/*.txt"}),
        "fs read": ("fs_read", {"path": f"{MODEL}/model.safetensors", "start": 999, "length": 777}),
        "fs revision": ("fs_isfile", {"path": f"{MODEL}@v1/old.txt"}),
        "no entry": ("download", missing),
        "no revision": ("download", no_revision),
        "no revision info": ("info", {"repo_id": MODEL, "revision": "none"}),
        "no repo offline": ("download", missing | {"repo_id": "a/b", "local_files_only": True}),
    }


class HubContract:
    """Tests that hold at every endpoint."""

    @pytest.fixture(scope="class")
    @classmethod
    def sample(cls, tmp_path_factory: pytest.TempPathFactory) -> Sample:
        return build_sample(tmp_path_factory.mktemp("sample"))

    @pytest.fixture(scope="class")
    @classmethod
    def endpoint(cls, sample: Sample) -> Iterator[str]:
        raise NotImplementedError

    @classmethod
    def more_calls(cls, sample: Sample) -> dict[str, Call]:
        """Calls that a subclass has besides, made in the same process."""
        del sample
        return {}

    @pytest.fixture(scope="class", params=HUB_CLIENTS)
    @classmethod
    def client(cls, request: pytest.FixtureRequest) -> str:
        return str(request.param)

    @pytest.fixture(scope="class")
    @classmethod
    def told(
        cls,
        sample: Sample,
        endpoint: str,
        client: str,
        tmp_path_factory: pytest.TempPathFactory,
    ) -> dict[str, dict[str, Any]]:
        """The result of each call by its name."""
        calls = _calls(sample) | cls.more_calls(sample)
        home = tmp_path_factory.mktemp(client)
        results = run_hub(client, endpoint, home, list(calls.values()))
        return dict(zip(calls, results, strict=True))

    def test_snapshots(self, told: dict[str, Any], sample: Sample) -> None:
        model = {
            "config.json": digest(b'{"a": 1}\n'),
            "model.safetensors": digest(WEIGHTS),
            "empty.txt": digest(b""),
            NESTED: digest(b"nested\n"),
        }
        for name in ("snapshot", "snapshot again", "snapshot offline"):
            assert told[name] == {"value": {"name": sample.head.sha, "files": model}}, name
        some = {"name": sample.first.sha, "files": {"old.txt": digest(b"old\n")}}
        assert told["snapshot some"] == {"value": some}
        data = {"train/part-0.parquet": digest(WEIGHTS[:1000]), "README.md": digest(b"# data\n")}
        assert told["snapshot data"] == {"value": {"name": sample.data.sha, "files": data}}

    @pytest.mark.parametrize("name", ["tag", "branch", "commit", "ref"])
    def test_revisions(self, told: dict[str, Any], sample: Sample, name: str) -> None:
        assert told[f"download {name}"] == {"value": digest(b"old\n")}
        assert told[f"info {name}"]["value"]["sha"] == sample.first.sha

    def test_metadata(self, told: dict[str, Any], sample: Sample) -> None:
        for name, path in (("lfs", "model.safetensors"), ("git", "config.json")):
            file = sample.head.files[path]
            wanted = {"commit": sample.head.sha, "etag": file.etag, "size": file.size}
            assert told[f"metadata {name}"] == {"value": wanted}

    def test_listings(self, told: dict[str, Any], sample: Sample) -> None:
        rows = {row["path"]: row for row in told["tree"]["value"]}
        assert {path for path, row in rows.items() if not row["folder"]} == set(sample.head.files)
        assert {path for path, row in rows.items() if row["folder"]} == {"deep", "deep/er"}
        for path, file in sample.head.files.items():
            wanted = (file.size, file.oid, file.sha256)
            assert (rows[path]["size"], rows[path]["oid"], rows[path]["sha256"]) == wanted
        assert [row["path"] for row in told["tree folder"]["value"]] == [NESTED]
        assert told["tree folder"]["value"][0]["last"] == sample.head.sha
        assert "EntryNotFoundError" in told["tree missing"]["bases"]
        found = {row["path"]: row for row in told["paths"]["value"]}
        assert found == {path: rows[path] for path in ("deep", "model.safetensors")}

    def test_info(self, told: dict[str, Any], sample: Sample) -> None:
        info = told["info blobs"]["value"]
        assert (info["class"], info["id"], info["sha"]) == ("ModelInfo", MODEL, sample.head.sha)
        assert (info["private"], info["gated"]) == (False, False)
        assert info["files"] == {
            path: [file.size, file.oid, file.sha256] for path, file in sample.head.files.items()
        }
        data = told["info data"]["value"]
        assert (data["class"], data["sha"]) == ("DatasetInfo", sample.data.sha)

    def test_refs_and_commits(self, told: dict[str, Any], sample: Sample) -> None:
        first, head = sample.first.sha, sample.head.sha
        assert told["refs"]["value"]["branches"] == {"main": head, "feature/x": first}
        assert told["refs"]["value"]["tags"] == {"v1": first}
        assert told["commits"]["value"][0] == head

    def test_existence(self, told: dict[str, Any]) -> None:
        for name in ("exists", "revision exists"):
            assert told[name] == {"value": True}
            assert told[f"{name} not"] == {"value": False}

    def test_file_system(self, told: dict[str, Any]) -> None:
        names = told["fs ls"]["value"]
        assert names[f"{MODEL}/model.safetensors"] == len(WEIGHTS)
        assert set(told["fs glob"]["value"]) == {f"{MODEL}/empty.txt", f"{MODEL}/{NESTED}"}
        assert told["fs read"] == {"value": digest(WEIGHTS[999 : 999 + 777])}
        assert told["fs revision"] == {"value": True}

    @pytest.mark.parametrize(
        ("name", "error"),
        [
            ("no entry", "EntryNotFoundError"),
            ("no revision", "RevisionNotFoundError"),
            ("no revision info", "RevisionNotFoundError"),
            ("no repo offline", "LocalEntryNotFoundError"),
        ],
    )
    def test_errors(self, told: dict[str, Any], name: str, error: str) -> None:
        assert error in told[name].get("bases", ()), told[name]
