"""Lists beside a process that deletes what they are about to look at."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from outlast.core.control import Control
from outlast.core.digest import GitOid
from outlast.core.manifest import Revision
from outlast.core.names import RepoId
from outlast.ops.verify import verify
from outlast.store import disk, linkpartials
from outlast.store.archive import Archive
from outlast.store.index import Index
from outlast.store.linkpartials import LinkPartial
from outlast.store.records.drafts import Drafts
from outlast.store.records.refs import Ref, Refs
from tests.store.build import put, revision_of

GONE, STAYS = "a" * 40, "b" * 40


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    with Archive(tmp_path / "home", create=True) as made:
        yield made


def test_what_is_not_there_is_empty(tmp_path: Path) -> None:
    for path in ("a/x/1.txt", "b/y/2.txt", "b/y/3.bin", "c"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    found = disk.matching(tmp_path, "*", "?", "*.txt")
    assert [path.relative_to(tmp_path).as_posix() for path in found] == ["a/x/1.txt", "b/y/2.txt"]
    assert disk.matching(tmp_path / "none", "*") == []


def test_a_download_that_ends_while_garbage_is_looked_for(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    for infohash in (GONE, STAYS):
        LinkPartial(archive.layout, infohash).close()
    found = disk.matching(archive.layout.partial, "*")
    for path in found:
        os.utime(path / "lock", (0, 0))
        os.utime(path, (0, 0))
    kept = linkpartials._lock

    def lock(folder: Path, archive_lock: Path) -> int | None:
        if folder.name.endswith(GONE):
            shutil.rmtree(folder)
        return kept(folder, archive_lock)

    monkeypatch.setattr(linkpartials, "_lock", lock)
    names = [name for name, _ in linkpartials.abandoned(archive.layout, dry_run=False)]
    assert names == [path.name for path in found if path.name.endswith(STAYS)] != []


def test_a_torrent_that_is_no_longer_shared(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    with archive.writer() as writer:
        for infohash in (GONE, STAYS):
            archive.shares.put(writer, infohash, b"d4:infodee")
    kept = Path.stat

    def stat(path: Path, **flags: Any) -> os.stat_result:
        if path.stem == GONE:
            path.unlink(missing_ok=True)
        return kept(path, **flags)

    monkeypatch.setattr(Path, "stat", stat)
    assert archive.shares.stamps().keys() == {STAYS}


@pytest.mark.parametrize(
    "seam",
    [(Index, "differs"), (Refs, "list"), (Drafts, "states"), (disk, "listed")],
    ids=["before", "refs", "drafts", "manifests"],
)
def test_a_draft_that_is_completed_while_it_is_verified(
    archive: Archive, monkeypatch: pytest.MonkeyPatch, seam: tuple[object, str]
) -> None:
    """Whatever verify has just read, it finds what a ref names."""
    files = {"config.json": b"{}"}
    revision = revision_of(files)
    with archive.writer() as writer:
        archive.drafts.start(writer, revision)
        archive.refs.put(writer, revision.repo, Ref("main", revision.id))
        put(archive, writer, *files.values())
    owner, name = seam
    kept = getattr(owner, name)

    def then_it_is_complete(*arguments: Any, **options: Any) -> Any:
        read = kept(*arguments, **options)
        found = read if isinstance(read, bool) else list(read)
        monkeypatch.setattr(owner, name, kept)  # what completes it reads too
        if archive.drafts.exists(revision.repo, revision.id):
            _complete(archive, revision)
        return found

    monkeypatch.setattr(owner, name, then_it_is_complete)
    assert verify(archive, [], quarantine=False, control=Control()).problems == ()
    assert not archive.drafts.exists(revision.repo, revision.id)


def test_a_draft_that_is_completed_while_its_commit_is_looked_for(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    revision = revision_of({})
    with archive.writer() as writer:
        archive.drafts.start(writer, revision)
    kept = Index.revisions

    def then_it_is_complete(index: Index, repo: RepoId) -> Any:
        found = kept(index, repo)
        _complete(archive, revision)
        return found

    monkeypatch.setattr(Index, "revisions", then_it_is_complete)
    assert archive.commits(revision.repo) == [revision.id]


def _complete(archive: Archive, revision: Revision) -> None:
    with archive.writer() as writer:
        archive.put_revision(writer, revision)


def test_a_ref_that_goes_while_it_is_verified(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo, lost = RepoId.parse("org/lost"), GitOid(GONE)
    with archive.writer() as writer:
        archive.refs.put(writer, repo, Ref("main", lost))
    told = [p.path for p in verify(archive, [], quarantine=False, control=Control()).problems]
    assert told == ["org/lost@main"]
    kept = Drafts.states

    def then_it_is_gone(drafts: Drafts) -> Any:
        found = list(kept(drafts))
        archive.refs.delete(repo, "main")
        return found

    monkeypatch.setattr(Drafts, "states", then_it_is_gone)
    assert verify(archive, [], quarantine=False, control=Control()).problems == ()
