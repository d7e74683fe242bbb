"""The index is a cache: lost, damaged or stale, it never changes an answer."""

import os
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from outlast.codec.hashing import names_of
from outlast.core.digest import Digest, GitOid
from outlast.core.errors import OutlastError
from outlast.store.archive import Archive
from tests.store.build import COMMIT, OTHER, REPO, archive_revision, check_error, revision_of

FILES = {"config.json": b"{}", "model.bin": b"weights" * 1000}


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    with Archive(tmp_path / "home", create=True) as made:
        yield made


def answers(archive: Archive) -> list[object]:
    index = archive.index
    sha = Digest.of(b"{}")
    return [
        index.summaries(),
        index.manifests_of(REPO, COMMIT),
        index.revisions(REPO),
        index.revisions(REPO, "c0ff"),
        index.revisions(REPO, "beef"),
        index.root_of(sha),
        index.root_of(Digest.of(b"x")),
        index.users([sha, Digest.of(b"x")]),
        index.by_git_sha1(GitOid.of_blob(b"{}"), 2),
    ]


def fill(archive: Archive) -> list[object]:
    archive_revision(archive, FILES)
    with archive.writer() as writer:
        archive.put_revision(writer, revision_of({"config.json": b"{}"}, commit=OTHER))
    found = answers(archive)
    assert found[2] == [COMMIT, OTHER]
    assert found[3] == [COMMIT]
    assert found[4] == []
    assert found[5] == names_of(b"{}").merkle_root
    assert found[7] == {Digest.of(b"{}").hex: 2, Digest.of(b"x").hex: 0}
    return found


DAMAGE = {
    "gone": None,
    "empty": b"",
    "garbage": b"not a database " * 1000,
    "zeros": bytes(40960),
    "only a header": b"SQLite format 3\0",
    "random": os.urandom(40960),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_a_lost_or_damaged_index_is_made_again(archive: Archive, what: str) -> None:
    before = fill(archive)
    archive.close()
    content = DAMAGE[what]
    archive.layout.index.unlink()
    if content is not None:
        archive.layout.index.write_bytes(content)
    with Archive(archive.layout.home) as again:
        assert answers(again) == before


@pytest.mark.parametrize("page", range(1, 6))
def test_a_damaged_page_never_gives_a_wrong_answer(archive: Archive, page: int) -> None:
    before = fill(archive)
    archive.close()
    with open(archive.layout.index, "r+b") as file:
        file.seek(page * 4096)
        file.write(os.urandom(4096))
    try:
        with Archive(archive.layout.home) as again:
            try:
                assert answers(again) == before
            except OutlastError as error:
                check_error(error)
                assert again.index.rebuild() == 2
                assert answers(again) == before
    except OutlastError as error:
        check_error(error)


def test_an_index_of_another_version_is_made_again(archive: Archive) -> None:
    before = fill(archive)
    archive.close()
    db = sqlite3.connect(archive.layout.index)
    db.execute("PRAGMA user_version = 99")
    db.execute("DROP TABLE files")
    db.commit()
    db.close()
    with Archive(archive.layout.home) as again:
        assert answers(again) == before


def test_rebuilding_while_in_use_elsewhere(archive: Archive) -> None:
    before = fill(archive)
    with Archive(archive.layout.home) as other:
        assert answers(other) == before
        assert archive.index.rebuild() == 2
        assert answers(other) == before
        archive.delete_revision(REPO, OTHER)
        assert other.index.revisions(REPO) == archive.index.revisions(REPO) == [COMMIT]


def test_what_other_processes_write_and_delete_is_seen_at_once(archive: Archive) -> None:
    """Also within one tick of the file system's clock."""
    with Archive(archive.layout.home) as other:
        for n in range(20):
            commit = GitOid(f"{n:040x}")
            with other.writer() as writer:
                other.put_revision(writer, revision_of({}, commit=commit))
            assert archive.index.revisions(REPO) == [commit]
            other.delete_revision(REPO, commit)
            assert archive.index.revisions(REPO) == []


def test_two_changes_that_share_a_time_are_both_seen(archive: Archive) -> None:
    """The folder's time says nothing while the clock may still show the same."""
    folder, now = archive.layout.manifests, time.time_ns() + 3600 * 10**9
    with Archive(archive.layout.home) as other, other.writer() as writer:
        for commit in (COMMIT, OTHER):
            other.put_revision(writer, revision_of({}, commit=commit))
            os.utime(folder, ns=(now, now))
            assert commit in archive.index.revisions(REPO)


def test_checks_are_remembered_until_the_file_changes(archive: Archive, tmp_path: Path) -> None:
    path = tmp_path / "blob"
    path.write_bytes(b"x")
    digest = Digest.of(b"x")
    assert not archive.index.is_checked(digest, path.stat())
    archive.index.note_checked(digest, path.stat())
    assert archive.index.is_checked(digest, path.stat())
    assert not archive.index.is_checked(Digest.of(b"y"), path.stat())
    os.utime(path, ns=(1, 1))
    assert not archive.index.is_checked(digest, path.stat())


def test_foreign_files_among_the_manifests(archive: Archive) -> None:
    before = fill(archive)
    for name in ("notes.json", "README", f"{'0' * 64}.json"):
        (archive.layout.manifests / name).write_text("{}")
    assert answers(archive) == before
    (archive.layout.manifests / "folder.json").mkdir()
    assert answers(archive) == before
