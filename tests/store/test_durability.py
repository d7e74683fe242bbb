"""What was acknowledged survives a lost plug: bytes are synced before they get their name, and
every folder on the way is synced before the operation returns.
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from outlast.core.digest import Digest
from outlast.store.archive import Archive
from outlast.store.records.refs import Ref
from tests.store.build import COMMIT, REPO, entry_of, put, revision_of
from tests.store.fault import Crash, FaultyOs, When, die, seeing

DATA = b"x" * 100


class Ledger(FaultyOs):
    """Knows which bytes and which names a lost plug would take."""

    def __init__(self, fuse: int | None = None, when: When = When.BEFORE) -> None:
        super().__init__(fuse, when, sync=True)
        self.dirty: set[int] = set()
        """Inodes with bytes that were not synced."""
        self.unsynced: set[Path] = set()
        """Names that were made and whose folder was not synced since."""

    def open(self, path: Any, flags: int, mode: int = 0o777) -> int:
        new = flags & os.O_CREAT and not os.path.exists(path)
        fd = super().open(path, flags, mode)
        if new:
            self.unsynced.add(Path(path))
        return fd

    def _step(self, name: str, real: Callable[..., Any], *args: Any) -> Any:
        if name == "rename":
            assert os.stat(args[0]).st_ino not in self.dirty, "named before it was synced"
        result = super()._step(name, real, *args)
        if name in {"pwrite", "write", "ftruncate"}:
            self.dirty.add(os.fstat(args[0]).st_ino)
        elif name == "fsync":
            self._synced(args[0])
        elif name in {"mkdir", "rename"}:
            self.unsynced.add(Path(args[-1] if name == "rename" else args[0]))
        return result

    def _synced(self, fd: int) -> None:
        stat = os.fstat(fd)
        self.dirty.discard(stat.st_ino)
        self.unsynced = {
            path
            for path in self.unsynced
            if not path.parent.exists() or os.stat(path.parent).st_ino != stat.st_ino
        }

    def assert_durable(self, path: Path, root: Path) -> None:
        assert os.stat(path).st_ino not in self.dirty, f"{path} is not synced"
        while path != root:
            assert path not in self.unsynced, f"the folder of {path} is not synced"
            path = path.parent


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    with Archive(tmp_path / "home", create=True) as made:
        yield made


def test_a_new_archive(tmp_path: Path) -> None:
    ledger = Ledger()
    with seeing(ledger), Archive(tmp_path / "deep/er/home", create=True) as made:
        for path in (made.layout.marker, made.layout.blobs, made.layout.manifests):
            ledger.assert_durable(path, tmp_path)


def test_a_blob(archive: Archive) -> None:
    ledger = Ledger()
    with seeing(ledger), archive.writer() as writer:
        (digest,) = put(archive, writer, DATA)
        ledger.assert_durable(archive.path(digest), archive.layout.home)


def test_a_download(archive: Archive) -> None:
    ledger, digest = Ledger(), Digest.of(DATA)
    with seeing(ledger), archive.writer() as writer:
        with archive.partial(entry_of("x", DATA)) as partial:
            partial.write(0, DATA)
            partial.finish(writer, digest)
        ledger.assert_durable(archive.path(digest), archive.layout.home)


def test_a_draft_its_lines_its_manifest_and_a_ref(archive: Archive) -> None:
    ledger, home = Ledger(), archive.layout.home
    with seeing(ledger), archive.writer() as writer:
        archive.drafts.start(writer, revision_of({}, {"x": DATA}))
        ledger.assert_durable(archive.layout.draft(REPO, COMMIT), home)
        put(archive, writer, DATA)
        archive.drafts.add(REPO, COMMIT, [entry_of("x", DATA)])
        ledger.assert_durable(archive.layout.draft(REPO, COMMIT), home)
        digest = archive.put_revision(writer, revision_of({"x": DATA}))
        ledger.assert_durable(archive.layout.manifest(digest), home)
        archive.refs.put(writer, REPO, Ref("main", COMMIT))
        ledger.assert_durable(archive.layout.repo_refs(REPO) / "main", home)


def test_many_records_in_two_copies(archive: Archive) -> None:
    ledger, layout = Ledger(), archive.layout
    bodies = {layout.trust / org / "name": org.encode() for org in ("a", "b", "c")}
    with seeing(ledger), archive.writer() as writer:
        archive.records.write_all_twice(writer, bodies)
        for path in bodies:
            ledger.assert_durable(path, layout.home)
            ledger.assert_durable(layout.second_of(path), layout.home)


def test_many_records_written_by_a_process_that_dies(archive: Archive) -> None:
    """Each is whole, as it was or as it is to be; a second copy is never there alone, and what it
    says of one that was there is not older than the first.
    """
    layout = archive.layout
    old, new = layout.trust / "old" / "name", layout.trust / "new" / "name"
    with archive.writer() as writer:
        archive.records.write_twice(writer, old, b"1")
    crashed, steps = True, 0
    while crashed:
        with archive.writer() as writer:
            archive.records.delete(new)
            archive.records.write_twice(writer, old, b"1")
        dying, writer, crashed = Ledger(steps, When.AFTER), archive.writer(), False
        with seeing(dying):
            try:
                archive.records.write_all_twice(writer, {old: b"2", new: b"2"})
            except Crash:
                crashed = True
        die(writer, seen=dying)
        said = archive.records.read(old), archive.records.read_second(old)
        assert said in {(b"1", b"1"), (b"1", b"2"), (b"2", b"2")}
        assert archive.records.read_second(new) is None or archive.records.read(new) == b"2"
        steps += 1
    assert said == (b"2", b"2")
    assert steps > 12


def test_after_a_process_died_between_making_a_folder_and_syncing_it(archive: Archive) -> None:
    """The next one finds the folder there; it may be only in memory all the same."""
    first, other = Ledger(), b"of another shard"
    with archive.writer() as writer, seeing(first):
        put(archive, writer, other)
    shard = archive.layout.blob(Digest.of(DATA)).parent
    assert shard != archive.layout.blob(Digest.of(other)).parent
    dying = Ledger(first.steps.index("mkdir"), When.AFTER)
    writer = archive.writer()
    with seeing(dying), pytest.raises(Crash):
        put(archive, writer, DATA)
    die(writer, seen=dying)
    assert shard.exists()
    after = Ledger()
    after.unsynced.add(shard)
    with archive.writer() as writer, seeing(after):
        (digest,) = put(archive, writer, DATA)
        after.assert_durable(archive.path(digest), archive.layout.home)
