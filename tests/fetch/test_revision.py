"""What is noted of a model while it is fetched."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from outlast.codec.hashing import names_of
from outlast.core.cancel import Cancel
from outlast.core.control import Control
from outlast.core.digest import Digest, GitOid
from outlast.core.errors import NotArchivedError
from outlast.core.events import ignore
from outlast.core.manifest import FileEntry, Revision
from outlast.core.names import RepoId
from outlast.fetch.revision import (
    FetchContext,
    _groups,
    fetch_files,
    may_open,
    note_facts,
    remember,
    start_draft,
)
from outlast.fetch.transfer import Wishes
from outlast.sources.base import Listing, RepoClaims
from outlast.sources.http import HttpClient
from outlast.sources.hub import HubSource
from outlast.sources.settings import HttpSettings
from outlast.store.archive import Archive
from outlast.store.records.draft_writer import DraftWriter
from outlast.store.records.facts import About
from outlast.store.records.refs import Ref
from tests.hubsim import HubRepo, HubSim

REPO = RepoId.parse("org/model")
COMMIT = GitOid("c" * 40)
HUB = RepoClaims(False, False, ("text",), {"license": "mit"})
NODE = RepoClaims(False, False, (), {})
"""All that a node says of a model that it takes for open."""


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    with Archive(tmp_path / "archive", create=True) as archive:
        yield archive


def note(archive: Archive, *all_facts: RepoClaims, source: str = "http://hub") -> About:
    """What is known of a model after each of its sources spoke."""
    for facts in all_facts:
        with archive.writer() as writer:
            note_facts(archive, writer, Listing(REPO, COMMIT, (), facts), source)
    return archive.refs.about(REPO)


@pytest.mark.parametrize("gated", [False, "auto", "manual"])
@pytest.mark.parametrize("private", [False, True])
class TestRestriction:
    def test_a_node_does_not_lift_it(
        self, archive: Archive, *, private: bool, gated: bool | str
    ) -> None:
        hub = RepoClaims(private, gated, HUB.tags, HUB.facts)
        about = note(archive, hub, NODE)
        assert (about.private, about.gated) == (private, gated)
        assert about.tags == HUB.tags

    def test_a_node_sets_it(self, archive: Archive, *, private: bool, gated: bool | str) -> None:
        about = note(archive, HUB, RepoClaims(private, gated, (), {}))
        assert (about.private, about.gated) == (private, gated)
        assert about.tags == HUB.tags

    def test_a_hub_lifts_it(self, archive: Archive, *, private: bool, gated: bool | str) -> None:
        about = note(archive, RepoClaims(private, gated, (), {}), HUB)
        assert (about.private, about.gated) == (False, False)


def test_what_is_here_for_a_private_model_alone_comes_from_the_sources(archive: Archive) -> None:
    """A neighbour that trusts this node may send it for that model's sake: it proves nothing."""
    shared, new = names_of(b"private weights"), FileEntry("b", 3, sha256=Digest.of(b"new"))
    entry = FileEntry("a", 15).with_names(shared)
    with archive.writer() as writer:
        archive.put(writer, b"private weights", shared)
        archive.put_revision(writer, Revision.of(REPO, COMMIT, [entry]))
        archive.refs.put_about(writer, REPO, About(private=True))
        hub = HubSource(HttpClient(HttpSettings()), "http://hub")
        context = FetchContext(archive, writer, [hub], Wishes(), Control())
        other = RepoId.parse("org/other")
        assert _groups(context, other, [entry, new]) == [([new], False), ([entry], True)]
        assert _groups(context, REPO, [entry, new]) == [([entry, new], False)]
        archive.refs.put_about(writer, REPO, About())
        assert _groups(context, other, [entry, new]) == [([entry, new], False)]


def test_only_the_hub_that_a_model_came_from_lifts_its_restriction(archive: Archive) -> None:
    """Another hub may call something else by this name."""
    with archive.writer() as writer:
        archive.refs.put(writer, REPO, Ref("main", COMMIT, "http://hub"))
    private = RepoClaims(True, False, HUB.tags, HUB.facts)
    assert note(archive, private).private
    assert note(archive, HUB, source="http://other").private
    assert not note(archive, HUB, source="http://hub").private


def test_the_same_of_a_commit_that_no_ref_names(archive: Archive) -> None:
    """Who registers the name at another hub is not its owner."""
    hub, other = (HubSource(HttpClient(HttpSettings()), f"http://{name}") for name in ("a", "b"))
    private = RepoClaims(True, False, HUB.tags, HUB.facts)
    with archive.writer() as writer:
        listing = Listing(REPO, COMMIT, (), private)
        remember(archive, writer, listing, COMMIT.hex, hub, cancel=Cancel())
    assert archive.refs.list(REPO) == []
    assert not may_open(archive, REPO, other.name)
    assert note(archive, HUB, source=other.name).private
    assert may_open(archive, REPO, hub.name)
    about = note(archive, HUB, source=hub.name)
    assert not about.private
    assert about.notes


def test_a_file_that_does_not_come_keeps_none_of_the_other_group_back(
    archive: Archive, tmp_path: Path
) -> None:
    data = b"private weights"
    entry = FileEntry("a", len(data)).with_names(names_of(data))
    gone = FileEntry("gone", 3, sha256=Digest.of(b"new"))
    other = RepoId.parse("org/other")
    made = HubRepo(tmp_path / "hub", "org/other").commit({"a": data})
    commit = GitOid(made.sha)
    with HubSim(tmp_path / "hub", mode="thread") as hub, archive.writer() as writer:
        archive.put(writer, data, names_of(data))
        archive.put_revision(writer, Revision.of(REPO, COMMIT, [entry]))
        archive.refs.put_about(writer, REPO, About(private=True))
        source = HubSource(HttpClient(HttpSettings()), hub.url)
        context = FetchContext(archive, writer, [source], Wishes(), Control())
        assert _groups(context, other, [gone, entry]) == [([gone], False), ([entry], True)]
        start_draft(archive, writer, other, commit, [gone, entry])
        with (
            DraftWriter(archive, writer, (other, commit), ignore) as draft_writer,
            pytest.raises(NotArchivedError),
        ):
            fetch_files(context, other, commit, [gone, entry], draft_writer)
    revision = archive.load(other, commit)
    assert revision is not None
    assert [file.path for file in revision.files] == ["a"]
    assert [file.path for file in revision.missing] == ["gone"]
