"""Files that are synced while more of them comes."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from outlast.store import disk, write_behind
from outlast.store.write_behind import WriteBehind

WINDOW = 1000


@pytest.fixture
def fd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    monkeypatch.setattr(write_behind, "_EVERY", WINDOW)
    found = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    yield found
    os.close(found)


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The size of the file at each sync."""
    sizes: list[int] = []

    def fsync(fd: int) -> None:
        sizes.append(os.fstat(fd).st_size)
        os.fsync(fd)

    monkeypatch.setattr(disk, "fsync", fsync)
    return sizes


def test_all_bytes_in_order_and_the_last_ones_synced(fd: int, synced: list[int]) -> None:
    with WriteBehind(fd) as file:
        for i in range(50):
            file.append(bytes([i]) * 70)
        file.sync()
    assert os.pread(fd, 5000, 0) == b"".join(bytes([i]) * 70 for i in range(50))
    assert len(synced) == 50 * 70 // 1050 + 1, "one in the background for each window"
    assert synced[-1] == 3500


def test_no_more_than_two_windows_wait_for_the_disk(
    fd: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    behind: list[int] = []
    written = 0

    def fsync(_fd: int) -> None:
        behind.append(written - sum(done))
        done.append(written - sum(done))

    done: list[int] = []
    monkeypatch.setattr(disk, "fsync", fsync)
    with WriteBehind(fd) as file:
        for _ in range(100):
            written += 100
            file.append(bytes(100))
        file.sync()
    assert max(behind) <= 2 * WINDOW + 100
    assert sum(done) == 10_000


def test_a_sync_that_failed_is_heard(fd: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once, the kernel says so: what was lost must not be forgotten by a sync that works."""
    answers = iter([OSError(5, "Input/output error")])

    def fsync(_fd: int) -> None:
        for error in answers:
            raise error

    monkeypatch.setattr(disk, "fsync", fsync)
    with WriteBehind(fd) as file:
        file.append(bytes(WINDOW))
        for _ in range(2):
            with pytest.raises(OSError, match="Input/output"):
                file.sync()


def test_no_write_is_so_long_that_the_kernel_looks_for_long_memory(
    fd: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    lengths: list[int] = []
    write = os.write

    def noting(fd: int, data: memoryview) -> int:
        lengths.append(len(data))
        return write(fd, data[:-1] if len(lengths) == 2 else data)

    monkeypatch.setattr(os, "write", noting)
    data = os.urandom(3 * disk.WRITE + 5)
    with WriteBehind(fd) as file:
        file.append(data)
    assert max(lengths) <= disk.WRITE <= 64 << 10
    assert os.pread(fd, len(data) + 1, 0) == data, "what a short write left is written too"
