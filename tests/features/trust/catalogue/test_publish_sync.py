"""What is published is what a follower gets; what changes is all that is fetched."""

from pathlib import Path

import pytest

from outlast.core.errors import PolicyError
from outlast.features.trust.catalogue.folders import RootPin
from outlast.features.trust.catalogue.making.own import read_own
from outlast.features.trust.catalogue.making.publish import publish
from outlast.features.trust.catalogue.sync import unfollow
from tests.features.trust.catalogue.shelf import DAY, NOW, Shelf, entry, follow_it, sync_it


def test_what_is_published_is_synced(shelf: Shelf, home: Path) -> None:
    first, second = entry("Qwen/Qwen3", 1), entry("datasets/squad", 1)
    shelf.publish(first, second)
    follow_it(home, shelf)
    done = sync_it(home, shelf)
    assert done.added == tuple(sorted([first.name.path, second.name.path]))
    assert done.freshness.is_current
    assert done.changed
    again = sync_it(home, shelf)
    assert not again.changed
    assert again.added == ()
    assert again.entries == 2


def test_a_second_publication_brings_the_difference(shelf: Shelf, home: Path) -> None:
    first = entry("Qwen/Qwen3", 1)
    shelf.publish(first)
    follow_it(home, shelf)
    sync_it(home, shelf)
    newer = entry("Qwen/Qwen3", 2)
    shelf.publish(newer)
    assert sync_it(home, shelf).added == (newer.name.path,)
    shelf.unstage(first.name.path)
    shelf.publish()
    done = sync_it(home, shelf)
    assert done.removed == (first.name.path,)
    assert done.entries == 1


def test_bins_come_when_a_role_has_many_entries(shelf: Shelf, home: Path) -> None:
    many = [entry(f"org{n % 7}/model{n}", 1) for n in range(300)]
    shelf.publish(*many)
    own = read_own(shelf.folder, NOW)
    assert "others.2-3" in own.lists
    follow_it(home, shelf)
    done = sync_it(home, shelf)
    assert done.entries == 300
    one = entry("org0/another", 1)
    shelf.publish(one)
    before = done.received
    done = sync_it(home, shelf)
    assert done.added == (one.name.path,)
    assert done.received < before / 2


def test_a_publisher_signs_for_its_own_models(shelf: Shelf, home: Path) -> None:
    keys = shelf.publisher("acme", "acme")
    mine = entry("acme/model", 1)
    shelf.stage(mine)
    away = shelf.publish()
    assert away.waiting
    assert away.entries == 0
    done = shelf.publish(ring=shelf.ring(shelf.keys, keys))
    assert done.entries == 1
    follow_it(home, shelf)
    assert sync_it(home, shelf).added == (mine.name.path,)


def test_a_publisher_signs_elsewhere_and_the_operator_publishes(shelf: Shelf) -> None:
    keys = shelf.publisher("acme", "acme")
    mine = entry("acme/model", 1)
    shelf.stage(mine)
    signed = shelf.publish(ring=shelf.ring(keys))
    assert "operator" in signed.waiting[-1]
    assert shelf.publish().entries == 1


def test_two_keys_of_a_publisher_must_sign(shelf: Shelf, tmp_path: Path) -> None:
    keys = shelf.publisher("acme", "one", "two", threshold=2)
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        for suffix in ("pem", "pub"):
            (keys / f"{name}.{suffix}").rename(tmp_path / name / f"{name}.{suffix}")
    shelf.stage(entry("acme/model", 1))
    done = shelf.publish(ring=shelf.ring(shelf.keys, tmp_path / "one"))
    assert any("1 of 2" in text for text in done.waiting)
    assert done.entries == 0
    assert shelf.publish().entries == 0  # the operator's own key adds nothing
    done = publish(shelf.folder, shelf.ring(shelf.keys, tmp_path / "two"), NOW, cosign=True)
    assert done.entries == 1
    assert not done.waiting


def test_first_use_is_said_and_stays(shelf: Shelf, home: Path) -> None:
    follow_it(home, shelf, root=False)
    assert sync_it(home, shelf).record.pinned is RootPin.FIRST_USE
    with pytest.raises(PolicyError, match="not replaced"):
        follow_it(home, shelf, root=True)


def test_another_root_is_never_taken_in_silence(shelf: Shelf, home: Path, tmp_path: Path) -> None:
    shelf.publish(entry("a/b"))
    follow_it(home, shelf)
    sync_it(home, shelf)
    other = Shelf(tmp_path / "other")
    other.init()
    with pytest.raises(PolicyError, match="another root"):
        follow_it(home, other)
    unfollow(home, "acme")
    follow_it(home, other)


def test_publishing_again_keeps_it_current(shelf: Shelf, home: Path) -> None:
    shelf.publish(entry("a/b"))
    follow_it(home, shelf)
    sync_it(home, shelf)
    shelf.now = NOW + 20 * DAY
    assert not sync_it(home, shelf).freshness.is_current
    shelf.publish()
    done = sync_it(home, shelf)
    assert done.freshness.is_current
    assert done.entries == 1
