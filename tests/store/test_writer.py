"""Writers: leases hold against garbage collection, also while other processes write."""

import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from outlast.codec.hashing import names_of
from outlast.core.digest import Digest
from outlast.core.errors import DiskFullError
from outlast.store.archive import Archive
from outlast.store.collect import collect
from outlast.store.writer import WriteSession
from tests.store.build import COMMIT, REPO, archive_revision, put, revision_of
from tests.store.fault import FaultyOs, die, seeing


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    with Archive(tmp_path / "home", create=True) as made:
        yield made


def collected(archive: Archive, *, dry_run: bool = False) -> set[str]:
    return {g.name for g in collect(archive, dry_run=dry_run)}


def test_claims_last_as_long_as_their_writer(archive: Archive) -> None:
    with archive.writer() as one:
        (digest,) = put(archive, one, b"x")
        with archive.writer() as two:
            assert two.lease(digest, 1)
        assert collected(archive) == set()
        assert archive.has(digest, 1)
    assert collected(archive, dry_run=True) == {digest.hex}
    assert archive.has(digest, 1)
    assert collected(archive) == {digest.hex}
    assert not archive.has(digest, 1)


def test_claims_of_what_is_not_here(archive: Archive) -> None:
    digest = Digest.of(b"x")
    with archive.writer() as one, archive.writer() as two:
        assert not one.lease(digest, 1)
        put(archive, two, b"x")
        assert not one.lease(digest, 2), "the size differs"


def test_a_claim_from_before_holds_what_another_puts(archive: Archive) -> None:
    digest = Digest.of(b"x")
    with archive.writer() as one:
        one.lease(digest, 1)
        with archive.writer() as two:
            put(archive, two, b"x")
        assert collected(archive) == set()


def test_references_hold_when_the_writer_is_gone(archive: Archive) -> None:
    with archive.writer() as writer:
        put(archive, writer, b"a", b"b", b"c")
        archive.put_revision(writer, revision_of({"a": b"a"}))
        archive.drafts.start(writer, revision_of({"b": b"b"}, commit=None))
    assert collected(archive) == {Digest.of(b"c").hex}
    archive.delete_revision(REPO, COMMIT)
    assert collected(archive) == {Digest.of(b"a").hex}


def test_closing_leaves_nothing_behind(archive: Archive) -> None:
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    with archive.writer() as writer:
        writer.temp().write_bytes(b"unpublished")
        assert len({writer.temp() for _ in range(10)}) == 10
    assert os.listdir(archive.layout.tmp) == []
    if before:
        assert len(os.listdir("/proc/self/fd")) == before


def test_closing_twice_closes_no_other_file(archive: Archive) -> None:
    writer = archive.writer()
    writer.close()
    fds = [os.open(os.devnull, os.O_RDONLY) for _ in range(4)]
    writer.close()
    for fd in fds:
        os.close(fd)


def test_what_dead_writers_left_is_swept(archive: Archive) -> None:
    writer = archive.writer()
    writer.temp().write_bytes(b"unpublished")
    put(archive, writer, b"x")
    assert collected(archive) == set()
    die(writer)
    assert any(g.what == "tmp" for g in collect(archive, dry_run=True))
    assert os.listdir(archive.layout.tmp) != []
    assert Digest.of(b"x").hex in collected(archive)
    assert os.listdir(archive.layout.tmp) == []


def test_collecting_while_a_writer_closes(archive: Archive) -> None:
    """Its folder goes file by file; a collection in between must not stumble."""
    revision = archive_revision(archive, {"a": b"a"})
    results: list[object] = []

    class Slow(FaultyOs):
        def rmtree(self, path: Path, *, ignore_errors: bool = False) -> None:
            (path / "claims").unlink()
            thread = threading.Thread(target=collecting)
            thread.start()
            thread.join(0.5)  # where closing excludes collecting, it waits for us
            super().rmtree(path, ignore_errors=ignore_errors)
            threads.append(thread)

    def collecting() -> None:
        try:
            results.append(collected(archive))
        except BaseException as error:
            results.append(error)

    threads: list[threading.Thread] = []
    writer = archive.writer()
    with seeing(Slow()):
        writer.close()
    for thread in threads:
        thread.join()
    assert len(results) == 1
    assert isinstance(results[0], set), results
    assert all(archive.holds(entry) for entry in revision.files)


class ShortWrites(FaultyOs):
    """A kernel that takes half of what it is given to append: the disk is nearly full."""

    def write(self, fd: int, data: Any) -> int:
        return os.write(fd, data[: max(1, len(data) // 2)])


@pytest.mark.parametrize("how", ["lease", "put"])
def test_a_claim_that_the_kernel_takes_in_parts_is_whole(archive: Archive, how: str) -> None:
    with archive.writer() as other:
        put(archive, other, b"x", b"y")
    with archive.writer() as writer:
        with seeing(ShortWrites()):
            for data in (b"x", b"y"):
                if how == "lease":
                    assert writer.lease(Digest.of(data), 1)
                else:
                    put(archive, writer, data)
        assert collected(archive) == set()


def test_a_claim_after_one_that_failed_halfway_counts(archive: Archive) -> None:
    class Full(FaultyOs):
        def write(self, fd: int, data: Any) -> int:
            if len(data) < 40:
                raise OSError(28, "No space left on device")
            return os.write(fd, data[:40])

    with archive.writer() as other:
        put(archive, other, b"x", b"y")
    with archive.writer() as writer:
        with seeing(Full()), pytest.raises(DiskFullError):
            writer.lease(Digest.of(b"x"), 1)
        assert writer.lease(Digest.of(b"y"), 1)
        assert Digest.of(b"y").hex not in collected(archive)


@pytest.mark.parametrize("shared", [True, False])
def test_eight_threads_put_the_same_blobs(archive: Archive, shared: bool) -> None:
    contents = [b"%d" % n * 5000 for n in range(6)]
    names = [names_of(data) for data in contents]
    barrier = threading.Barrier(8)
    common = archive.writer()

    def work(writer: WriteSession) -> None:
        barrier.wait(30)
        for data, each in zip(contents, names, strict=True):
            archive.put(writer, data, each)
            assert archive.path(each.sha256).read_bytes() == data

    def alone(_: int) -> None:
        if shared:
            work(common)
            return
        with archive.writer() as writer:
            work(writer)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(alone, range(8)))
    assert not [path for path in common.folder.iterdir() if path.suffix == ".tmp"]
    common.close()
    assert len(list(archive.blobs())) == 6
    assert os.listdir(archive.layout.tmp) == []
    assert len(collected(archive)) == 6


def test_threads_put_and_claim_while_another_collects(archive: Archive) -> None:
    """What was claimed or put is there until its writer closes, whatever is collected."""
    stop = threading.Event()

    def collecting() -> int:
        rounds = 0
        while not stop.is_set():
            collected(archive)
            rounds += 1
        return rounds

    def writing(seed: int) -> None:
        for n in range(25):
            data = b"%d" % ((seed + n) % 10)
            with archive.writer() as writer:
                if not writer.lease(Digest.of(data), len(data)):
                    put(archive, writer, data)
                assert archive.path(Digest.of(data)).read_bytes() == data

    with ThreadPoolExecutor(5) as pool:
        collector = pool.submit(collecting)
        try:
            list(pool.map(writing, range(4)))
        finally:
            stop.set()
        assert collector.result() > 0
