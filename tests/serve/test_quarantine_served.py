"""Pickles are in quarantine: `serve` lists them and gives them to no program, but to archives."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import HfApi, hf_hub_download, snapshot_download
from huggingface_hub.errors import HfHubHTTPError

from tests.hubsim import HubRepo, HubSim
from tests.intake.formats.canaries import canaries
from tests.serve.node import Node, archived, outlast, pull, until
from tests.serve.upstream import MIB, sha256, target, weights
from tests.serve.wire import once

TWO, OLD = "org/two", "org/old"
SAFE = "model.safetensors"
PICKLE = "pytorch_model.bin"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return canaries(tmp_path_factory.mktemp("canaries") / "sprung")


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory, files: dict[str, bytes]) -> Iterator[HubSim]:
    """A model with safetensors and their pickled twin, and one of pickles alone."""
    root = tmp_path_factory.mktemp("hub")
    header = b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
    safe = len(header).to_bytes(8, "little") + header + bytes(4)
    HubRepo(root, TWO).commit({SAFE: safe, PICKLE: files["weights.pt"], "config.json": b"{}"})
    HubRepo(root, OLD).commit({PICKLE: files["weights.pt"], "config.json": b"{}"})
    with HubSim(root, mode="thread") as made:
        yield made


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory, hub: HubSim) -> Iterator[Node]:
    home = tmp_path_factory.mktemp("served") / "home"
    pull(home, hub.url, TWO, OLD)
    with Node(home) as made:
        yield made


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_pickle_is_refused_with_the_reason_and_what_to_do(
    node: Node, files: dict[str, bytes], method: str
) -> None:
    reply = once(node.url, target(PICKLE, TWO), method)
    assert reply.status == 403
    said = reply.headers["x-error-message"]
    assert "in quarantine" in said
    assert "pickle" in said
    assert repr(SAFE) in said
    assert f"outlast quarantine allow {sha256(files['weights.pt'])}" in said
    assert once(node.url, target(SAFE, TWO), method).status == 200


def test_it_is_listed_and_raw_gives_none_of_its_bytes(node: Node, files: dict[str, bytes]) -> None:
    rows = json.loads(once(node.url, f"/api/models/{TWO}/tree/main").body)
    assert PICKLE in {row["path"] for row in rows}
    whole = once(node.url, f"/api/models/{TWO}/tree/main?recursive=true")
    assert PICKLE not in {row["path"] for row in json.loads(whole.body)}
    assert whole.headers["x-outlast-withheld"] == "1"
    old = once(node.url, f"/api/models/{OLD}/tree/main?recursive=true")
    assert PICKLE in {row["path"] for row in json.loads(old.body)}
    raw = once(node.url, f"/{TWO}/raw/main/{PICKLE}")
    assert files["weights.pt"] not in raw.body


def test_an_archive_gets_it(node: Node, files: dict[str, bytes], tmp_path: Path) -> None:
    assert once(node.url, target(PICKLE, TWO), X_Outlast_For="archive").body == files["weights.pt"]
    pull(tmp_path / "other", node.url, TWO)
    assert archived_there(tmp_path / "other", files["weights.pt"])


def archived_there(home: Path, data: bytes) -> bool:
    return any(path.name.startswith(sha256(data)) for path in home.rglob("*"))


def test_a_snapshot_of_both_forms_is_what_runs_no_code(node: Node, tmp_path: Path) -> None:
    folder = Path(snapshot_download(TWO, endpoint=node.url, cache_dir=tmp_path))
    assert {path.name for path in folder.iterdir()} == {SAFE, "config.json"}
    info = HfApi(endpoint=node.url).model_info(TWO)
    assert info.siblings is not None
    assert PICKLE not in {one.rfilename for one in info.siblings}


def test_a_model_of_pickles_alone_fails_and_says_why(node: Node, tmp_path: Path) -> None:
    with pytest.raises(HfHubHTTPError, match="in quarantine"):
        snapshot_download(OLD, endpoint=node.url, cache_dir=tmp_path)
    with pytest.raises(HfHubHTTPError, match="outlast quarantine allow"):
        hf_hub_download(OLD, PICKLE, endpoint=node.url, cache_dir=tmp_path)


def test_what_is_allowed_by_digest_is_given_out_until_that_is_undone(
    hub: HubSim, files: dict[str, bytes], tmp_path: Path
) -> None:
    home, digest = tmp_path / "home", sha256(files["weights.pt"])
    pull(home, hub.url, OLD)
    with Node(home) as node:
        assert once(node.url, target(PICKLE, OLD)).status == 403
        outlast(home, "quarantine", "allow", digest)
        assert once(node.url, target(PICKLE, OLD)).body == files["weights.pt"]
        outlast(home, "quarantine", "undo", digest)
        assert once(node.url, target(PICKLE, OLD)).status == 403
    with Node(home, "--allow-unsafe", digest) as node:
        assert once(node.url, target(PICKLE, OLD)).status == 200
    with Node(home, "--allow-unsafe", "0" * 64) as node:
        assert once(node.url, target(PICKLE, OLD)).status == 403


class TestMirror:
    def test_a_pickle_that_comes_is_archived_and_not_passed_on(
        self, hub: HubSim, files: dict[str, bytes], tmp_path: Path
    ) -> None:
        with Node(tmp_path / "home", "--upstream", hub.url) as node:
            assert once(node.url, target(PICKLE, OLD)).status == 403
            until(lambda: archived(node, [sha256(files["weights.pt"])]), "the blob")
            assert once(node.url, target(PICKLE, OLD), "HEAD").status == 403

    def test_a_large_one_is_refused_by_its_first_bytes(self, tmp_path: Path) -> None:
        """No byte of it goes out, also where the rest has not come yet."""
        data = weights(tmp_path / "weights", 12 * MIB)
        zipped = b"PK\x03\x04" + bytes(22) + (16).to_bytes(2, "little") + bytes(2)
        zipped += b"archive/data.pkl" + data
        (tmp_path / "zipped").write_bytes(zipped)
        HubRepo(tmp_path / "hub", OLD).commit(
            {PICKLE: tmp_path / "zipped", "raw.bin": tmp_path / "weights"}
        )
        with (
            HubSim(tmp_path / "hub", mode="thread") as hub,
            Node(tmp_path / "home", "--upstream", hub.url, "--limit-rate", "8M") as node,
        ):
            reply = once(node.url, target(PICKLE, OLD))
            assert reply.status == 403
            assert "archive/data.pkl" in reply.headers["x-error-message"]
            assert not archived(node, [sha256(zipped)])
            assert once(node.url, target("raw.bin", OLD)).body == data

    def test_the_operator_may_let_all_through(
        self, hub: HubSim, files: dict[str, bytes], tmp_path: Path
    ) -> None:
        (tmp_path / "config.toml").write_text('[serve]\nunsafe = "allow"\n')
        env = {"OUTLAST_CONFIG": str(tmp_path / "config.toml")}
        with Node(tmp_path / "home", "--upstream", hub.url, env=env) as node:
            assert once(node.url, target(PICKLE, TWO)).body == files["weights.pt"]
            info = HfApi(endpoint=node.url).model_info(TWO)
            assert info.siblings is not None
            assert PICKLE in {one.rfilename for one in info.siblings}
