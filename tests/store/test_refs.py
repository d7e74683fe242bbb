"""Refs and what a hub says of a model, as small files."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from outlast.core.errors import BadNameError, DamagedRecordError, OutlastError
from outlast.core.names import RepoId
from outlast.store.archive import Archive
from outlast.store.records.facts import About
from outlast.store.records.refs import Ref
from tests.store.build import COMMIT, OTHER, REPO, check_error

REPOS = [RepoId.parse(t) for t in ("gpt2", "org/a", "org/b", "datasets/org/a", "datasets/squad")]
NAMES = ["main", "refs/pr/1", "100%", "é", "a.b", "A+B=C", "x" * 200]
ABOUT = About(True, "manual", ("a", "é\n"), {"pipeline_tag": "text-generation"})
OPEN = About(tags=("a", "é\n"), facts={"pipeline_tag": "text-generation"})


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    with Archive(tmp_path / "home", create=True) as made:
        yield made


def set_ref(archive: Archive, repo: RepoId, ref: Ref) -> None:
    with archive.writer() as writer:
        archive.refs.put(writer, repo, ref)


@pytest.mark.parametrize("name", NAMES)
def test_round_trip(archive: Archive, name: str) -> None:
    ref = Ref(name, COMMIT, "https://hub.example", "2026-01-01T00:00:00+00:00")
    for repo in REPOS:
        assert archive.refs.get(repo, name) is None
        set_ref(archive, repo, ref)
        assert archive.refs.get(repo, name) == ref
        assert archive.refs.list(repo) == [ref]
    set_ref(archive, REPOS[1], Ref(name, OTHER))
    assert archive.refs.get(REPOS[1], name) == Ref(name, OTHER)
    assert archive.refs.get(REPOS[2], name) == ref
    assert set(archive.refs.repos()) == set(REPOS)
    with Archive(archive.layout.home) as again:
        assert again.refs.get(REPOS[0], name) == ref


@pytest.mark.parametrize("about", [About(private=True), About(gated="manual")])
def test_that_a_model_is_not_for_all_outlives_its_refs(archive: Archive, about: About) -> None:
    """A revision without a ref may still be here."""
    with archive.writer() as writer:
        archive.refs.put(writer, REPO, Ref("main", COMMIT))
        archive.refs.put_about(writer, REPO, about)
    assert archive.refs.delete(REPO, "main")
    assert list(archive.refs.repos()) == []
    assert archive.refs.list(REPO) == []
    assert archive.refs.about(REPO) == about
    assert list(archive.refs.stamps()) == [REPO]


def test_what_cannot_be_read_hides_nothing_else(archive: Archive) -> None:
    with archive.writer() as writer:
        for name in ("main", "v1", "v2"):
            archive.refs.put(writer, REPO, Ref(name, COMMIT))
    folder = archive.layout.repo_refs(REPO)
    (folder / "v1").write_bytes(b"\xff")
    (folder / "v3").mkdir()
    found = archive.refs.read(REPO)
    assert [ref.name for ref in found.refs] == ["main", "v2"]
    assert list(found.damaged) == ["v1"]
    assert archive.refs.list(REPO) == [*found.refs]
    assert archive.refs.list(REPOS[1]) == []


def test_the_last_ref_takes_its_folders_along(archive: Archive) -> None:
    with archive.writer() as writer:
        archive.refs.put(writer, REPO, Ref("main", COMMIT))
        archive.refs.put(writer, REPO, Ref("v1", COMMIT))
        archive.refs.put_about(writer, REPO, OPEN)
    assert archive.refs.delete(REPO, "main")
    assert archive.refs.about(REPO) == OPEN
    assert archive.refs.delete(REPO, "v1")
    assert not archive.refs.delete(REPO, "v1")
    assert os.listdir(archive.layout.refs) == []
    assert list(archive.refs.repos()) == []
    assert archive.refs.about(REPO) == About()


@pytest.mark.parametrize("about", [About(), ABOUT, About(gated=True), About(facts={"a": "b\0"})])
def test_about_round_trip(archive: Archive, about: About) -> None:
    with archive.writer() as writer:
        archive.refs.put(writer, REPO, Ref("main", COMMIT))
        archive.refs.put_about(writer, REPO, about)
        assert archive.refs.about(REPO) == about
        archive.refs.put_about(writer, REPO, about)
    assert [ref.name for ref in archive.refs.list(REPO)] == ["main"]


@pytest.mark.parametrize("name", ["", "..", "../x", "/etc/passwd", ".about", "a\0b", "a\\b"])
def test_bad_names_touch_nothing(archive: Archive, name: str) -> None:
    set_ref(archive, REPO, Ref("main", COMMIT))
    before = sorted(archive.layout.home.rglob("*"))
    with pytest.raises(BadNameError):
        archive.refs.get(REPO, name)
    with pytest.raises(BadNameError):
        set_ref(archive, REPO, Ref(name, COMMIT))
    with pytest.raises(BadNameError):
        archive.refs.delete(REPO, name)
    assert sorted(archive.layout.home.rglob("*")) == before


def test_a_twin_in_case_is_refused_where_the_file_system_takes_it_for_the_same(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_ref(archive, RepoId.parse("org/name"), Ref("main", COMMIT))
    twin = RepoId.parse("org/Name")
    for look in ("is_dir", "exists"):
        real = getattr(Path, look)

        def found(self: Path, real: Callable[[Path], bool] = real) -> bool:
            return self.name.lower() == "name" or real(self)

        monkeypatch.setattr(Path, look, found)
    with pytest.raises(BadNameError):
        set_ref(archive, twin, Ref("main", OTHER))


def test_deleting_one_ref_beside_a_damaged_one(archive: Archive) -> None:
    set_ref(archive, REPO, Ref("main", COMMIT))
    set_ref(archive, REPO, Ref("v1", COMMIT))
    (archive.layout.repo_refs(REPO) / "v1").write_bytes(b"damaged")
    with pytest.raises(DamagedRecordError):
        archive.refs.get(REPO, "v1")
    assert archive.refs.get(REPO, "main") is not None
    for name in ("main", "v1"):
        assert archive.refs.delete(REPO, name), "also what is damaged can be removed"


@pytest.mark.parametrize("stray", ["folder", "file"])
def test_foreign_entries_among_the_refs(archive: Archive, stray: str) -> None:
    """A folder or file that a person or a file manager left: no traceback, whatever else."""
    set_ref(archive, REPO, Ref("main", COMMIT))
    place = archive.layout.repo_refs(REPO) / ".DS_Store"
    if stray == "folder":
        place.mkdir()
    else:
        place.write_bytes(b"\0\0\0\1Bud1")
    try:
        assert [ref.name for ref in archive.refs.list(REPO)] == ["main"]
    except OutlastError as error:
        check_error(error)
    for path in ("stray", "a/b/c"):
        (archive.layout.refs / path).mkdir(parents=True)
    try:
        assert REPO in set(archive.refs.repos())
    except OutlastError as error:
        check_error(error)


def test_a_name_has_one_spelling(archive: Archive) -> None:
    """Whatever the file system takes for the same."""
    given = {text: RepoId.parse(text) for text in ("Org/Name", "org/name", "ORG/NAME", "org/names")}
    first, other, third, longer = given.values()
    assert archive.refs.spelling(other) == other
    set_ref(archive, first, Ref("main", COMMIT))
    set_ref(archive, longer, Ref("main", COMMIT))
    for repo in (first, other, third):
        assert archive.refs.spelling(repo) == first
    assert archive.refs.spelling(longer) == longer
    dataset = RepoId.parse("datasets/org/name")
    assert archive.refs.spelling(dataset) == dataset
    for twin in (other, third):
        with archive.writer() as writer:
            with pytest.raises(BadNameError, match="only in case") as caught:
                archive.refs.put(writer, twin, Ref("main", OTHER))
            check_error(caught.value)
            with pytest.raises(BadNameError):
                archive.refs.put_about(writer, twin, ABOUT)
            with pytest.raises(BadNameError):
                archive.refs.introduce(writer, twin)
    assert set(archive.refs.repos()) == {first, longer}
    assert archive.refs.delete(first, "main")
    assert archive.refs.spelling(other) == other


def test_two_spellings_of_an_older_archive_stay(archive: Archive) -> None:
    first, other = RepoId.parse("Org/Name"), RepoId.parse("org/name")
    set_ref(archive, first, Ref("main", COMMIT))
    shutil.copytree(archive.layout.repo_refs(first), archive.layout.repo_refs(other))
    if {path.name for path in (archive.layout.refs / "models").iterdir()} != {"Org", "org"}:
        return  # this file system cannot have both
    for repo in (first, other):
        assert archive.refs.spelling(repo) == repo
        with archive.writer() as writer:
            archive.refs.put_about(writer, repo, ABOUT)
    third = RepoId.parse("ORG/name")
    assert archive.refs.spelling(third) == third
    with pytest.raises(BadNameError):
        set_ref(archive, third, Ref("main", COMMIT))
