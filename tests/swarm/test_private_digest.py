"""A manifest by its digest, where it is that of a private model: strangers are told nothing."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from random import Random

import pytest

from outlast.core.digest import Digest
from outlast.fetch.transfer import Wishes
from outlast.ops.pull_digest import ByDigest, pull_manifest
from outlast.store.records.facts import About
from tests.swarm.overheard import Overheard, overhearing
from tests.swarm.sites import MODEL, Running, Site, site, until

FILES = {"config.json": b"{}", "weights.bin": Random(3).randbytes(3 << 20)}


@pytest.fixture
def stranger() -> Iterator[Overheard]:
    with overhearing() as found:
        yield found


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[Site]:
    """A static peer that has a private model."""
    with site(tmp_path / "holder", ("127.0.0.1", 9), files=FILES) as holder:
        close(holder)
        yield holder


def close(one: Site) -> None:
    with one.archive.writer() as writer:
        one.archive.refs.put_about(writer, MODEL, About(private=True))


def meet(node: Site, stranger: Overheard) -> None:
    node.node.contacts.meet("127.0.0.1", stranger.port, static=False)
    until(lambda: any(n.peer_port == stranger.port for n in node.around().near()), "it answers")


def pull(node: Site, digest: Digest) -> ByDigest:
    ask = partial(pull_manifest, node.archive, digest, [], node.around())
    return Running(lambda: ask(wishes=Wishes(), control=node.control)).result()


def secrets_of(one: Site) -> list[str]:
    revision = one.archive.revision(MODEL)
    blobs = [entry.sha256.hex for entry in revision.files if entry.sha256 is not None]
    return [str(MODEL), revision.digest.hex, *blobs]


def test_static_peers_are_asked_first(holder: Site, stranger: Overheard, tmp_path: Path) -> None:
    """And it is theirs to say that it is restricted."""
    with site(tmp_path / "node", holder) as node:
        meet(node, stranger)
        until(lambda: len(node.around().near()) == 2, "both answer")
        assert pull(node, holder.archive.revision(MODEL).digest).pulled.manifest is not None
        assert node.files() == FILES
        assert node.archive.refs.about(MODEL).private
        assert stranger.heard
        assert stranger.knows(*secrets_of(holder)) == []


def test_of_what_is_here_nothing_is_asked_of_strangers(
    stranger: Overheard, holder: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was signed about a private manifest is asked of static peers alone."""
    asked: list[str] = []
    monkeypatch.setattr(
        "outlast.ops.pull_digest.take_statements",
        lambda _archive, _revision, sources, _control: asked.extend(s.name for s in sources),
    )
    meet(holder, stranger)
    digest = holder.archive.revision(MODEL).digest
    pull(holder, digest)
    assert asked == []
    with holder.archive.writer() as writer:
        holder.archive.refs.put_about(writer, MODEL, About())
    pull(holder, digest)
    assert asked == [f"peer 127.0.0.1:{stranger.port}"]


def test_strangers_are_asked_where_no_static_peer_has_it(holder: Site, tmp_path: Path) -> None:
    with site(tmp_path / "empty") as empty, site(tmp_path / "node", empty) as node:
        with holder.archive.writer() as writer:
            holder.archive.refs.put_about(writer, MODEL, About())
        node.meet(holder)
        pull(node, holder.archive.revision(MODEL).digest)
        assert node.files() == FILES
