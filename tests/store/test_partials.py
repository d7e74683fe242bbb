"""Downloads in progress: they resume, never twice at once, and are never trusted."""

import contextlib
import hashlib
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from outlast.codec import merkle
from outlast.codec.hashing import names_of
from outlast.core.digest import Digest, GitOid
from outlast.core.errors import BusyError, StorageError
from outlast.core.manifest import FileEntry
from outlast.store.archive import Archive
from outlast.store.collect import collect
from outlast.store.partials import Partial, present_bytes
from tests.store.build import COMMIT, REPO, entry_of, revision_of
from tests.store.fault import FaultyOs, seeing

DATA = hashlib.shake_128(b"partial").digest(2 * merkle.PIECE + 100)
ENTRY = entry_of("model.bin", DATA)
SHA = Digest(ENTRY.key)
HEADER = 24


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    with Archive(tmp_path / "home", create=True) as made:
        yield made


def piece(index: int) -> bytes:
    return DATA[index * merkle.PIECE : (index + 1) * merkle.PIECE]


def receive(archive: Archive, *indexes: int) -> None:
    with archive.partial(ENTRY) as partial:
        for index in indexes:
            partial.write(index, piece(index))


def have(archive: Archive) -> list[int]:
    with archive.partial(ENTRY) as partial:
        buffer = memoryview(bytearray(merkle.PIECE))
        for index, there in enumerate(partial.have):
            if there:
                assert partial.read(index, buffer) == piece(index)
        return [index for index, there in enumerate(partial.have) if there]


def journal_of(archive: Archive) -> Path:
    return archive.layout.partial / f"{SHA}.have"


def data_of(archive: Archive) -> Path:
    return archive.layout.partial / f"{SHA}.data"


def present(archive: Archive) -> int:
    return present_bytes(archive.layout, ENTRY.key, ENTRY.size)


def test_it_resumes_after_reopening(archive: Archive) -> None:
    assert present(archive) == 0
    assert have(archive) == []
    receive(archive, 2)
    with Archive(archive.layout.home) as again:
        assert have(again) == [2]
        receive(again, 0)
    assert have(archive) == [0, 2]
    assert present(archive) == min(2 * merkle.PIECE, ENTRY.size)


def test_it_becomes_the_blob(archive: Archive) -> None:
    with archive.writer() as writer:
        with archive.partial(ENTRY) as partial:
            for index in (2, 0, 1):
                partial.write(index, piece(index))
            partial.flush()
            partial.finish(writer, SHA)
        assert archive.path(SHA).read_bytes() == DATA
        assert stat.S_IMODE(archive.path(SHA).stat().st_mode) == 0o444
        assert os.listdir(archive.layout.partial) == []
        assert list(collect(archive, dry_run=False)) == [], "it is claimed"
    assert [g.name for g in collect(archive, dry_run=False)] == [SHA.hex]


def test_it_is_dropped_where_the_blob_came_another_way(archive: Archive) -> None:
    with archive.writer() as writer, archive.partial(ENTRY) as partial:
        for index in range(3):
            partial.write(index, piece(index))
        archive.put(writer, DATA, names_of(DATA))
        inode = archive.path(SHA).stat().st_ino
        partial.finish(writer, SHA)
        assert archive.path(SHA).stat().st_ino == inode
    assert os.listdir(archive.layout.partial) == []


def test_discard_and_forget(archive: Archive) -> None:
    receive(archive, 0, 1)
    with archive.partial(ENTRY) as partial:
        partial.forget(0)
        assert list(partial.have) == [0, 1, 0]
    assert have(archive) == [1]
    with archive.partial(ENTRY) as partial:
        partial.discard()
    assert os.listdir(archive.layout.partial) == []
    assert have(archive) == []


def test_an_empty_file_and_one_known_by_its_git_id(archive: Archive) -> None:
    empty = entry_of("empty", b"")
    by_git = FileEntry("x", 3, None, GitOid.of_blob(b"abc"))
    with archive.writer() as writer:
        for entry, data in ((empty, b""), (by_git, b"abc")):
            with archive.partial(entry) as partial:
                if data:
                    partial.write(0, data)
                partial.finish(writer, Digest.of(data))
            assert archive.path(Digest.of(data)).read_bytes() == data


def header(size: int, piece_size: int) -> bytes:
    return b"olpart01" + size.to_bytes(8, "little") + piece_size.to_bytes(8, "little")


JOURNALS = {
    "empty": b"",
    "cut header": b"olpart01\x64",
    "garbage": os.urandom(64),
    "zeros": bytes(HEADER + 3),
    "other version": b"olpart02"
    + ENTRY.size.to_bytes(8, "little")
    + (1 << 20).to_bytes(8, "little"),
    "other size": header(ENTRY.size + 1, merkle.PIECE) + b"\1\1\1",
    "other piece size": header(ENTRY.size, 2 * merkle.PIECE) + b"\1\1\1",
    "text": b"hello\n",
    "huge": b"\1" * 100_000,
}


@pytest.mark.parametrize("what", JOURNALS)
def test_a_bad_journal_means_starting_again(archive: Archive, what: str) -> None:
    receive(archive, 0, 1)
    journal_of(archive).write_bytes(JOURNALS[what])
    assert present(archive) == 0
    assert have(archive) == []
    receive(archive, 1)
    assert have(archive) == [1]


@pytest.mark.parametrize("change", [-1, 1, -3])
def test_a_journal_of_the_wrong_length_means_starting_again(archive: Archive, change: int) -> None:
    receive(archive, 0, 1, 2)
    os.truncate(journal_of(archive), HEADER + 3 + change)
    assert have(archive) == []


@pytest.mark.parametrize("size", [0, 1, ENTRY.size - 1, ENTRY.size + 1, merkle.PIECE])
def test_data_of_the_wrong_size_mean_starting_again(archive: Archive, size: int) -> None:
    receive(archive, 0, 1)
    os.truncate(data_of(archive), size)
    assert have(archive) == []
    assert data_of(archive).stat().st_size == ENTRY.size


def test_another_declared_size_means_starting_again(archive: Archive) -> None:
    receive(archive, 0, 1)
    with Partial(archive.layout, ENTRY.key, ENTRY.size + 1) as partial:
        assert not any(partial.have)
    assert have(archive) == []


def test_lacking_data_or_journal_mean_starting_again(archive: Archive) -> None:
    for path in (data_of(archive), journal_of(archive)):
        receive(archive, 0)
        path.unlink()
        assert have(archive) == []


def test_a_file_in_the_way_is_said_to_be_there(archive: Archive) -> None:
    data_of(archive).mkdir()
    with pytest.raises(StorageError):
        archive.partial(ENTRY)
    data_of(archive).rmdir()
    journal_of(archive).mkdir()
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    for _ in range(3):
        with pytest.raises(StorageError):
            archive.partial(ENTRY)
    if before:
        assert len(os.listdir("/proc/self/fd")) == before, "no descriptor leaks"
    journal_of(archive).rmdir()
    assert have(archive) == [], "and no lock remains"


def test_a_read_only_leftover_is_taken_up(archive: Archive) -> None:
    """The last process died between making it read-only and giving it its name."""
    receive(archive, 0, 1)
    data_of(archive).chmod(0o444)
    assert have(archive) == [0, 1]
    receive(archive, 2)
    assert have(archive) == [0, 1, 2]


def test_the_journal_is_no_executable(archive: Archive) -> None:
    receive(archive, 0)
    assert not journal_of(archive).stat().st_mode & 0o111


# Two at once


def test_the_second_opener_is_told_so(archive: Archive) -> None:
    with archive.partial(ENTRY) as partial:
        partial.write(0, piece(0))
        for _ in range(3):
            with pytest.raises(BusyError):
                archive.partial(ENTRY)
        other = entry_of("y", b"y")
        archive.partial(other).__exit__(None, None, None)
    assert have(archive) == [0]


CHILD = """
import sys
from pathlib import Path
from outlast.store.layout import Layout
from outlast.store.partials import Partial
partial = Partial(Layout(Path(sys.argv[1])), sys.argv[2], int(sys.argv[3]))
partial.write(1, sys.stdin.buffer.read(1 << 20))
print("ready", flush=True)
sys.stdin.buffer.read()
"""


def test_two_processes(archive: Archive) -> None:
    command = [sys.executable, "-c", CHILD, str(archive.layout.home), SHA.hex, str(ENTRY.size)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        try:
            child.stdin.write(piece(1))
            child.stdin.flush()
            assert child.stdout.readline() == b"ready\n"
            with pytest.raises(BusyError):
                archive.partial(ENTRY)
            assert list(collect(archive, dry_run=False)) == [], "one in progress stays"
        finally:
            child.kill()
    assert have(archive) == [1], "what it received is kept, its lock is not"


def test_published_between_open_and_lock(archive: Archive) -> None:
    """The other opens the very file that the first renames away: it must not write into a blob."""
    first = archive.partial(ENTRY)
    for index in range(3):
        first.write(index, piece(index))
    done: list[Path] = []

    class Late(FaultyOs):
        def open(self, path: Any, flags: int, mode: int = 0o777) -> int:
            fd = super().open(path, flags, mode)
            if str(path).endswith(".data") and not done:
                done.append(path)
                first.finish(writer, SHA)
                first.__exit__(None, None, None)
            return fd

    with archive.writer() as writer:
        with seeing(Late()):
            second = archive.partial(ENTRY)
        with second:
            assert done
            assert not any(second.have)
            second.write(0, bytes(merkle.PIECE))
        assert archive.path(SHA).read_bytes() == DATA


# Garbage


def test_only_what_a_draft_waits_for_is_kept(archive: Archive) -> None:
    waited, unwaited = ENTRY, entry_of("y", b"y")
    with archive.writer() as writer:
        archive.drafts.start(writer, revision_of({}, {"model.bin": DATA}))
    for entry in (waited, unwaited):
        archive.partial(entry).__exit__(None, None, None)
    for dry_run in (True, False, False):
        found = [(g.what, g.name) for g in collect(archive, dry_run=dry_run)]
        assert found == [("partial", unwaited.key)] * (dry_run or len(found))
    assert sorted(os.listdir(archive.layout.partial)) == [f"{SHA}.data", f"{SHA}.have"]
    archive.drafts.delete(REPO, COMMIT)
    assert [g.name for g in collect(archive, dry_run=False)] == [SHA.hex]
    assert os.listdir(archive.layout.partial) == []


def test_a_journal_without_its_data_is_garbage(archive: Archive) -> None:
    receive(archive, 0)
    data_of(archive).unlink()
    list(collect(archive, dry_run=False))
    assert os.listdir(archive.layout.partial) == []


def test_a_collected_download_never_becomes_a_blob(archive: Archive) -> None:
    """Collection finds a partial unlocked, a download opens it, collection deletes it, a second
    download begins. When the first ends it must not publish the second's half of a file.
    """
    receive(archive, 0)
    opened: list[Partial] = []

    def download(_: int, step: str) -> None:
        if step == "unlink" and not opened:
            opened.append(archive.partial(ENTRY))

    try:
        with seeing(FaultyOs(hook=download)):
            list(collect(archive, dry_run=False))
    except BusyError:
        return  # collection holds the lock until the file is gone
    (first,) = opened
    with archive.writer() as writer, first:
        try:
            second = archive.partial(ENTRY)
        except BusyError:
            return  # the first is still the one at that name
        with second:
            second.write(0, piece(0))
            for index in range(3):
                first.write(index, piece(index))
            with contextlib.suppress(StorageError):
                first.finish(writer, SHA)
            if archive.has(SHA, ENTRY.size):
                assert archive.path(SHA).read_bytes() == DATA
