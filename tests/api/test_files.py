"""Files of an archive, read as any other file."""

import gc
import io
import os
import zipfile
from pathlib import Path
from random import Random

import pytest

import outlast
from outlast.core.control import Control
from outlast.core.names import Target
from outlast.ops.removal import collect_garbage, remove
from outlast.store.archive import Archive as Store
from tests.api.conftest import FILES, MIB


@pytest.fixture(params=["words.bin", "noise.bin"], ids=["capsule", "plain"])
def path(request: pytest.FixtureRequest, mine: outlast.Archive) -> str:
    name = str(request.param)
    held = list((mine.home / "blobs").glob("*/*"))
    plain = any(blob.stat().st_size == len(FILES[name]) for blob in held)
    assert plain == (name == "noise.bin")
    return name


def test_anywhere(mine: outlast.Archive, path: str) -> None:
    data, random = FILES[path], Random(1)
    with mine.open_file("me/mine", path) as file:
        assert (file.readable(), file.seekable(), file.writable()) == (True, True, False)
        for _ in range(30):
            start, length = random.randrange(len(data) + 9), random.randrange(2 * MIB)
            assert file.seek(start) == start == file.tell()
            assert file.read(length) == data[start : start + length]
        assert file.seek(-5, os.SEEK_END) == len(data) - 5
        assert file.read() == data[-5:]
        file.seek(0)
        assert file.read() == data
        buffer = bytearray(100)
        file.seek(7)
        assert file.readinto(buffer) == 100
        assert buffer == data[7:107]


def test_where_it_cannot_be_sought(mine: outlast.Archive, path: str) -> None:
    with mine.open_file("me/mine", path) as file:
        with pytest.raises(OSError, match="before the start"):
            file.seek(-1 - len(FILES[path]), os.SEEK_END)
        with pytest.raises(ValueError, match="whence"):
            file.seek(0, 9)
        with pytest.raises(io.UnsupportedOperation):
            file.fileno()


def test_as_a_zip_file(archive: outlast.Archive, tmp_path: Path) -> None:
    """It looks for its end from the end, and takes an error for "no zip file"."""
    packed = tmp_path / "weights.npz"
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as file:
        file.writestr("inner.bin", FILES["words.bin"])
    (tmp_path / "short.txt").write_bytes(b"PK")
    for name in (packed, tmp_path / "short.txt"):
        archive.add(name, f"me/{name.stem}", form="capsule")
    with archive.open_file("me/weights", "weights.npz") as opened, zipfile.ZipFile(opened) as inner:
        assert inner.read("inner.bin") == FILES["words.bin"]
    with archive.open_file("me/short", "short.txt") as opened:
        assert not zipfile.is_zipfile(opened)


def test_several_at_once_end_with_the_archive(tmp_path: Path, folder: Path) -> None:
    with outlast.open(tmp_path / "archive", configured=False) as archive:
        archive.add(folder, "me/mine")
        files = [archive.open_file("me/mine", name) for name in FILES] * 2
        files += [archive.open_file("me/mine", name) for name in FILES]
        for file, name in zip(files, [*FILES] * 3, strict=True):
            file.seek(0)
            assert file.read(10) == FILES[name][:10]
        raw = files[0].raw
    assert all(file.closed for file in files)
    with pytest.raises(ValueError, match="closed"):
        files[0].read()
    with pytest.raises(ValueError, match="closed"):
        raw.readinto(memoryview(bytearray(1)))


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_one_that_is_forgotten_is_closed(mine: outlast.Archive, path: str) -> None:
    mine.open_file("me/mine", path).read(1)
    gc.collect()
    before = open_descriptors()
    for _ in range(10):
        mine.open_file("me/mine", path).read(1)
    gc.collect()
    assert open_descriptors() == before


def test_a_collection_does_it_no_harm(mine: outlast.Archive, path: str) -> None:
    with mine.open_file("me/mine", path) as file:
        assert file.read(1) == FILES[path][:1]
        with Store(mine.home) as store:
            remove(store, Target.parse("me/mine"), dry_run=False, control=Control())
            collect_garbage(store, dry_run=False, control=Control(), grace=0)
        assert not list((mine.home / "blobs").glob("*/*"))
        assert file.read() == FILES[path][1:]
    with pytest.raises(outlast.NotFoundError):
        mine.open_file("me/mine", path)


def test_damage_is_no_data(mine: outlast.Archive) -> None:
    (capsule,) = (mine.home / "capsules").glob("*/*")
    capsule.chmod(0o600)
    with capsule.open("r+b") as file:
        file.seek(capsule.stat().st_size // 2)
        byte = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte[0] ^ 1]))
    with mine.open_file("me/mine", "words.bin") as opened:
        with pytest.raises(outlast.IntegrityError):
            opened.read()
        opened.seek(0)
        assert opened.raw is not None


@pytest.fixture
def edited(mine: outlast.Archive, tmp_path: Path) -> outlast.Archive:
    """A program wrote to an archived file through a hard link."""
    link = mine.link("me/mine", folder=tmp_path / "out") / "noise.bin"
    link.chmod(0o600)
    with link.open("r+b") as file:
        file.write(b"edited")
    return mine


def test_what_another_program_changed(edited: outlast.Archive) -> None:
    """What is opened is looked at first: it may be a pickle."""
    with pytest.raises(outlast.IntegrityError, match="another name"):
        edited.open_file("me/mine", "noise.bin")
    with pytest.raises(outlast.IntegrityError, match="another name"):
        edited.open_file("me/mine", "noise.bin")


def test_a_link_alone_is_no_change(mine: outlast.Archive, tmp_path: Path) -> None:
    mine.link("me/mine", folder=tmp_path / "out")
    with mine.open_file("me/mine", "noise.bin") as file:
        assert file.read() == FILES["noise.bin"]


def test_what_is_not_there(mine: outlast.Archive) -> None:
    for target, name, code in (
        ("me/none", "config.json", "not-found"),
        ("me/mine@v9", "config.json", "revision-not-found"),
        ("me/mine", "none.json", "entry-not-found"),
        ("not a name!", "x", "bad-name"),
    ):
        with pytest.raises(outlast.Error) as caught:
            mine.open_file(target, name)
        assert caught.value.code == code
