"""An archive from outside: blobs, revisions, what stands for what."""

import hashlib
import os
import shutil
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from outlast.codec.hashing import names_of
from outlast.core.digest import Digest, GitOid
from outlast.core.errors import (
    CorruptError,
    NotArchivedError,
    NotFoundError,
    OutlastError,
    RevisionNotFoundError,
    StorageError,
)
from outlast.core.manifest import FileEntry, Revision
from outlast.core.names import RepoId
from outlast.store.archive import Archive
from outlast.store.collect import collect
from outlast.store.layout import marker_of
from outlast.store.records.refs import Ref
from tests.store.build import (
    COMMIT,
    OTHER,
    REPO,
    archive_revision,
    entry_of,
    put,
    revision_of,
)

FILES = {"config.json": b"{}", "model.bin": b"weights" * 1000}


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    with Archive(tmp_path / "home", create=True) as made:
        yield made


def test_no_archive(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError) as caught:
        Archive(tmp_path / "nothing")
    assert "--home" in caught.value.hint
    assert not (tmp_path / "nothing").exists()


def test_creating_twice_is_harmless(tmp_path: Path) -> None:
    for _ in range(2):
        with Archive(tmp_path / "a/b/home", create=True):
            pass
    assert os.listdir(tmp_path / "a/b/home/tmp") == []


def test_many_threads_open_a_new_archive_at_once(tmp_path: Path) -> None:
    def make(_: int) -> int:
        with Archive(tmp_path / "home", create=True) as made:
            return len(made.summaries())

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(make, range(16))) == [0] * 16


def test_a_home_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("x")
    with pytest.raises(StorageError):
        Archive(tmp_path / "home", create=True)
    with pytest.raises(OutlastError):
        Archive(tmp_path / "home")


def test_blobs_are_read_only_files_named_by_their_sha256(archive: Archive) -> None:
    with archive.writer() as writer:
        (digest,) = put(archive, writer, b"bytes")
    path = archive.path(digest)
    assert path.name == hashlib.sha256(b"bytes").hexdigest()
    assert stat.S_IMODE(path.stat().st_mode) == 0o444
    with archive.open(digest) as file:
        assert file.read() == b"bytes"
    assert archive.has(digest, 5)
    assert not archive.has(digest, 4)
    assert [b.digest for b in archive.blobs()] == [digest]


def test_what_is_not_there(archive: Archive) -> None:
    digest = Digest.of(b"nothing")
    assert not archive.has(digest, 7)
    for read in (archive.open, archive.path):
        with pytest.raises(NotArchivedError):
            read(digest)
    assert archive.load(REPO, COMMIT) is None
    assert archive.find_commit(REPO, "main") is None
    with pytest.raises(NotFoundError):
        archive.revision(REPO)
    archive.delete_revision(REPO, COMMIT)


def test_a_blob_of_the_wrong_size_is_replaced(archive: Archive) -> None:
    """It was damaged outside: the next put mends it."""
    with archive.writer() as writer:
        (digest,) = put(archive, writer, b"bytes")
        path = archive.path(digest)
        path.chmod(0o644)
        path.write_bytes(b"byt")
        assert not writer.lease(digest, 5)
        put(archive, writer, b"bytes")
    assert path.read_bytes() == b"bytes"


def test_foreign_files_are_not_blobs(archive: Archive) -> None:
    with archive.writer() as writer:
        (digest,) = put(archive, writer, b"bytes")
    for path in (archive.layout.blobs / ".DS_Store", archive.path(digest).parent / "note.txt"):
        path.write_text("x")
    assert [b.digest for b in archive.blobs()] == [digest]
    assert [g.name for g in collect(archive, dry_run=False)] == [digest.hex]
    assert (archive.layout.blobs / ".DS_Store").exists()


# Revisions


def test_revisions_are_found_by_ref_commit_and_prefix(archive: Archive) -> None:
    revision = archive_revision(archive, FILES)
    with archive.writer() as writer:
        archive.refs.put(writer, REPO, Ref("main", COMMIT))
    for ref in (None, "main", COMMIT.hex, COMMIT.hex[:7], COMMIT.hex[:20]):
        assert archive.revision(REPO, ref) == revision
    for ref in ("v1", COMMIT.hex[:6], OTHER.hex, "COFFEE0", "zzzzzzz"):
        with pytest.raises(RevisionNotFoundError):
            archive.revision(REPO, ref)
    with pytest.raises(NotFoundError):
        archive.revision(RepoId.parse("datasets/org/name"))


def test_an_ambiguous_prefix_names_nothing(archive: Archive) -> None:
    with archive.writer() as writer:
        for last in "01":
            revision = revision_of({}, commit=GitOid("a" * 39 + last))
            archive.put_revision(writer, revision)
    assert archive.find_commit(REPO, "a" * 10) is None
    assert archive.find_commit(REPO, "a" * 39 + "1") == GitOid("a" * 39 + "1")
    with pytest.raises(RevisionNotFoundError):
        archive.revision(REPO)


def test_a_branch_cannot_pose_as_a_commit(archive: Archive) -> None:
    """Who pins a commit gets that commit, whatever branches a hub lists."""
    pinned = archive_revision(archive, FILES)
    other = revision_of({}, commit=OTHER)
    with archive.writer() as writer:
        archive.put_revision(writer, other)
        try:
            archive.refs.put(writer, REPO, Ref(COMMIT.hex, OTHER))
        except OutlastError:
            return  # refusing such a ref is as good
    assert archive.revision(REPO, COMMIT.hex) == pinned


def test_a_folder_that_was_added_has_an_id_too(archive: Archive) -> None:
    revision = revision_of(FILES, commit=None)
    with archive.writer() as writer:
        put(archive, writer, *FILES.values())
        digest = archive.put_revision(writer, revision)
    assert revision.id.hex == digest.hex[:40]
    assert archive.revision(REPO) == archive.load(REPO, revision.id) == revision


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0), (0, 2, 1)])
def test_the_most_complete_manifest_stands_for_a_commit(
    archive: Archive, order: tuple[int, ...]
) -> None:
    """In whatever order they come, what is more complete is never lost to what is less."""
    config, model = FILES.items()
    versions = [
        revision_of(FILES),
        revision_of(dict([config]), dict([model])),
        revision_of(FILES, unlisted=True),
    ]
    with archive.writer() as writer:
        put(archive, writer, *FILES.values())
        for number in order:
            archive.put_revision(writer, versions[number])
    assert archive.load(REPO, COMMIT) == versions[0]


def test_partial_manifests_with_different_files_both_stay(archive: Archive) -> None:
    """Else a blob that was acknowledged could be collected."""
    config, model = FILES.items()
    with archive.writer() as writer:
        put(archive, writer, *FILES.values())
        archive.put_revision(writer, revision_of(dict([config]), dict([model])))
        archive.put_revision(writer, revision_of(dict([model]), dict([config])))
    assert list(collect(archive, dry_run=False)) == []
    archive.delete_revision(REPO, COMMIT)
    assert archive.load(REPO, COMMIT) is None
    assert len(list(collect(archive, dry_run=False))) == 2


def test_put_revision_beside_a_damaged_manifest_of_the_same_commit(archive: Archive) -> None:
    """Pulling again is what mends damage: it must not stumble over it."""
    config, model = FILES.items()
    with archive.writer() as writer:
        put(archive, writer, *FILES.values())
        old = archive.put_revision(writer, revision_of(dict([config]), dict([model])))
        assert archive.load(REPO, COMMIT) is not None
        path = archive.layout.manifest(old)
        path.chmod(0o644)
        path.write_bytes(b"{}")
        archive.put_revision(writer, revision_of(FILES))
    assert archive.load(REPO, COMMIT) == revision_of(FILES)


def test_what_is_known_of_a_content(archive: Archive) -> None:
    names = names_of(b"{}")
    entry = FileEntry("config.json", 2, names.sha256, names.git_sha1, names.merkle_root)
    with archive.writer() as writer:
        put(archive, writer, b"{}")
        archive.put_revision(writer, Revision.of(REPO, COMMIT, [entry]))
    by_git = FileEntry("other/path", 2, None, names.git_sha1)
    by_sha = FileEntry("other/path", 2, names.sha256)
    assert archive.known(by_git) == FileEntry(
        "other/path", 2, names.sha256, names.git_sha1, names.merkle_root
    )
    assert archive.known(by_sha) == FileEntry(
        "other/path", 2, names.sha256, None, names.merkle_root
    )
    assert archive.known(FileEntry("x", 3, None, names.git_sha1)) is None
    assert archive.known(FileEntry("x", 5, Digest.of(b"other"))) is None
    assert archive.known(FileEntry("x", 1)) is None


def test_summaries_count(archive: Archive) -> None:
    archive_revision(archive, FILES)
    listed = revision_of({}, {"x": b"123", "y": b""}, commit=OTHER)
    with archive.writer() as writer:
        archive.drafts.start(writer, listed)
        put(archive, writer, b"123")
        archive.drafts.add(REPO, OTHER, [entry_of("x", b"123")])
    complete, draft = sorted(archive.summaries(), key=lambda s: s.revision)
    assert (complete.files, complete.size, complete.missing) == (2, 7002, 0)
    assert (draft.digest, draft.files, draft.size, draft.missing) == (None, 1, 3, 1)
    assert draft.partial
    assert archive.commits(REPO) == [COMMIT, OTHER]


# Damage and copies


def test_a_damaged_manifest_is_said(archive: Archive) -> None:
    revision = archive_revision(archive, FILES)
    assert archive.load(REPO, COMMIT) == revision
    path = archive.layout.manifest(revision.digest)
    path.chmod(0o644)
    path.write_bytes(path.read_bytes().replace(b"config", b"konfig"))
    with pytest.raises(CorruptError):
        archive.load(REPO, COMMIT)


def test_a_copy_of_the_files_alone_is_an_archive(archive: Archive, tmp_path: Path) -> None:
    """As a medium, a bucket or an archiver keeps them: no empty folders, no index, no lock."""
    revision = archive_revision(archive, FILES)
    with archive.writer() as writer:
        archive.refs.put(writer, REPO, Ref("main", COMMIT))
    copy = tmp_path / "copy"
    for path in archive.layout.home.rglob("*"):
        place = copy / path.relative_to(archive.layout.home)
        if path.is_file() and not place.name.startswith(("index.", "lock")):
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, place)
    with Archive(copy) as opened:
        assert opened.revision(REPO, "main") == revision
        assert all(opened.holds(entry) for entry in revision.files)
        assert list(collect(opened, dry_run=False)) == []
        archive_revision(opened, {"more": b"more"})


def test_a_copy_without_models(archive: Archive, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    shutil.copyfile(archive.layout.marker, copy / "outlast.json")
    with Archive(copy) as opened:
        assert opened.summaries() == []
        assert list(opened.blobs()) == []
        assert list(collect(opened, dry_run=False)) == []


def test_a_newer_format_is_refused_with_the_way_out(archive: Archive) -> None:
    marker = archive.layout.marker
    marker.chmod(0o644)
    marker.write_bytes(marker_of(4))
    archive.layout.second_of(marker).unlink()
    with pytest.raises(StorageError) as caught:
        Archive(archive.layout.home)
    assert "newer" in caught.value.hint
