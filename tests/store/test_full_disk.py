"""A disk that is full: nothing that was acknowledged is lost, and the way out works."""

import errno
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from outlast.codec import merkle
from outlast.codec.hashing import names_of
from outlast.core.digest import Digest
from outlast.core.errors import DiskFullError, StorageError
from outlast.store import disk
from outlast.store.archive import Archive
from outlast.store.collect import collect
from outlast.store.records.facts import About
from outlast.store.records.refs import Ref
from outlast.store.writer import WriteSession
from tests.store import weights
from tests.store.build import (
    COMMIT,
    OTHER,
    REPO,
    archive_revision,
    check_error,
    entry_of,
    put,
    revision_of,
)
from tests.store.fault import FaultyOs, seeing
from tests.store.model import Model

MIB = 1 << 20
KEPT = {"kept.json": b"{}", "kept.bin": b"weights" * 1000}
BIG = os.urandom(3 * MIB)

Act = Callable[[Archive, WriteSession], Any]


def put_big(archive: Archive, writer: WriteSession) -> None:
    archive.put(writer, BIG, names_of(BIG))


def put_manifest(archive: Archive, writer: WriteSession) -> None:
    missing = {f"file{n}": b"%d" % n for n in range(300)}
    archive.put_revision(writer, revision_of({"kept.json": b"{}"}, missing, commit=OTHER))


def start_draft(archive: Archive, writer: WriteSession) -> None:
    missing = {f"file{n}": b"%d" % n for n in range(300)}
    archive.drafts.start(writer, revision_of({}, missing, commit=OTHER))


def add_to_draft(archive: Archive, _: WriteSession) -> None:
    archive.drafts.add(REPO, COMMIT, [entry_of(f"file{n}", b"{}") for n in range(300)])


def set_ref(archive: Archive, writer: WriteSession) -> None:
    archive.refs.put(writer, REPO, Ref("main", OTHER, "x" * 8000))


def set_about(archive: Archive, writer: WriteSession) -> None:
    archive.refs.put_about(writer, REPO, About(tags=("tag" * 3000,)))


def receive(archive: Archive, _: WriteSession) -> None:
    with archive.partial(entry_of("big", BIG)) as partial:
        for index in range(3):
            partial.write(index, BIG[index * merkle.PIECE : (index + 1) * merkle.PIECE])


def encode(archive: Archive, writer: WriteSession) -> None:
    data = BIG[: MIB // 2]
    with weights.encoded_bytes(archive, writer, data) as capsule:
        capsule.publish(Digest.of(data))


def unpack(archive: Archive, writer: WriteSession) -> None:
    with archive.open(Digest.of(KEPT["kept.bin"])) as file:
        chunks = [memoryview(file.read() * 5)] * 20
    with disk.reporting(writer.folder):
        disk.write_chunks(writer.temp(), chunks)


def open_writer(archive: Archive, _: WriteSession) -> None:
    writers = []
    try:
        for _n in range(1000):
            writers.append(archive.writer())  # noqa: PERF401 - what opened is closed
    finally:
        for writer in writers:
            writer.close()


ACTS: list[Act] = [
    put_big,
    put_manifest,
    start_draft,
    add_to_draft,
    set_ref,
    set_about,
    receive,
    encode,
    unpack,
]


def begin(home: Path) -> Archive:
    archive = Archive(home, create=True)
    archive_revision(archive, KEPT)
    with archive.writer() as writer:
        archive.refs.put(writer, REPO, Ref("main", COMMIT))
        archive.drafts.start(writer, revision_of({"kept.json": b"{}"}, {"x": b"x"}))
        put(archive, writer, b"garbage")
    return archive


def check_kept(archive: Archive) -> None:
    model = Model.read(archive.layout.home)
    assert {e.key for e in revision_of(KEPT).files} <= set(model.blobs)
    assert revision_of(KEPT).digest.hex in model.manifests
    assert model.refs[REPO, "main"] == COMMIT
    assert model.drafts[REPO, COMMIT].held
    assert archive.refs.get(REPO, "main") is not None
    draft = archive.load(REPO, COMMIT)
    assert draft is not None
    assert "kept.json" in {entry.path for entry in draft.files}
    assert archive.refs.about(REPO) == About()
    for entry in revision_of(KEPT).files:
        assert entry.sha256 is not None
        with archive.open(entry.sha256) as file:
            assert Digest.of(file.read()) == entry.sha256


# A real one


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MiB."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    mount = tmp_path / "disk"
    mount.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=2m,nr_inodes=2000", "tmpfs", str(mount)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"no tmpfs can be mounted here: {done.stderr.strip()}")
    try:
        yield mount
    finally:
        subprocess.run(["umount", "-l", str(mount)], check=True)


def fill(disk: Path, *, leave: int = 0) -> Path:
    ballast = disk / "ballast"
    with open(ballast, "wb", buffering=0) as file:
        step = MIB
        while step >= 4096:
            try:
                file.write(bytes(step))
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
                step //= 2
        end = max(0, os.fstat(file.fileno()).st_size - leave)
        os.ftruncate(file.fileno(), end)
    return ballast


@pytest.mark.rootonly
@pytest.mark.parametrize("leave", [0, 4096, 16384])
@pytest.mark.parametrize("act", ACTS, ids=lambda act: act.__name__)
def test_a_full_disk(small_disk: Path, act: Act, leave: int) -> None:
    with begin(small_disk / "home") as archive:
        with archive.writer() as writer:
            archive.summaries()
            ballast = fill(small_disk, leave=leave)
            before = Model.read(archive.layout.home)
            try:
                act(archive, writer)
            except DiskFullError as error:
                check_error(error)
                after = Model.read(archive.layout.home)
                if act is add_to_draft:  # lines that fitted may be there; they were not promised
                    assert before.facts() - after.facts() == set()
                elif act is not receive:
                    assert after.facts() == before.facts()
                check_kept(archive)
            else:
                assert leave, "the disk is full"
        ballast.unlink()
        with archive.writer() as writer:
            if act is put_big:
                assert list(collect(archive, dry_run=False)), "what failed takes no room"
                put(archive, writer, BIG[: MIB // 2])
            elif act is not receive:
                act(archive, writer)
        check_model = Model.read(archive.layout.home)
        assert check_model.refs[REPO, "main"] in {COMMIT, OTHER}


@pytest.mark.rootonly
def test_a_failed_put_gives_its_room_back_at_once(small_disk: Path) -> None:
    """Else the writer that goes on with smaller files finds the disk full of its own leftovers."""
    with begin(small_disk / "home") as archive, archive.writer() as writer:
        with pytest.raises(DiskFullError):
            put_big(archive, writer)
        put(archive, writer, b"small" * 1000)


@pytest.mark.rootonly
def test_opening_writers_on_a_full_disk(small_disk: Path) -> None:
    with begin(small_disk / "home") as archive:
        fill(small_disk)
        with archive.writer() as writer, pytest.raises(DiskFullError):
            open_writer(archive, writer)
        assert list((small_disk / "home/tmp").iterdir()) == []
        check_kept(archive)


@pytest.mark.rootonly
@pytest.mark.parametrize("index", ["kept", "lost"])
def test_a_full_disk_can_be_read_and_collected(small_disk: Path, index: str) -> None:
    """The hint says so: 'outlast gc'."""
    home = small_disk / "home"
    begin(home).close()
    if index == "lost":
        (home / "index.sqlite").unlink()
    fill(small_disk)
    with Archive(home) as archive:
        check_kept(archive)
        assert [g.name for g in collect(archive, dry_run=False)] == [Digest.of(b"garbage").hex]


@pytest.mark.rootonly
def test_a_read_only_file_system(small_disk: Path) -> None:
    """It can be read; what would write says why it cannot."""
    home = small_disk / "home"
    begin(home).close()
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    try:
        archive = Archive(home)
    except StorageError as error:
        check_error(error)  # saying so is honest too
        return
    with archive:
        check_kept(archive)
        with pytest.raises(StorageError):
            archive.writer()
        with pytest.raises(StorageError):
            archive.delete_revision(REPO, COMMIT)


# A simulated one: every single step fails, once


class FailsOnce(FaultyOs):
    """Step number `fuse` is refused for want of room; all others succeed."""

    def __init__(self, fuse: int, number: int = errno.ENOSPC) -> None:
        super().__init__()
        self.at = fuse
        self.number = number

    def _step(self, name: str, real: Callable[..., Any], *args: Any) -> Any:
        takes_room = name in {"open", "mkdir", "write", "pwrite", "fsync", "rename", "ftruncate"}
        if takes_room:
            self.steps.append(name)
            if len(self.steps) - 1 == self.at:
                raise OSError(self.number, os.strerror(self.number))
        return real(*args)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("act", ACTS, ids=lambda act: act.__name__)
def test_any_step_may_be_the_one_that_finds_no_room(tmp_path: Path, act: Act, number: int) -> None:
    with begin(tmp_path / "home") as archive, archive.writer() as writer:
        before = Model.read(archive.layout.home)
        for fuse in range(60):
            failing = FailsOnce(fuse, number)
            try:
                with seeing(failing):
                    act(archive, writer)
            except DiskFullError:
                found = Model.read(archive.layout.home)
                if act not in {set_ref, set_about}:
                    check_kept(archive)
                assert before.blobs.items() <= found.blobs.items()
                assert set(before.manifests) <= set(found.manifests)
            else:
                assert fuse > 1
                return
        pytest.fail("it has no end")


def test_a_file_system_that_does_not_know_its_size_is_not_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some network mounts have no blocks at all, by their own account."""
    known = os.statvfs(tmp_path)
    assert disk.free_bytes(tmp_path) < 1 << 60
    for blocks, free in ((0, False), (1, True)):
        values = [4096, 4096, blocks, 0, 0, *known[5:]]
        monkeypatch.setattr(os, "statvfs", lambda _, v=values: os.statvfs_result(v))
        assert (disk.free_bytes(tmp_path) == 0) is free
