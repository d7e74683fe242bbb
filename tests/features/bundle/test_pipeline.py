"""Blocks on their way through threads: in order, in bounded memory, and errors are heard."""

import os
import threading
from pathlib import Path
from random import Random

import pytest

from outlast.codec.bundle.stream import BundleBlocks, StreamReader
from outlast.core.cancel import Cancel
from outlast.core.control import Control
from outlast.core.digest import Names
from outlast.core.errors import Cancelled, StorageError
from outlast.core.events import Event, FileDone, Progress
from outlast.core.names import Target
from outlast.features.bundle import take_payload
from outlast.features.bundle.archive_stream import DamagedPayloadError
from outlast.features.bundle.buffers import Buffers, Lent
from outlast.features.bundle.ordered import InOrder
from outlast.features.bundle.payload_check import PayloadChecks
from outlast.features.bundle.planning import ExportWishes, make_plan
from outlast.sources.bundle.media import PartFiles, head_of, look
from outlast.store import disk
from outlast.store.archive import Archive
from tests.cli.call import until
from tests.features.bundle.test_media_damage import Counted
from tests.features.bundle.world import export_to, files_below, import_from, put

MANY = 30
"""Payloads: more than there are buffers."""


# Threads


def test_work_in_order_and_each_is_given_back() -> None:
    seen: list[int] = []
    back: list[int] = []
    work = InOrder(seen.append, "test", after=back.append)
    for i in range(40):
        work.put(i)
    work.settle()
    assert seen == back == [*range(40)]
    work.close()


def test_behind_an_error_nothing_is_done_and_all_is_given_back() -> None:
    seen: list[int] = []
    back: list[int] = []

    def fail(number: int) -> None:
        if number == 3:
            raise ValueError("no")
        seen.append(number)

    work = InOrder(fail, "test", after=back.append, most=2)
    for i in range(1000):
        try:
            work.put(i)
        except ValueError:
            break
    work.abandon()
    assert seen == [0, 1, 2]
    assert sorted(back) == [*range(i + 1)], "that which was refused, too"
    with pytest.raises(ValueError, match="no"):
        work.close()


def test_a_producer_waits_for_room() -> None:
    go, done = threading.Event(), list[int]()
    work = InOrder[int](lambda _: go.wait(), "test", most=2)

    def produce() -> None:
        for i in range(9):
            done.append(i)
            work.put(i)

    producer = threading.Thread(target=produce)
    producer.start()
    until(lambda: len(done) == 4, "one is worked on, two wait, the next one is held up")
    assert len(done) == 4
    go.set()
    producer.join()
    work.close()
    assert len(done) == 9


def test_memory_is_used_again_and_bounded() -> None:
    buffers = Buffers(10, 2)
    first, second = buffers.take(10), buffers.take(4)
    assert len(second.data) == 4
    first.data[:] = b"0123456789"
    first.keep()
    first.done()
    taken: list[Lent] = []
    waiting = threading.Thread(target=lambda: taken.append(buffers.take(10)))
    waiting.start()
    first.done()
    waiting.join()
    assert bytes(taken[0].data) == b"0123456789", "the same memory"
    second.close()
    assert buffers.take(1).data.nbytes == 1


# Import and export


def many(archive: Archive, folder: Path) -> None:
    files = {f"{i:02}.bin": Random(i).randbytes(20_000) for i in range(MANY)}
    put(archive, folder, files | {"large.bin": Random(99).randbytes(3_300_000)}, "org/many")


@pytest.fixture
def full(tmp_path: Path) -> Archive:
    archive = Archive(tmp_path / "full", create=True)
    many(archive, tmp_path / "folder")
    return archive


def test_payloads_that_cannot_be_read_leave_their_memory(
    full: Archive, other: Archive, tmp_path: Path
) -> None:
    done = export_to(full, tmp_path / "usb", "org/many", wishes=ExportWishes(parity=0))
    cut = done.contents.geometry
    for part in range(cut.parts):
        path = tmp_path / "usb" / cut.name(part)
        data = bytearray(path.read_bytes())
        first = cut.place(done.contents.base)
        for row in range(first.row + 1 if part == first.part else 0, cut.rows_of(part)):
            data[cut.frame_at(row) + 7] ^= 1
        path.write_bytes(data)
    (result,) = import_from(other, tmp_path / "usb")
    assert len(result.refused) >= MANY
    assert not [*other.layout.tmp.rglob("*.tmp")]


def test_a_cancelled_import_keeps_what_it_acknowledged(
    full: Archive, other: Archive, tmp_path: Path
) -> None:
    export_to(full, tmp_path / "usb", "org/many")
    cancel, done, seen = Cancel(), list[str](), 0

    def emit(event: Event) -> None:
        nonlocal seen
        if isinstance(event, Progress):
            seen += 1
            if seen == 9:
                cancel.set()
        if isinstance(event, FileDone):
            done.append(event.path)

    with pytest.raises(Cancelled):
        import_from(other, tmp_path / "usb", control=Control(emit, cancel))
    held = files_below(other.layout.home)
    assert done
    assert len([name for name in held if name.startswith("blobs")]) >= len(done)
    assert not [*other.layout.tmp.rglob("*.tmp")]
    (result,) = import_from(other, tmp_path / "usb")
    assert result.is_whole
    assert result.had_files == len(done)
    assert files_below(other.layout.home) == files_below(full.layout.home)


def test_nothing_is_published_that_the_disk_did_not_take(
    full: Archive, other: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export_to(full, tmp_path / "usb", "org/many")
    fsync = disk.fsync

    def failing(fd: int) -> None:
        if os.fstat(fd).st_size == 20_000:
            raise OSError(5, "Input/output error")
        fsync(fd)

    monkeypatch.setattr(disk, "fsync", failing)
    with pytest.raises(StorageError, match="Input/output"):
        import_from(other, tmp_path / "usb")
    assert not [name for name in files_below(other.layout.home) if name.startswith("blobs")]
    assert not [*other.layout.tmp.rglob("*.tmp")]


def test_a_payload_is_kept_while_the_next_one_comes(
    full: Archive, other: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first one is not published before the second was read."""
    export_to(full, tmp_path / "usb", "org/many")
    two = threading.Event()
    received = 0
    copy, sync = take_payload._copy, take_payload.TempFile.sync

    def counted(*arguments: object) -> None:
        nonlocal received
        copy(*arguments)  # type: ignore[arg-type]
        received += 1
        if received == 2:
            two.set()

    def waiting(self: take_payload.TempFile) -> None:
        assert two.wait(60), "the next payload waits for the last one"
        sync(self)

    monkeypatch.setattr(take_payload, "_copy", counted)
    monkeypatch.setattr(take_payload.TempFile, "sync", waiting)
    (result,) = import_from(other, tmp_path / "usb")
    assert result.is_whole


def test_a_payload_comes_while_the_last_one_is_hashed(
    full: Archive, other: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what is hashed is not published before that is done."""
    done = export_to(full, tmp_path / "usb", "org/many")
    first = done.contents.payloads[0]
    behind, copy, names = threading.Event(), take_payload._copy, take_payload._Hashing.names
    begun = False

    def counted(*arguments: object) -> None:
        nonlocal begun
        if begun:
            behind.set()
        begun = True
        copy(*arguments)  # type: ignore[arg-type]

    def waiting(self: take_payload._Hashing) -> Names:
        found = names(self)
        if found.sha256 == first.blob:
            assert behind.wait(60), "the next payload waits for the last one's hashes"
            assert not other.layout.blob(first.blob).exists()
        return found

    monkeypatch.setattr(take_payload, "_copy", counted)
    monkeypatch.setattr(take_payload._Hashing, "names", waiting)
    (result,) = import_from(other, tmp_path / "usb")
    assert result.is_whole
    assert other.layout.blob(first.blob).exists()


def test_a_block_that_two_pieces_share_is_read_once(full: Archive, tmp_path: Path) -> None:
    done = export_to(full, tmp_path / "usb", "org/many")
    head, cut = head_of(done.contents), done.contents.geometry
    with PartFiles(cut, look([tmp_path / "usb"]).parts[done.contents.id]) as files:
        counted = Counted(files)
        stream = StreamReader(BundleBlocks(counted, head))
        size = cut.layout.block + 100
        whole = bytearray(stream.size)
        for at in range(0, stream.size, size):
            stream.readinto(at, memoryview(whole)[at : at + size])
        assert set(counted.reads.values()) == {1}
        again = bytearray(stream.size)
        stream.readinto(0, memoryview(again))
        assert again == whole
        part = bytearray(50)
        for at in (17, cut.layout.block * 2 + 5, 17):
            stream.readinto(at, memoryview(part))
            assert part == whole[at : at + 50]


@pytest.mark.parametrize("has_sums", [True, False])
def test_a_plain_payload_is_compared_as_it_goes_by(full: Archive, has_sums: bool) -> None:
    plan = make_plan(full, [Target.parse("org/many")], ExportWishes(parity=0))
    payload = max(plan.contents.payloads, key=lambda one: one.size)
    assert payload.size == 3_300_000
    sums = full.layout.sums_of(payload.blob)
    assert sums.exists()
    if not has_sums:
        sums.unlink()
    right = full.layout.blob(payload.blob).read_bytes()

    def check(data: bytes | bytearray) -> None:
        checks = PayloadChecks(full, plan.contents, plan.records)
        start, view = plan.contents.base + payload.offset, memoryview(data)
        checks.update(start, view[:700_000])
        checks.update(start + 700_000, view[700_000:])
        checks.close()

    check(right)
    for at in (0, 1 << 20, payload.size - 1):
        data = bytearray(right)
        data[at] ^= 1
        with pytest.raises(DamagedPayloadError, match="is damaged"):
            check(data)
