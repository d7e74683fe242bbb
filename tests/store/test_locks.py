"""File systems without locks, and with locks that hold no process back."""

import contextlib
import errno
import fcntl
import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from outlast.core.digest import Digest
from outlast.core.errors import BusyError, StorageError
from outlast.store import disk, index, locks
from outlast.store.archive import Archive
from outlast.store.collect import collect
from outlast.store.database import connect
from outlast.store.linkpartials import LinkPartial
from outlast.store.locks import Locking
from outlast.store.partials import Partial
from outlast.store.writer import orphans, sweep
from tests.store.build import archive_revision, check_error, put

GRANTS = "import fcntl\nfcntl.flock = lambda *_: None\n"
REFUSES = """
import errno, fcntl
def refuse(*_):
    raise OSError(errno.{name}, "no locks here")
fcntl.flock = refuse
"""
NONE = [GRANTS, *(REFUSES.replace("{name}", name) for name in ("ENOLCK", "EOPNOTSUPP", "ENOSYS"))]
IDS = ["granted", "ENOLCK", "EOPNOTSUPP", "ENOSYS"]
PULLER = """
import sys
from pathlib import Path
from outlast.codec.hashing import names_of
from outlast.store.archive import Archive
with Archive(Path(sys.argv[1])) as archive, archive.writer() as writer:
    archive.put(writer, b"theirs", names_of(b"theirs"))
    print("ready", flush=True)
    sys.stdin.read()
"""


@contextlib.contextmanager
def without_locks(monkeypatch: pytest.MonkeyPatch, how: str) -> Iterator[None]:
    with monkeypatch.context() as patched:
        patched.setattr(fcntl, "flock", fcntl.flock)  # is put back afterwards
        exec(how, {})  # noqa: S102 - it is ours
        yield


@pytest.fixture(params=NONE, ids=IDS)
def lockless(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    with without_locks(monkeypatch, request.param):
        yield request.param


@contextlib.contextmanager
def puller(home: Path, how: str) -> Iterator[None]:
    """Another process, in the middle of a pull."""
    with subprocess.Popen(
        [sys.executable, "-c", how + PULLER, home],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield
        process.communicate()
        assert process.returncode == 0


def test_a_collection_refuses_where_it_cannot_see_a_pull(lockless: str, tmp_path: Path) -> None:
    with Archive(tmp_path / "home", create=True) as archive:
        revision = archive_revision(archive, {"a": b"mine"})
        with puller(archive.layout.home, lockless):
            with pytest.raises(StorageError) as caught:
                list(collect(archive, dry_run=False))
            check_error(caught.value)
            assert "--alone" in caught.value.hint
            assert list(collect(archive, dry_run=True)) == [], "what is leased is not garbage"
            assert orphans(archive.layout) == sweep(archive.layout) == 0
            assert archive.has(Digest.of(b"theirs"), 6)
        with archive.writer() as writer:
            put(archive, writer, b"garbage")
        found = [g.name for g in collect(archive, dry_run=False, alone=True, grace=0)]
        assert sorted(found) == sorted(Digest.of(x).hex for x in (b"theirs", b"garbage"))
        assert all(archive.holds(entry) for entry in revision.files)


@pytest.mark.usefixtures("lockless")
def test_alone_sweeps_what_died_but_not_its_own(tmp_path: Path) -> None:
    with Archive(tmp_path / "home", create=True) as archive, archive.writer() as mine:
        put(archive, mine, b"mine")
        dead = archive.layout.tmp / "1-dead"
        dead.mkdir()
        (dead / "lock").touch()
        found = [(g.what, g.name) for g in collect(archive, dry_run=False, alone=True)]
        assert [what for what, _ in found] == ["tmp"]
        assert not dead.exists()
        assert mine.folder.exists()


def test_working_locks_collect_as_ever(tmp_path: Path) -> None:
    with Archive(tmp_path / "home", create=True) as archive:
        assert archive.lock_fault() == ""
        with puller(archive.layout.home, ""):
            assert list(collect(archive, dry_run=False)) == []
        assert [g.what for g in collect(archive, dry_run=False)] == ["blob"]


def test_probes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = tmp_path / "lock"
    assert locks.probe(lock) is Locking.WORKING
    with open(lock, "rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        assert locks.probe(lock) is Locking.WORKING, "another process at work is no fault"
    with without_locks(monkeypatch, GRANTS):
        assert locks.probe(lock) is Locking.VOID
    with without_locks(monkeypatch, REFUSES.replace("{name}", "ENOSYS")):
        assert locks.probe(lock) is Locking.MISSING
    with (
        without_locks(monkeypatch, REFUSES.replace("{name}", "EIO")),
        pytest.raises(OSError, match="no locks here"),
    ):
        locks.probe(lock)


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ("rw,vers=3,nolock,local_lock=all", Locking.LOCAL),
        ("rw,vers=4.2,local_lock=none", Locking.WORKING),
    ],
)
def test_locks_that_a_server_does_not_hear_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: str, found: Locking
) -> None:
    device = os.stat(tmp_path).st_dev
    number = f"{os.major(device)}:{os.minor(device)}"
    lines = f"36 35 {number} / /mnt rw shared:1 - nfs4 box:/m {options}\nshort line\n"
    (tmp_path / "mounts").write_text(lines)
    monkeypatch.setattr(locks, "_MOUNTS", tmp_path / "mounts")
    assert locks.probe(tmp_path / "lock") is found


def test_a_lock_that_fails_later_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that restarts: nothing may go on without the lock that others rely on."""
    with Archive(tmp_path / "home", create=True) as archive, archive.writer():
        assert archive.lock_fault() == ""
        with (
            without_locks(monkeypatch, REFUSES.replace("{name}", "ENOLCK")),
            pytest.raises(StorageError),
        ):
            archive.writer()


def test_another_mount_is_tried_out_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with without_locks(monkeypatch, GRANTS), Archive(tmp_path / "home", create=True) as archive:
        assert archive.lock_fault() == Locking.VOID.value
    with Archive(tmp_path / "home") as archive:
        assert archive.lock_fault() == ""


@pytest.mark.usefixtures("lockless")
def test_threads_keep_out_of_each_others_way(tmp_path: Path) -> None:
    inside, most = 0, 0
    start = threading.Barrier(4)

    def work() -> None:
        nonlocal inside, most
        start.wait()
        for _ in range(50):
            with disk.locked(tmp_path / "lock", exclusive=True):
                inside += 1
                most = max(most, inside)
                os.stat(tmp_path)  # gives the others their turn
                inside -= 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1


KEY = "ab" * 32


@pytest.mark.usefixtures("lockless")
def test_two_downloads_share_no_file(tmp_path: Path) -> None:
    """Else one could write into the file that the other has verified and published."""
    with Archive(tmp_path / "home", create=True) as archive:
        data, other = b"d" * 100, b"o" * 100
        with Partial(archive.layout, KEY, 100) as one, Partial(archive.layout, KEY, 100) as two:
            assert one.path != two.path
            one.write(0, data)
            with archive.writer() as writer:
                one.finish(writer, Digest.of(data))
            two.write(0, other)
        with archive.open_blob(Digest.of(data)) as blob:
            assert blob.sha256() == Digest.of(data)
        with Partial(archive.layout, KEY, 100) as again:
            assert list(again.have) == [1], "what was not finished is resumed"
            assert bytes(again.read(0, memoryview(bytearray(1 << 20)))) == other
            again.discard()
        assert list(archive.layout.partial.iterdir()) == []


@pytest.mark.usefixtures("lockless")
def test_the_second_of_two_unfinished_downloads_goes(tmp_path: Path) -> None:
    with Archive(tmp_path / "home", create=True) as archive:
        with Partial(archive.layout, KEY, 100) as one, Partial(archive.layout, KEY, 100) as two:
            one.write(0, b"1" * 100)
            two.write(0, b"2" * 100)
        names = sorted(path.name for path in archive.layout.partial.iterdir())
        assert names == [f"{KEY}.data", f"{KEY}.have"]


@pytest.mark.usefixtures("lockless")
def test_two_downloads_of_a_torrent_share_no_folder(tmp_path: Path) -> None:
    with Archive(tmp_path / "home", create=True) as archive:
        with LinkPartial(archive.layout, KEY[:40]) as one:
            one.place(0).write_bytes(b"first")
            with LinkPartial(archive.layout, KEY[:40]) as two:
                assert not two.place(0).exists()
        with LinkPartial(archive.layout, KEY[:40]) as again:
            assert not again.place(0).exists() or again.place(0).read_bytes() == b"first"


def test_a_download_is_busy_where_locks_work(tmp_path: Path) -> None:
    opened: list[Callable[[Archive], object]] = [
        lambda archive: Partial(archive.layout, KEY, 100),
        lambda archive: LinkPartial(archive.layout, KEY[:40]),
    ]
    with Archive(tmp_path / "home", create=True) as archive:
        for again in opened:
            first = again(archive)
            with pytest.raises(BusyError):
                again(archive)
            assert first is not None


@pytest.mark.parametrize("refuses", [True, False])
def test_an_index_without_locks_is_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refuses: bool
) -> None:
    """SQLite would wait for a minute on a file system that refuses its locks. It can have its file
    where only those of flock are refused.
    """
    with Archive(tmp_path / "archive", create=True) as archive:
        archive_revision(archive, {"a.txt": b"a"})
    asked: list[str] = []

    def noted(path: str) -> sqlite3.Connection:
        asked.append(path)
        return connect(path)

    monkeypatch.setattr(index, "connect", noted)
    if refuses:
        monkeypatch.setattr(fcntl, "lockf", _refuse)
    with without_locks(monkeypatch, NONE[1]):
        locks.forget(tmp_path / "archive" / "lock")
        with Archive(tmp_path / "archive") as archive:
            assert len(archive.summaries()) == 1
            assert locks.has_ranges(archive.layout.lock) is not refuses
    own = str(tmp_path / "archive" / "index.sqlite")
    assert asked == ([":memory:"] if refuses else [own])


def _refuse(*_: object) -> None:
    raise OSError(errno.ENOLCK, "no locks here")
