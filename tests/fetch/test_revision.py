"""What is noted of a model while it is fetched."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from outlast.core.digest import GitOid
from outlast.core.names import RepoId
from outlast.fetch.revision import note_facts
from outlast.sources.base import Listing, RepoClaims
from outlast.store.archive import Archive
from outlast.store.records.facts import About

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
