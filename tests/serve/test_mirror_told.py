"""What a node on the LAN alone said: asked for upstream first, and else served with a mark."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from outlast.codec.hashing import names_of
from outlast.core.digest import GitOid
from outlast.core.manifest import FileEntry, Revision
from outlast.core.names import RepoId
from outlast.store.archive import Archive
from outlast.store.records.refs import Ref
from outlast.store.records.unconfirmed import Told
from tests.hubsim import HubRepo, HubSim
from tests.serve.node import Node, outlast, until

NAME = "org/name"
REPO = RepoId.parse(NAME)
FILES = {"config.json": b'{"a": 1}', "model.bin": bytes(range(256)) * 99}
LIES = {**FILES, "config.json": b'{"a": 2}', "extra.py": b"import evil"}
DARK = "http://127.0.0.1:9"
MARK = "X-Outlast-Listed-By"
PLACES = ["main", "its commit"]


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HubSim]:
    HubRepo(tmp_path / "hub", NAME).commit(FILES)
    with HubSim(tmp_path / "hub", mode="thread") as hub:
        yield hub


@pytest.fixture
def commit(hub: HubSim) -> str:
    return HubRepo(hub.root, NAME).head.sha


@pytest.fixture
def home(tmp_path: Path, commit: str) -> Path:
    """An archive as ``pull --from lan`` leaves it where a liar was the only one to answer."""
    entries = []
    home = tmp_path / "home"
    with Archive(home, create=True) as archive, archive.writer() as writer:
        for path, data in LIES.items():
            names = names_of(data)
            archive.put(writer, data, names)
            git = GitOid.of_blob(data) if path.endswith(".json") else None
            entries.append(FileEntry(path, len(data), git_sha1=git).with_names(names))
        told = Told("peer 192.0.2.1:8091", "2026-01-01T00:00:00+00:00")
        archive.unconfirmed.put(writer, REPO, GitOid(commit), told)
        archive.put_revision(writer, Revision.of(REPO, GitOid(commit), entries))
        ref = Ref("main", GitOid(commit), told.by, told.since, "branch", unconfirmed=True)
        archive.refs.put(writer, REPO, ref)
        archive.refs.put(writer, REPO, replace(ref, name="theirs"))
    return home


def listing(node: Node, ref: str) -> tuple[set[str], dict[str, Any], str | None]:
    """The paths of a revision, what describes it, and the mark of both."""
    info = node.get(f"/api/models/{NAME}/revision/{ref}")
    tree = node.get(f"/api/models/{NAME}/tree/{ref}?recursive=true")
    assert (info.status, tree.status) == (200, 200)
    paths = {row["path"] for row in json.loads(tree.body) if row["type"] == "file"}
    document = json.loads(info.body)
    assert paths == {row["rfilename"] for row in document["siblings"]}
    assert info.headers.get(MARK) == tree.headers.get(MARK)
    return paths, document, info.headers.get(MARK)


@pytest.mark.parametrize("place", PLACES)
def test_the_hub_answers(home: Path, hub: HubSim, commit: str, place: str) -> None:
    ref = commit if place != "main" else place
    with Node(home, "--upstream", hub.url) as node:
        paths, info, told = listing(node, ref)
        assert paths == FILES.keys()
        assert told is None
        assert "listed_by" not in info
        assert node.get(f"/{NAME}/resolve/{ref}/extra.py").status == 404
        assert node.get(f"/{NAME}/resolve/{ref}/config.json").body == FILES["config.json"]
        until(lambda: b'"missing": 0' in outlast(home, "ls", "--json").encode())
    with Archive(home) as archive:
        assert archive.unconfirmed.all() == frozenset()
        assert {e.path for e in archive.revision(REPO, commit).files} == FILES.keys()


@pytest.mark.parametrize("place", PLACES)
def test_the_hub_is_slow(home: Path, hub: HubSim, commit: str, place: str) -> None:
    """It is waited for longer than where a hub has said before what is there."""
    ref = commit if place != "main" else place
    hub.set_faults([{"action": "delay", "seconds": 3, "what": "info"}])
    with Node(home, "--upstream", hub.url) as node:
        paths, _, told = listing(node, ref)
    assert paths == FILES.keys()
    assert told is None


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("flags", [(), ("--upstream", DARK)], ids=["no upstream", "dark"])
def test_no_hub_answers(home: Path, commit: str, flags: tuple[str, ...], place: str) -> None:
    """The operator has pulled it so, and gets it so, with the mark."""
    ref = commit if place != "main" else place
    with Node(home, *flags) as node:
        paths, info, told = listing(node, ref)
        assert paths == LIES.keys()
        assert told == info["listed_by"] == "neighbour"
        file = node.get(f"/{NAME}/resolve/{ref}/extra.py")
        assert (file.body, file.headers[MARK]) == (LIES["extra.py"], "neighbour")
        page = node.get(f"/{NAME}/tree/{ref}", Accept="text/html")
        assert b"no hub has confirmed" in page.body
        [row] = json.loads(node.get("/api/models").body)
        assert row["listed_by"] == "neighbour"
        assert node.get(f"/api/models/{NAME}/refs").headers[MARK] == "neighbour"


def test_their_refs_are_not_the_hubs(home: Path, hub: HubSim) -> None:
    with Node(home, "--upstream", hub.url) as node:
        reply = node.get(f"/api/models/{NAME}/refs")
    assert [row["name"] for row in json.loads(reply.body)["branches"]] == ["main"]
    assert MARK not in reply.headers


def test_the_mark_goes_on(home: Path, hub: HubSim, tmp_path: Path, commit: str) -> None:
    """Who pulls from a server that says so has the mark too, until a hub answers."""
    third = tmp_path / "third"
    with Node(home) as node:
        outlast(third, "pull", NAME, "--from", node.url, "--no-swarm")
        with Archive(third) as archive:
            assert archive.unconfirmed.all() == {(REPO, GitOid(commit))}
        outlast(third, "pull", NAME, "--from", node.url, "--from", hub.url, "--no-swarm")
    with Archive(third) as archive:
        assert archive.unconfirmed.all() == frozenset()
        assert {entry.path for entry in archive.revision(REPO).files} == FILES.keys()
