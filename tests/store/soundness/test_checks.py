"""No byte of a plain blob is read that was not compared since the file changed."""

import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from outlast.codec.hashing import names_of
from outlast.codec.payload import Form
from outlast.core.digest import Digest
from outlast.core.errors import DamagedError, TransientError
from outlast.store import disk
from outlast.store.archive import Archive
from outlast.store.soundness import checks
from outlast.store.soundness.damage import Why
from outlast.store.soundness.table import Compared, Table
from outlast.store.soundness.tuning import TUNING

MIB = 1 << 20
SMALL = b"one piece alone" * 100
LARGE = os.urandom(MIB) * 3 + b"and some more"
BOTH = pytest.mark.parametrize("data", [SMALL, LARGE], ids=["small", "large"])


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    archive = Archive(tmp_path / "home", create=True)
    archive.soundness._table = Table()
    archive.soundness.tuning = replace(TUNING, settle=-1.0)  # all that was written is old
    with archive.writer() as writer:
        for data in (SMALL, LARGE):
            archive.put(writer, data, names_of(data))
            archive.soundness.forget(Digest.of(data))  # as if it lay there for long
    return archive


def flip(archive: Archive, data: bytes, at: int) -> Path:
    """Flips a bit as rot does: nothing of the file tells that it changed but its ctime, which no
    program can set.
    """
    path = archive.layout.blob(Digest.of(data))
    stat = path.stat()
    path.chmod(0o644)
    with open(path, "r+b") as file:
        file.seek(at)
        (byte,) = file.read(1)
        file.seek(at)
        file.write(bytes([byte ^ 4]))
    path.chmod(0o444)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    return path


def read(archive: Archive, data: bytes, offset: int = 0, length: int | None = None) -> bytes:
    with archive.open_blob(Digest.of(data)) as blob:
        buffer = bytearray(len(data) - offset if length is None else length)
        blob.readinto(offset, memoryview(buffer))
        return bytes(buffer)


def reads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The pieces that are compared from now on."""
    found: list[int] = []
    compare = checks.CheckedFile._compare

    def noted(self: checks.CheckedFile, index: int, *rest: object) -> None:
        found.append(index)
        compare(self, index, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(checks.CheckedFile, "_compare", noted)
    return found


@BOTH
def test_the_bytes_are_those_that_were_stored(archive: Archive, data: bytes) -> None:
    assert read(archive, data) == data
    for offset in (0, 1, len(data) // 2, len(data) - 1, len(data)):
        assert read(archive, data, offset, min(7, len(data) - offset)) == data[offset:][:7]
    with archive.open_blob(Digest.of(data)) as blob:
        assert b"".join(map(bytes, blob.chunks())) == data
        assert blob.sha256() == Digest.of(data)
    with archive.open(Digest.of(data)) as file:
        assert file.read() == data


@BOTH
def test_each_flipped_bit_is_seen_and_noted(archive: Archive, data: bytes) -> None:
    digest = Digest.of(data)
    assert read(archive, data) == data
    flip(archive, data, len(data) - 1)
    with pytest.raises(DamagedError):
        read(archive, data)
    (found,) = archive.damage.of(digest)
    assert (found.form, found.why) == (Form.PLAIN, Why.ROT)
    assert found.parts == ((len(data) - 1) // MIB,)
    assert not archive.has(digest, len(data))
    with pytest.raises(DamagedError):
        archive.open_blob(digest)
    with Archive(archive.layout.home) as later, pytest.raises(DamagedError):
        later.open_blob(digest)


def test_pieces_beside_a_damaged_one_were_read_before(archive: Archive) -> None:
    with archive.open_blob(Digest.of(LARGE)) as blob:
        flip(archive, LARGE, MIB + 7)
        buffer = memoryview(bytearray(MIB))
        blob.readinto(0, buffer)
        assert buffer == LARGE[:MIB]
        with pytest.raises(DamagedError):
            blob.readinto(MIB - 1, buffer[:2])
        blob.readinto(2 * MIB, buffer)
        assert buffer == LARGE[2 * MIB : 3 * MIB]
        with pytest.raises(DamagedError):
            blob.require(0, len(LARGE))


def test_a_piece_is_compared_once(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    compared = reads(monkeypatch)
    assert read(archive, LARGE, MIB, 5) == LARGE[MIB : MIB + 5]
    assert read(archive, LARGE, MIB + 9, 5) == LARGE[MIB + 9 : MIB + 14]
    assert compared == [1]
    read(archive, LARGE)
    assert sorted(compared) == [0, 1, 2, 3]
    read(archive, LARGE)
    with Archive(archive.layout.home) as other:  # another process
        other.soundness._table = Table()
        assert read(other, LARGE) == LARGE
    assert len(compared) == 4


def test_what_was_hashed_while_it_was_written_is_not_compared(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = LARGE[::-1]
    with archive.writer() as writer:
        archive.put(writer, data, names_of(data))
    compared = reads(monkeypatch)
    with Archive(archive.layout.home) as other:
        other.soundness._table = Table()
        assert read(other, data) == data
    assert compared == []
    flip(archive, data, 5)
    with pytest.raises(DamagedError):
        read(archive, data)


def test_a_link_of_a_file_of_the_users_is_compared_and_left_as_it_is(
    archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = LARGE[::-1]
    theirs = tmp_path / "theirs"
    theirs.write_bytes(data)
    os.utime(theirs, ns=(10**18, 10**18))
    names = names_of(data)
    with archive.writer() as writer:
        temp = writer.temp()
        temp.unlink(missing_ok=True)
        os.link(theirs, temp)
        writer.publish_blob(temp, names.sha256, names.size, names.sums)
    assert theirs.stat().st_mtime_ns == 10**18
    compared = reads(monkeypatch)
    assert read(archive, data) == data
    assert sorted(compared) == [0, 1, 2, 3]


def test_a_file_that_changed_is_compared_again(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    read(archive, LARGE)
    compared = reads(monkeypatch)
    os.utime(archive.layout.blob(Digest.of(LARGE)))
    read(archive, LARGE)
    assert sorted(compared) == [0, 1, 2, 3]


def test_what_changed_a_moment_ago_is_compared_each_time(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive.soundness.tuning = replace(TUNING, settle=1e9)
    compared = reads(monkeypatch)
    read(archive, SMALL)
    read(archive, SMALL)
    assert compared == [0, 0]


@pytest.mark.parametrize("shift", [-TUNING.recheck * 1.01, TUNING.recheck * 1.01, 86400.0 * 3650])
def test_it_is_compared_again_after_long_whatever_the_clock_says(
    archive: Archive, monkeypatch: pytest.MonkeyPatch, shift: float
) -> None:
    read(archive, LARGE)
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() + shift)
    archive.soundness._table = Table()  # another process
    compared = reads(monkeypatch)
    read(archive, LARGE)
    assert len(compared) == 4


def test_a_process_that_runs_for_long_compares_again(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    read(archive, LARGE)
    steady, wall = time.monotonic, time.time
    monkeypatch.setattr(time, "monotonic", lambda: steady() + TUNING.recheck + 1)
    monkeypatch.setattr(time, "time", lambda: wall() + TUNING.recheck + 1)
    compared = reads(monkeypatch)
    read(archive, LARGE)
    assert len(compared) == 4


@pytest.mark.parametrize("what", ["missing", "damaged", "short", "long"])
def test_without_sums_all_is_hashed_first(archive: Archive, what: str) -> None:
    path = archive.layout.sums_of(Digest.of(LARGE))
    right = path.read_bytes()
    path.chmod(0o644)
    match what:
        case "missing":
            path.unlink()
        case "damaged":
            path.write_bytes(right[:60] + bytes([right[60] ^ 1]) + right[61:])
        case "short":
            path.write_bytes(right[:-1])
        case "long":
            path.write_bytes(right + b"x")
    assert read(archive, LARGE, 5, 5) == LARGE[5:10]
    assert path.read_bytes() == right


def test_without_sums_damage_is_seen_before_the_first_byte(archive: Archive) -> None:
    archive.layout.sums_of(Digest.of(LARGE)).unlink()
    flip(archive, LARGE, len(LARGE) - 1)
    with pytest.raises(DamagedError):
        read(archive, LARGE, 0, 1)
    assert not archive.layout.sums_of(Digest.of(LARGE)).exists()


@BOTH
def test_a_file_that_was_cut_is_damaged(archive: Archive, data: bytes) -> None:
    path = archive.layout.blob(Digest.of(data))
    with archive.open_blob(Digest.of(data)) as blob:
        path.chmod(0o644)
        os.truncate(path, len(data) - 1)
        with pytest.raises(DamagedError):
            blob.readinto(0, memoryview(bytearray(1)))
    assert archive.damage.of(Digest.of(data))[0].why is Why.TRUNCATED


def test_an_edit_through_another_name_is_called_so(archive: Archive, tmp_path: Path) -> None:
    os.link(archive.layout.blob(Digest.of(SMALL)), tmp_path / "mine")
    (tmp_path / "mine").chmod(0o644)
    (tmp_path / "mine").write_bytes(SMALL[::-1])
    with pytest.raises(DamagedError, match="changed through another name"):
        read(archive, SMALL)


def test_a_file_that_was_replaced_is_no_damage(archive: Archive) -> None:
    """Only the file that holds the blob now is damage of the archive."""
    digest = Digest.of(LARGE)
    with archive.open_blob(digest) as blob:
        path = flip(archive, LARGE, 5)
        path.unlink()
        with archive.writer() as writer:
            archive.put(writer, LARGE, names_of(LARGE))
        with pytest.raises(DamagedError):
            blob.readinto(0, memoryview(bytearray(1)))
    assert not archive.damage.of(digest)
    assert read(archive, LARGE) == LARGE


@BOTH
def test_what_is_stored_anew_is_right_again(archive: Archive, data: bytes) -> None:
    digest = Digest.of(data)
    flip(archive, data, 0)
    with pytest.raises(DamagedError):
        read(archive, data)
    with archive.writer() as writer:
        archive.put(writer, data, names_of(data))
    assert archive.has(digest, len(data))
    assert read(archive, data) == data


def test_a_change_while_it_is_sent_shows(archive: Archive) -> None:
    with archive.open_blob(Digest.of(LARGE)) as blob:
        identity = blob.require(0, len(LARGE))
        assert blob.is_compared(0, len(LARGE))
        assert blob.is_unchanged(identity)
        flip(archive, LARGE, 0)
        assert not blob.is_unchanged(identity)
        assert not blob.is_compared(0, 1)


def test_a_file_that_changes_all_the_while_is_not_read(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, exactly = archive.layout.blob(Digest.of(LARGE)), disk.read_exactly
    times = iter(range(10**9))

    def touched(fd: int, buffer: memoryview, offset: int) -> bool:
        os.utime(path, ns=(next(times), next(times)))
        return exactly(fd, buffer, offset)

    monkeypatch.setattr(disk, "read_exactly", touched)
    with pytest.raises(TransientError):
        read(archive, LARGE)


def test_the_table_has_bounds() -> None:
    table = Table(10_000)
    for number in range(1000):
        digest = Digest.of(b"%d" % number)
        table.put(digest, (0, number, 0, 0, 0), Compared(MIB, 0.0))
    assert len(table._files) == 10_000 // 301
    assert table._cost <= 10_000
    assert table.get(digest, (0, 999, 0, 0, 0)) is not None
    table.forget(digest)
    assert table.get(digest, (0, 999, 0, 0, 0)) is None
