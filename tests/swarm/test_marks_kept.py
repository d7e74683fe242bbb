"""What a stranger on the LAN said of a model does not become another's word on its way: through a
second home, a bundle, a catalogue, or the copies that static peers hold.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from outlast.bucket.home import SecondHome
from outlast.bucket.objects import open_objects
from outlast.bucket.source import BucketSource
from outlast.core.control import Control
from outlast.core.digest import GitOid
from outlast.core.errors import PolicyError
from outlast.core.events import Event, Note
from outlast.core.names import RepoId, Target
from outlast.features.durability.copies.memory import Memory
from outlast.features.durability.copies.own import OwnCopies
from outlast.features.durability.settings import CopiesSettings
from outlast.node.policy import SharePolicy, Sharing
from outlast.ops.second_home.copy import copy
from outlast.sources.settings import S3Place
from outlast.store.archive import Archive
from outlast.store.records.refs import Ref
from outlast.store.records.unconfirmed import Told
from tests.cli.call import inside
from tests.features.bundle.world import export_to, import_from
from tests.store.test_cached import bring, key

TOLD, CONFIRMED = key("told"), key("confirmed", "b")
LIAR = "peer 10.0.0.66:8091"


def tell(archive: Archive) -> None:
    """`org/told` is the word of a stranger; of `org/confirmed`, that `main` is that commit."""
    bring(archive, TOLD, b"evil", mark=False)
    bring(archive, CONFIRMED, b"right", mark=False)
    with archive.writer() as writer:
        archive.unconfirmed.put(writer, *TOLD, Told(LIAR, "2026-11-30T00:00:00+00:00"))
        for repo, commit in (TOLD, CONFIRMED):
            archive.refs.put(writer, repo, Ref("main", commit, LIAR, unconfirmed=True))
        archive.refs.put(writer, CONFIRMED[0], Ref("v1", CONFIRMED[1], "https://hub.example"))


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    with Archive(tmp_path / "home" / "archive", create=True) as archive:
        tell(archive)
        yield archive


def home_at(path: Path) -> SecondHome:
    return SecondHome(open_objects(f"file://{path}", S3Place(), create=True))


def names(home: SecondHome, repo: RepoId) -> list[str]:
    return [ref.name for ref in home.refs(repo)]


class TestSecondHome:
    def test_it_is_left_out_of_all_and_that_is_said(self, archive: Archive, tmp_path: Path) -> None:
        home, events = home_at(tmp_path / "there"), list[Event]()
        done = copy(archive, [], home, Control(events.append))
        assert [(one.repo, one.id) for one in done.revisions] == [CONFIRMED]
        assert home.repos() == [CONFIRMED[0]]
        assert names(home, CONFIRMED[0]) == ["v1"]
        told = [event.text for event in events if isinstance(event, Note)]
        assert any("org/told" in text for text in told), told

    def test_it_is_refused_by_its_name(self, archive: Archive, tmp_path: Path) -> None:
        home = home_at(tmp_path / "there")
        with pytest.raises(PolicyError, match="on the LAN alone"):
            copy(archive, [Target(TOLD[0], None)], home, Control())
        assert home.repos() == []

    def test_a_home_that_has_such_a_ref_says_so(self, archive: Archive, tmp_path: Path) -> None:
        """As an older version put it there."""
        home = home_at(tmp_path / "there")
        copy(archive, [], home, Control())
        revision = archive.load(*CONFIRMED)
        assert revision is not None
        refs = [Ref("main", CONFIRMED[1], LIAR, unconfirmed=True)]
        home.put_revision(revision, archive.refs.about(CONFIRMED[0]), refs)
        source = BucketSource(home)
        assert source.describe(CONFIRMED[0], "main").told_by == source.name
        assert not source.describe(CONFIRMED[0], "v1").told_by
        assert not source.describe(CONFIRMED[0], CONFIRMED[1].hex).told_by


class TestBundle:
    def test_a_ref_that_a_stranger_named_stays(self, archive: Archive, tmp_path: Path) -> None:
        export_to(archive, tmp_path / "usb", "org/confirmed")
        with Archive(tmp_path / "other", create=True) as other:
            (result,) = import_from(other, tmp_path / "usb")
            assert result.is_whole
            assert [ref.name for ref in other.refs.list(CONFIRMED[0])] == ["v1"]

    def test_nor_does_a_list_of_files(self, archive: Archive, tmp_path: Path) -> None:
        with pytest.raises(PolicyError, match="on the LAN alone"):
            export_to(archive, tmp_path / "usb", "org/told")


class TestCatalogue:
    @pytest.fixture
    def home(self, archive: Archive) -> Path:
        home = archive.layout.home.parent
        inside("catalogue", "init", "acme", home=home).ok()
        return home

    def test_all_leaves_it_out(self, home: Path) -> None:
        call = inside("catalogue", "add", "acme", "--all", "--json", home=home).ok()
        assert [one["repo"] for one in call.documents] == ["org/confirmed"]

    def test_it_is_refused_by_its_name(self, home: Path) -> None:
        inside("catalogue", "add", "acme", "org/told", home=home).failed("policy")
        inside("catalogue", "add", "acme", "org/confirmed@main", home=home).failed("policy")
        inside("catalogue", "add", "acme", "org/confirmed@v1", home=home).ok()


class TestCopies:
    def test_no_static_peer_is_asked_to_hold_it(self, archive: Archive, tmp_path: Path) -> None:
        """Its copy would have no mark there."""
        lines = tmp_path / "keep.txt"
        lines.write_text("org/told copies=2\norg/confirmed copies=2\n")
        settings = CopiesSettings(lists=(lines,))
        own = OwnCopies(archive, Sharing(archive, SharePolicy()), settings)
        told, confirmed = (archive.index.manifests_of(*one)[0] for one in (TOLD, CONFIRMED))
        found = own.look(Memory("f" * 32), [told, confirmed])
        assert found.manifests.keys() == {confirmed}
        assert found.unknown.keys() == {"org/told"}


def test_the_mark_was_what_kept_it_back(archive: Archive, tmp_path: Path) -> None:
    """The tests above would not fail for another reason."""
    archive.unconfirmed.delete(*TOLD)
    home = home_at(tmp_path / "there")
    done = copy(archive, [], home, Control())
    assert {one.repo for one in done.revisions} == {TOLD[0], CONFIRMED[0]}
    assert GitOid("a" * 40) in home.commits(TOLD[0])
