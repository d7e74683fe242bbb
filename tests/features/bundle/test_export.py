"""Exports that are interrupted, that find damage, or that take several media."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from outlast.codec.bundle.documents import BundleFile
from outlast.core.cancel import Cancel
from outlast.core.control import Control
from outlast.core.digest import Digest
from outlast.core.errors import Cancelled, CorruptError, DiskFullError, StorageError, UsageError
from outlast.core.events import Event, Progress
from outlast.features.bundle.planning import ExportWishes
from outlast.features.bundle.tuning import TUNING
from outlast.ops.verify import verify
from outlast.store import disk
from outlast.store.archive import Archive
from tests.features.bundle.world import SMALL, export_to, files_below, import_from


def damage(path: Path, at: int) -> None:
    os.chmod(path, 0o600)
    data = bytearray(path.read_bytes())
    data[at] ^= 16
    path.write_bytes(data)


def file_of(archive: Archive, path: str, name: str = "org/base") -> Path:
    from outlast.core.names import RepoId  # noqa: PLC0415 - here alone

    entry = archive.revision(RepoId.parse(name)).find(path)
    assert entry is not None
    assert entry.sha256 is not None
    plain = archive.layout.blob(entry.sha256)
    return plain if plain.exists() else archive.layout.capsule(entry.sha256)


@pytest.mark.parametrize("path", ["noise.bin", "model.safetensors"])
def test_a_damaged_blob_does_not_leave(archive: Archive, tmp_path: Path, path: str) -> None:
    file = file_of(archive, path)
    intact = file.read_bytes()
    for at in (3, len(intact) // 2, len(intact) - 3):
        damage(file, at)
        with pytest.raises(CorruptError, match=f"org/base: {path}"):
            export_to(archive, tmp_path / "usb", "org/base")
        file.write_bytes(intact)
        verify(archive, (), control=Control(), quarantine=False)  # notices that it is right again
    done = export_to(archive, tmp_path / "usb", "org/base")
    with Archive(tmp_path / "there", create=True) as other:
        (result,) = import_from(other, tmp_path / "usb")
        assert result.is_whole
        assert result.repaired == 0, "no part with damaged bytes was kept"
    assert done.kept < done.parts


def test_a_blob_that_is_known_to_be_damaged_is_named(archive: Archive, tmp_path: Path) -> None:
    damage(file_of(archive, "noise.bin"), 3)
    verify(archive, (), control=Control(), quarantine=False)
    with pytest.raises(CorruptError, match=r"org/base: noise\.bin is damaged here"):
        export_to(archive, tmp_path / "usb", "org/base")
    assert not (tmp_path / "usb").exists()


def stopping_after(count: int) -> Control:
    """A control that stops the work after so many blocks."""
    cancel = Cancel()
    seen = 0

    def emit(event: Event) -> None:
        nonlocal seen
        if isinstance(event, Progress):
            seen += 1
            if seen == count:
                cancel.set()

    return Control(emit, cancel)


@pytest.mark.parametrize("count", [1, 12, 27])
def test_it_goes_on_where_it_was_stopped(archive: Archive, tmp_path: Path, count: int) -> None:
    with pytest.raises(Cancelled):
        export_to(archive, tmp_path / "usb", "org/base", control=stopping_after(count))
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "usb").rglob("*.olb")}
    done = export_to(archive, tmp_path / "usb", "org/base")
    assert done.kept == len(before)
    assert all(p.stat().st_mtime_ns == stamp for p, stamp in before.items())
    export_to(archive, tmp_path / "whole", "org/base")
    for name in done.contents.geometry.names():
        assert (tmp_path / "usb" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert not [*(tmp_path / "usb").rglob("*.unfinished")]


def test_a_part_that_rotted_since_is_written_anew(archive: Archive, tmp_path: Path) -> None:
    done = export_to(archive, tmp_path / "usb", "org/base")
    for part in (2, done.parts - 1):
        damage(tmp_path / "usb" / done.contents.geometry.name(part), 3000)
    again = export_to(archive, tmp_path / "usb", "org/base")
    assert again.kept == done.parts - 2
    with Archive(tmp_path / "there", create=True) as other:
        (result,) = import_from(other, tmp_path / "usb")
        assert (result.is_whole, result.repaired) == (True, 0)


def test_another_bundle_is_not_written_over(archive: Archive, tmp_path: Path) -> None:
    export_to(archive, tmp_path / "usb", "org/base")
    with pytest.raises(StorageError, match="another bundle"):
        export_to(archive, tmp_path / "usb", "org/tuned")


def test_every_medium_has_the_contents_and_the_last_one_all_sums(
    archive: Archive, other: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = replace(TUNING, medium_reserve=0)
    monkeypatch.setattr("outlast.features.bundle.export.media_of.__defaults__", (small,))
    wishes = ExportWishes(part_size=SMALL)
    places = [tmp_path / f"disk{number}" for number in range(9)]
    done = export_to(archive, places, "org/base", "org/tuned", wishes=wishes, capacity=3 * SMALL)
    assert 1 < done.media <= 9
    used = places[: done.media]
    documents = [BundleFile.from_bytes((p / "bundle.json").read_bytes()) for p in used]
    assert {document.contents.id for document in documents} == {done.contents.id}
    assert len(documents[-1].parts) == done.parts
    for document in documents:
        for part in document.parts:
            name = done.contents.geometry.name(part.number)
            (path,) = (place / name for place in used if (place / name).exists())
            assert Digest.of(path.read_bytes()) == part.sha256
    (result,) = import_from(other, *reversed(used))
    assert result.is_whole
    assert files_below(other.layout.home) == files_below(archive.layout.home)


def test_media_that_are_gone_are_not_written_again(
    archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = replace(TUNING, medium_reserve=0)
    monkeypatch.setattr("outlast.features.bundle.export.media_of.__defaults__", (small,))
    wishes = ExportWishes(part_size=SMALL)
    places = [tmp_path / f"disk{number}" for number in range(9)]
    whole = export_to(archive, places, "org/base", wishes=wishes, capacity=3 * SMALL)
    last = places[whole.media - 1]
    lost = max(last.rglob("*.olb"))
    data = lost.read_bytes()
    lost.unlink()
    slots = [tmp_path / "elsewhere"] * (whole.media - 1) + [last]
    again = export_to(archive, slots, "org/base", wishes=wishes, capacity=3 * SMALL)
    assert again.written_bytes == len(data)
    assert lost.read_bytes() == data
    assert not (tmp_path / "elsewhere").exists()


def test_a_medium_that_is_too_small_is_refused(archive: Archive, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no room for a part"):
        export_to(archive, tmp_path / "usb", "org/base", capacity=100_000)


def test_a_full_medium_is_said_before_the_first_byte(
    archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk, "free_bytes", lambda _path: 1_000_000)
    with pytest.raises(DiskFullError, match="needs"):
        export_to(archive, tmp_path / "usb", "org/base")
    assert not [*(tmp_path / "usb").rglob("*.olb")]


def test_a_full_archive_is_said_before_the_first_byte(
    archive: Archive, other: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export_to(archive, tmp_path / "usb", "org/base")
    monkeypatch.setattr(disk, "free_bytes", lambda _path: 1_000_000)
    with pytest.raises(DiskFullError, match="the bundle needs"):
        import_from(other, tmp_path / "usb")
    monkeypatch.undo()
    (result,) = import_from(other, tmp_path / "usb")
    assert result.is_whole
