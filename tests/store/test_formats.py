"""Archives of every format that was ever written are read, and brought up to date by a write."""

import os
import shutil
import stat
from pathlib import Path

import pytest

from outlast.core.names import RepoId
from outlast.store.archive import Archive
from outlast.store.collect import collect
from outlast.store.records import upgrade
from outlast.store.records.facts import About
from outlast.store.records.refs import Ref
from outlast.store.records.survey import survey
from tests.store.build import COMMIT, OTHER
from tests.store.fault import Crash, FaultyOs, die, seeing

GOLDEN = Path(__file__).parents[1] / "golden" / "archives"
OPEN, CLOSED = RepoId.parse("org/open"), RepoId.parse("datasets/org/closed")
MAIN = Ref("main", COMMIT, "https://hub.example", "2026-01-01T00:00:00+00:00", "branch")
PR = Ref("refs/pr/1", COMMIT, complete=OTHER)
ABOUT = About(private=True, gated="manual", tags=("license:mit",), facts={"library_name": "x"})


def opened(tmp_path: Path, version: int) -> Archive:
    home = tmp_path / "home"
    shutil.copytree(GOLDEN / f"v{version}", home)
    for path in home.rglob("*"):  # git keeps no modes
        if path.is_file():
            small = path.relative_to(home).parts[0] in {"refs", "second", "drafts", "shared"}
            os.chmod(path, 0o644 if small else 0o444)
    return Archive(home)


def check(archive: Archive, version: int) -> None:
    assert archive.refs.list(OPEN) == [MAIN, PR]
    assert archive.refs.list(CLOSED) == [Ref("v1", OTHER)]
    assert archive.refs.about(CLOSED) == ABOUT
    assert archive.refs.about(OPEN) == About()
    draft = archive.load(CLOSED, OTHER)
    assert draft is not None
    assert [entry.path for entry in draft.files] == ["1"]
    assert [entry.path for entry in draft.missing] == ["2", "3"]
    assert archive.shares.get("ab" * 20) == b"d4:infod4:name1:xee"
    assert archive.commits(OPEN) == ([COMMIT] if version == 1 else sorted([COMMIT, OTHER]))
    assert all(archive.holds(entry) for entry in archive.revision(OPEN, "main").files)
    assert survey(archive).damaged == ()


@pytest.mark.parametrize("version", [1, 2, 3])
def test_it_is_read_as_it_is(tmp_path: Path, version: int) -> None:
    with opened(tmp_path, version) as archive:
        check(archive, version)
        assert archive.layout.version() == version
    for path in (GOLDEN / f"v{version}").rglob("*"):
        if path.is_file():
            copy = tmp_path / "home" / path.relative_to(GOLDEN / f"v{version}")
            assert copy.read_bytes() == path.read_bytes()


@pytest.mark.parametrize("version", [1, 2, 3])
def test_the_first_write_brings_it_up_to_date(tmp_path: Path, version: int) -> None:
    with opened(tmp_path, version) as archive:
        archive.writer().close()
        assert archive.layout.version() == 3
        check(archive, version)
        assert archive.records.strict
        assert archive.refs.stored_about(OPEN) == About()
        assert [garbage.what for garbage in collect(archive, dry_run=True)] == []
    assert stat.S_IMODE((tmp_path / "home" / "outlast.json").stat().st_mode) == 0o444
    with Archive(tmp_path / "home") as again:
        check(again, version)


def test_what_is_written_now_is_the_newest_golden_archive(tmp_path: Path) -> None:
    """The format does not change unnoticed: format 2, brought up to date, has the same bytes."""
    with opened(tmp_path, 2) as archive:
        archive.writer().close()
    home = tmp_path / "home"
    for root in ("refs", "second", "shared", "outlast.json"):
        for path in sorted((GOLDEN / "v3").rglob("*")):
            name = path.relative_to(GOLDEN / "v3")
            if path.is_file() and name.parts[0] == root:
                assert (home / name).read_bytes() == path.read_bytes(), name


def test_a_crash_at_any_step_leaves_an_archive_that_is_read(tmp_path: Path) -> None:
    step = 0
    while True:
        folder = tmp_path / f"{step}"
        faulty = FaultyOs(step)
        with opened(folder, 2) as archive:
            try:
                with seeing(faulty):
                    archive.writer().close()
            except Crash:
                die(seen=faulty)
                step += 7
            else:
                break
        with Archive(folder / "home") as again:
            again.summaries()
            check_same(again)
            again.writer().close()
            check(again, 2)
        shutil.rmtree(folder)
    assert step > 20


def check_same(archive: Archive) -> None:
    assert archive.refs.list(OPEN) == [MAIN, PR]
    assert archive.refs.about(CLOSED) == ABOUT
    assert archive.refs.about(OPEN) == About()
    draft = archive.load(CLOSED, OTHER)
    assert draft is not None
    assert len(draft.files) == 1


def test_what_is_damaged_in_an_older_archive_stays_damaged(tmp_path: Path) -> None:
    with opened(tmp_path, 2) as archive:
        path = archive.refs.about_path(CLOSED)
        path.write_bytes(b"{")
        (archive.layout.repo_refs(OPEN) / "main").write_bytes(b"[]")
        assert not archive.refs.about(CLOSED).is_open
        archive.writer().close()
        assert not archive.refs.about(CLOSED).is_open
        assert [damage.name for damage in survey(archive).damaged] == [
            "refs/datasets/org/closed/.about",
            "refs/models/org/open/main",
        ]


def test_it_is_brought_up_to_date_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(tmp_path, 2) as archive:
        archive.writer().close()

        def never(*_: object) -> None:
            raise AssertionError

        monkeypatch.setattr(upgrade, "WriteSession", never)
        archive.writer().close()
