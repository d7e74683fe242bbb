"""The archive changes under a server: other processes pull, remove and collect."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.contract import MODEL, WEIGHTS, Sample, build_sample
from tests.hubsim import HubRepo, HubSim
from tests.serve.node import Node, archived, outlast, pull, until
from tests.serve.upstream import MIB, Resuming, beside_git, same, sha256, target, weights
from tests.serve.wire import Wire, once

CONFIG = target("config.json", MODEL)
LFS = target("model.safetensors", MODEL)
LARGE = "model.safetensors"
SIZE = 32 * MIB


@pytest.fixture
def sample(tmp_path: Path) -> Sample:
    return build_sample(tmp_path / "hub")


@pytest.fixture
def hub(sample: Sample) -> Iterator[HubSim]:
    with HubSim(sample.root, mode="thread") as hub:
        yield hub


@pytest.fixture
def home(hub: HubSim, tmp_path: Path) -> Path:
    pull(tmp_path / "home", hub.url, MODEL)
    return tmp_path / "home"


def test_a_pull_is_seen_at_once(sample: Sample, hub: HubSim, home: Path) -> None:
    with Node(home) as node:
        assert once(node.url, CONFIG).headers["x-repo-commit"] == sample.head.sha
        made = sample.repo(MODEL).commit({"config.json": b"{2}", "new.txt": b"new"})
        pull(home, hub.url, MODEL)
        reply = once(node.url, CONFIG)
        assert (reply.body, reply.headers["x-repo-commit"]) == (b"{2}", made.sha)
        assert once(node.url, target("new.txt", MODEL)).body == b"new"
        old = once(node.url, target("config.json", MODEL, sample.head.sha))
        assert old.body == b'{"a": 1}\n'
        refs = node.get(f"/api/models/{MODEL}/refs").json["branches"]
        assert [one["targetCommit"] for one in refs] == [made.sha]


def test_a_partial_archive_is_completed(sample: Sample, hub: HubSim, tmp_path: Path) -> None:
    home = tmp_path / "some"
    outlast(home, "pull", MODEL, "--from", hub.url, "--include", "*.json")
    with Node(home) as node:
        assert once(node.url, CONFIG).headers["x-outlast-partial"]
        assert once(node.url, LFS).status == 404
        outlast(home, "pull", MODEL, "--from", hub.url)
        assert "x-outlast-partial" not in once(node.url, CONFIG).headers
        assert same(once(node.url, LFS).body, WEIGHTS)
        assert len(node.get(f"/api/models/{MODEL}").json["siblings"]) == len(sample.head.files)


def test_what_is_removed_is_gone_but_not_for_who_has_it_open(tmp_path: Path) -> None:
    data = weights(tmp_path / "weights", SIZE)
    HubRepo(tmp_path / "hub", "org/big").commit({"model.safetensors": tmp_path / "weights"})
    home, path = tmp_path / "home", target("model.safetensors", "org/big")
    with HubSim(tmp_path / "hub", mode="thread") as hub:
        pull(home, hub.url, "org/big")
    with Node(home) as node, Wire(node.url, buffer=4096) as wire:
        wire.ask(path)
        assert wire.read(0) == b""
        outlast(home, "rm", "org/big")
        outlast(home, "gc")
        assert not archived(node, [sha256(data)])
        reply = wire.reply()
        assert reply.complete
        assert same(reply.body, data)
        gone = once(node.url, path)
        assert (gone.status, gone.headers["x-error-code"]) == (401, "RepoNotFound")
        assert node.get("/api/models").json == []


def test_collecting_does_not_disturb_a_fetch(tmp_path: Path) -> None:
    digest = sha256(weights(tmp_path / "weights", SIZE))
    HubRepo(tmp_path / "hub", "org/big").commit({"model.safetensors": tmp_path / "weights"})
    home, path = tmp_path / "home", target("model.safetensors", "org/big")
    hub = HubSim(tmp_path / "hub", mode="thread")
    with hub, Node(home, "--upstream", hub.url, "--limit-rate", "16M") as node:
        client = Resuming(path, SIZE)
        client.fetch(node.url, stop=MIB)
        while not archived(node, [digest]):
            outlast(home, "gc")
        client.insist(node.url)
        assert sha256(client.data) == digest
        assert sum(one.sent for one in hub.requests(what="resolve")) == SIZE
        until(lambda: '"missing": 0' in outlast(home, "ls", "--json"), "the manifest")
        outlast(home, "gc")
        assert sha256(once(node.url, path).body) == digest


def test_a_mirror_fetches_again_what_was_removed(
    sample: Sample, hub: HubSim, tmp_path: Path
) -> None:
    home = tmp_path / "home"

    def all_is_collected() -> bool:
        outlast(home, "gc")
        return not any(blob.is_file() for blob in (home / "blobs").rglob("*"))

    with Node(home, "--upstream", hub.url) as node:
        for _ in range(2):
            for path in sample.head.files:
                assert once(node.url, target(path, MODEL)).status == 200
            until(lambda: '"missing": 0' in outlast(home, "ls", "--json"), "the manifest")
            outlast(home, "rm", MODEL)
            # The fetch that made the manifest keeps its blobs until its session has ended.
            until(all_is_collected, "nothing is left")


def test_two_servers_share_an_archive(tmp_path: Path) -> None:
    digest = sha256(weights(tmp_path / "weights", SIZE))
    HubRepo(tmp_path / "hub", "org/big").commit({"model.safetensors": tmp_path / "weights"})
    home, path = tmp_path / "home", target("model.safetensors", "org/big")
    with HubSim(tmp_path / "hub", mode="thread") as hub:
        flags = ("--upstream", hub.url, "--limit-rate", "32M")
        with Node(home, *flags) as one, Node(home, *flags) as two:
            first, second = Resuming(path, SIZE), Resuming(path, SIZE)
            first.fetch(one.url, stop=MIB)
            second.fetch(two.url)
            first.insist(two.url)
            assert sha256(first.data) == sha256(second.data) == digest
            assert sum(each.sent for each in hub.requests(what="resolve")) == SIZE
    shutil.rmtree(home)


def test_a_mirror_completes_a_partial_archive(sample: Sample, hub: HubSim, tmp_path: Path) -> None:
    home = tmp_path / "some"
    outlast(home, "pull", MODEL, "--from", hub.url, "--include", "*.json")
    hub.clear_log()
    with Node(home, "--upstream", hub.url) as node:
        for path in sample.head.files:
            assert "x-outlast-partial" not in once(node.url, target(path, MODEL)).headers
        until(lambda: '"missing": 0' in outlast(home, "ls", "--json"), "the manifest")
    assert {one.what for one in beside_git(hub)} == {"resolve"}
    assert not hub.requests(file="config.json")
    hub.stop()
    _serves_all(home, sample)


def test_a_mirror_completes_what_was_adopted(sample: Sample, hub: HubSim, tmp_path: Path) -> None:
    """A cache has some files of a commit, and it is not known how many there are."""
    home, head = tmp_path / "adopted", sample.head
    folder = tmp_path / "cache" / "models--org--model"
    for path, data in (("config.json", b'{"a": 1}\n'), ("model.safetensors", WEIGHTS)):
        blob = folder / "blobs" / head.files[path].etag
        blob.parent.mkdir(parents=True, exist_ok=True)
        blob.write_bytes(data)
        (folder / "snapshots" / head.sha).mkdir(parents=True, exist_ok=True)
        (folder / "snapshots" / head.sha / path).symlink_to(blob)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text(head.sha)
    outlast(home, "adopt", str(tmp_path / "cache"))
    with Node(home) as node:
        assert once(node.url, CONFIG).headers["x-outlast-partial"] == "unknown"
        assert once(node.url, target("empty.txt", MODEL)).status == 404
    with Node(home, "--upstream", hub.url) as node:
        for path, file in head.files.items():
            assert len(once(node.url, target(path, MODEL)).body) == file.size, path
        assert len(node.get(f"/api/models/{MODEL}").json["siblings"]) == len(head.files)
        until(lambda: '"partial": false' in outlast(home, "ls", "--json"), "the manifest")
    assert not [one for one in hub.requests(what="resolve") if one.file in {"config.json", LARGE}]
    hub.stop()
    _serves_all(home, sample)


def _serves_all(home: Path, sample: Sample) -> None:
    with Node(home) as node:
        for path, file in sample.head.files.items():
            reply = once(node.url, target(path, MODEL))
            assert (reply.status, len(reply.body)) == (200, file.size)
            assert "x-outlast-partial" not in reply.headers
