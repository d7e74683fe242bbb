"""Lists beside a process that deletes what they are about to look at."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from outlast.store import disk, linkpartials
from outlast.store.archive import Archive
from outlast.store.linkpartials import LinkPartial

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
