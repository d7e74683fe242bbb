"""What was learned of other places about a model: records that may be lost."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from outlast.core.digest import Digest, GitOid
from outlast.core.errors import CorruptError
from outlast.core.names import RepoId
from outlast.store.archive import Archive
from outlast.store.records.equals import MOST_EQUALS, Equal, Equals
from outlast.store.records.holders import MOST_HOLDERS, SeenHolder, SeenHolders

REPO, OTHER = RepoId.parse("org/name"), RepoId.parse("datasets/squad")
COMMIT = GitOid("c" * 40)
COUNTS = st.integers(0, 1 << 50)
TEXTS = st.text(max_size=40)


def equal(hub: str, name: str, files: int = 3, of: int = 3, more: int = 0) -> Equal:
    there = RepoId.parse(name)
    return Equal(
        hub, there, COMMIT, COMMIT, files, of, files, of, more, "2026-01-01T00:00:00+00:00"
    )


def holder(number: int, *, whole: bool = True, group: str = "") -> SeenHolder:
    return SeenHolder(f"n{number}", "hub", group or f"g{number}", 3, number, whole, "2026-01-01")


@settings(max_examples=25)
@given(st.builds(SeenHolder, TEXTS, TEXTS, TEXTS, COUNTS, COUNTS, st.booleans(), TEXTS))
def test_holders_are_read_as_they_were_written(one: SeenHolder) -> None:
    seen = SeenHolders(COMMIT, 3, 9, "2026-01-01", (one,))
    assert SeenHolders.decode(seen.encode()) == seen


@settings(max_examples=25)
@given(TEXTS, COUNTS, COUNTS)
def test_equals_are_read_as_they_were_written(hub: str, files: int, more: int) -> None:
    one = Equal(hub, OTHER, COMMIT, COMMIT, files, files, 1, 2, more, "now", (Digest.of(b"a"),))
    assert Equals.decode(Equals((one,)).encode()) == Equals((one,))


@settings(max_examples=25)
@given(st.binary(max_size=200) | st.from_regex(rb'\{"(equals|holders)": ?\[.*\]\}', fullmatch=True))
def test_anything_else_is_corrupt(data: bytes) -> None:
    for kind in (Equals, SeenHolders):
        try:
            kind.decode(data)
        except CorruptError:
            continue
        assert kind is Equals
        assert Equals.decode(data) == Equals()


def test_a_record_for_each_model(tmp_path: Path) -> None:
    with Archive(tmp_path, create=True) as archive:
        assert archive.equals.get(REPO) is None
        first, second = Equals((equal("h", "a/b"),)), Equals((equal("h", "c/d"),))
        with archive.writer() as writer:
            archive.equals.put(writer, REPO, first)
            archive.equals.put(writer, OTHER, second)
        assert dict(archive.equals.all()) == {REPO: first, OTHER: second}
        archive.equals.delete(REPO)
        archive.equals.delete(REPO)
        assert dict(archive.equals.all()) == {OTHER: second}


def test_one_that_is_damaged_says_nothing(tmp_path: Path) -> None:
    with Archive(tmp_path, create=True) as archive:
        seen = SeenHolders(COMMIT, 3, 9, "2026-01-01", (holder(1),))
        with archive.writer() as writer:
            archive.holders.put(writer, REPO, seen)
            path = archive.holders.path(REPO)
            path.write_bytes(path.read_bytes().replace(b"n1", b"n2"))
            assert archive.holders.get(REPO) is None
            assert list(archive.holders.all()) == []
            archive.holders.put(writer, REPO, seen)
        assert archive.holders.get(REPO) == seen


def test_names_with_the_most_bytes_come_first() -> None:
    known = Equals()
    for one in (equal("h", "a/part", 1), equal("h", "a/more", more=2), equal("h", "a/same")):
        known = known.with_one(one)
    known = known.with_one(equal("other", "b/b")).with_one(equal("h", "a/none", 0))
    assert [str(name) for name in known.names_at("h")] == ["a/same", "a/more", "a/part"]
    assert known.names_at("nowhere") == []


def test_both_are_bounded() -> None:
    known = Equals()
    for number in range(MOST_EQUALS + 5):
        known = known.with_one(equal("h", f"a/m{number}"))
    assert len(known.known) == MOST_EQUALS
    assert known.known[0].name.name == f"a/m{MOST_EQUALS + 4}"
    newer = known.with_one(equal("h", "a/m9", 1))
    assert [one.files for one in newer.known if one.name.name == "a/m9"] == [1]
    many = tuple(holder(number, whole=number == 0) for number in range(MOST_HOLDERS + 5))
    kept = SeenHolders.decode(SeenHolders(COMMIT, 3, 9, "", many).encode()).holders
    assert len(kept) == MOST_HOLDERS
    assert [one.name for one in kept[:2]] == ["n0", f"n{MOST_HOLDERS + 4}"]


def test_holders_of_one_group_are_one() -> None:
    rows = (holder(1, group="g"), holder(2, group="g"), holder(3, whole=False))
    assert SeenHolders(COMMIT, 3, 9, "", rows).whole_groups == {"g"}


@pytest.mark.parametrize(
    "body", [b"[]", b'{"equals": {}}', b'{"equals": [1]}', b'{"equals": [{}]}']
)
def test_what_is_no_list_of_equals(body: bytes) -> None:
    with pytest.raises(CorruptError):
        Equals.decode(body)
