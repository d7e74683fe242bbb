"""Neighbours tell what they have of a base: adapters, merged models, conversions of it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from outlast.core.digest import Digest
from outlast.core.manifest import Revision
from outlast.core.names import RepoId
from outlast.node.policy import SharePolicy, Sharing
from outlast.store.archive import Archive
from tests.cli.call import inside
from tests.features.tune.adapters import write_adapter, write_base
from tests.serve.peers import Peer


@pytest.fixture(name="base")
def _base(tmp_path: Path) -> Revision:
    """Of a neighbour that has an adapter of it, and another model beside it."""
    there = tmp_path / "there"
    there.mkdir()
    inside("add", write_base(there / "base"), "--as", "org/base", home=there).ok()
    inside("add", write_base(there / "more", fill=2), "--as", "org/more", home=there).ok()
    with Archive(there / "archive") as archive:
        base = archive.revision(RepoId.parse("org/base"))
    folder = write_adapter(there / "adapter", base)
    inside("add", folder, "--as", "me/facts", home=there).ok()
    return base


@pytest.fixture(name="peer")
def _peer(tmp_path: Path, base: Revision) -> Iterator[Peer]:
    del base
    with Archive(tmp_path / "there" / "archive") as archive:
        sharing = Sharing(archive, SharePolicy())
        with Peer(archive, sharing).serving() as peer:  # type: ignore[arg-type]
            yield peer


def found(tmp_path: Path, peer: Peer, base: str, *more: str) -> list[str]:
    place = f"peer:127.0.0.1:{peer.server.port}"
    call = inside("search", *more, "--from", place, "--base", base, "--json", home=tmp_path).ok()
    return [line["repo"] for line in call.documents]


def test_what_was_made_from_it_is_found(tmp_path: Path, peer: Peer, base: Revision) -> None:
    assert found(tmp_path, peer, base.digest.hex) == ["me/facts"]
    assert found(tmp_path, peer, base.digest.hex, "style") == []
    assert found(tmp_path, peer, Digest.of(b"another").hex) == []
    place = f"peer:127.0.0.1:{peer.server.port}"
    call = inside("search", "--from", place, "--base", base.digest.hex, "--json", home=tmp_path)
    assert call.documents[0]["made_from"] == [base.digest.hex]
    assert (
        inside("search", "--from", place, "--json", home=tmp_path).documents[0]["made_from"] == []
    )


def test_a_base_by_its_name_is_the_one_here(tmp_path: Path, peer: Peer, base: Revision) -> None:
    assert inside("search", "--base", "org/base", home=tmp_path).code == 3
    inside("add", tmp_path / "there" / "base", "--as", "org/base", home=tmp_path).ok()
    assert found(tmp_path, peer, "org/base") == ["me/facts"]
    assert base.repo.name == "org/base"


def test_an_adapter_that_comes_later_is_found(tmp_path: Path, peer: Peer, base: Revision) -> None:
    source = peer.source()
    assert len(source.models(base=base.digest)) == 1
    there = tmp_path / "there"
    inside("rm", "me/facts", home=there).ok()
    assert source.models(base=base.digest) == []
    inside("add", there / "adapter", "--as", "me/again", home=there).ok()
    assert [str(one.repo) for one in source.models(base=base.digest)] == ["me/again"]


def test_a_node_that_does_not_know_the_question(peer: Peer, base: Revision) -> None:
    """It lists all that it has."""
    sharing = peer.shares
    offers = sharing.offers

    class Old:
        def __getattr__(self, name: str) -> object:
            return getattr(sharing, name)

        def offers(self, query: str = "", *, trusted: bool, base: object) -> object:
            del base
            return offers(query, trusted=trusted)

    with Peer(peer.archive, Old()).serving() as old:  # type: ignore[arg-type]
        assert len(old.source().models()) == 3
        assert old.source().models(base=base.digest) == []
