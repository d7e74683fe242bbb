"""A tenth of the parts of a bundle is lost or damaged, in many ways: all of it is restored."""

import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from outlast.codec.bundle import geometry
from outlast.codec.bundle.geometry import HEADER_BYTES, BlockPlace
from outlast.codec.bundle.stream import BundleBlocks
from outlast.features.bundle.planning import ExportWishes
from outlast.features.bundle.spare_blocks import SpareBlocks
from outlast.sources.bundle.media import PartFiles, head_of, look
from outlast.sources.bundle.opened import OpenBundle, open_media
from outlast.store.archive import Archive
from tests.campaign import LONG, SEED
from tests.features.bundle.world import SMALL, export_to, files_below, import_from


def delete(path: Path, _rng: Random) -> None:
    path.unlink()


def truncate(path: Path, rng: Random) -> None:
    with path.open("r+b") as file:
        file.truncate(rng.randrange(path.stat().st_size))


def overwrite(path: Path, rng: Random) -> None:
    path.write_bytes(rng.randbytes(path.stat().st_size))


def empty(path: Path, _rng: Random) -> None:
    path.write_bytes(b"")


def flip(path: Path, rng: Random) -> None:
    """Single bits, in headers too."""
    data = bytearray(path.read_bytes())
    for at in (5, len(data) - 5, *(rng.randrange(len(data)) for _ in range(20))):
        data[at] ^= 1 << rng.randrange(8)
    path.write_bytes(data)


def burst(path: Path, rng: Random) -> None:
    data = bytearray(path.read_bytes())
    at = rng.randrange(len(data))
    data[at : at + 50_000] = bytes(len(data[at : at + 50_000]))
    path.write_bytes(data)


def swap_blocks(path: Path, _rng: Random) -> None:
    """Its first two frames change places."""
    data = bytearray(path.read_bytes())
    frame = 4096 + 8
    first = data[HEADER_BYTES : HEADER_BYTES + frame]
    data[HEADER_BYTES : HEADER_BYTES + frame] = data[HEADER_BYTES + frame :][:frame]
    data[HEADER_BYTES + frame : HEADER_BYTES + 2 * frame] = first
    path.write_bytes(data)


WAYS: tuple[Callable[[Path, Random], None], ...] = (
    delete,
    truncate,
    overwrite,
    empty,
    flip,
    burst,
    swap_blocks,
)
WISHES = ExportWishes(parity=10, part_size=SMALL)


@pytest.fixture(autouse=True)
def _many_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of 4 KiB, so that the parts of a small bundle have some."""
    monkeypatch.setattr(geometry, "MAX_BLOCK", geometry.MIN_BLOCK)


def parts_of(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.olb"))


def spoil(folder: Path, rng: Random) -> list[str]:
    """A tenth of the parts, and sometimes all that is said beside them; what was done."""
    parts = parts_of(folder)
    done = []
    for path in rng.sample(parts, len(parts) // 10):
        way = rng.choice(WAYS)
        way(path, rng)
        done.append(f"{path.name}: {way.__name__}")
    if rng.random() < 0.5:
        rng.choice((delete, overwrite, empty))(folder / "bundle.json", rng)
        done.append("bundle.json")
    return done


@pytest.mark.torture
def test_any_tenth_of_the_parts(archive: Archive, tmp_path: Path) -> None:
    """100 patterns by `make torture`; metadata lies in the first parts, and is among them."""
    whole = tmp_path / "whole"
    export_to(archive, whole, "org/base", "org/tuned", wishes=WISHES)
    assert len(parts_of(whole)) >= 20
    expected = files_below(archive.layout.home)
    rng = Random(SEED)
    for number in range(100 if LONG else 4):
        usb, home = tmp_path / f"usb-{number}", tmp_path / f"there-{number}"
        shutil.copytree(whole, usb)
        done = spoil(usb, rng)
        with Archive(home, create=True) as other:
            (result,) = import_from(other, usb)
            assert result.is_whole, done
            assert files_below(other.layout.home) == expected, done
        shutil.rmtree(usb)
        shutil.rmtree(home)


def test_damage_in_every_part_is_repaired_row_by_row(
    archive: Archive, other: Archive, tmp_path: Path
) -> None:
    """Far more than a tenth of the parts, and of each row as much as there is parity."""
    usb = tmp_path / "usb"
    cut = export_to(archive, usb, "org/base", "org/tuned", wishes=WISHES).contents.geometry
    spoiled, rng = set(), Random(SEED)
    for row in range(cut.layout.rows):
        there = [part for part in range(cut.parts) if row < cut.rows_of(part)]
        for part in rng.sample(there, cut.layout.parity):
            spoiled.add(part)
            with (usb / cut.name(part)).open("r+b") as file:
                file.seek(cut.frame_at(row) + rng.randrange(cut.layout.block))
                file.write(b"\xff\x00\xff")
    assert len(spoiled) > cut.parts // 2
    (result,) = import_from(other, usb)
    assert result.is_whole
    assert files_below(other.layout.home) == files_below(archive.layout.home)


def test_more_than_a_tenth_is_refused_by_name(
    archive: Archive, other: Archive, tmp_path: Path
) -> None:
    usb = tmp_path / "usb"
    done = export_to(archive, usb, "org/base", wishes=WISHES)
    for path in parts_of(usb / "parts")[-done.contents.layout.parity - 1 :]:
        path.unlink()
    (result,) = import_from(other, usb)
    assert not result.is_whole
    assert result.refused
    assert "parity does not restore it" in result.refused[0].reason


class Counted:
    """Counts how often each block is read."""

    def __init__(self, files: PartFiles) -> None:
        self._files = files
        self.reads: Counter[BlockPlace] = Counter()

    def read(self, place: BlockPlace, block: memoryview, check: memoryview) -> bool:
        self.reads[place] += 1
        return self._files.read(place, block, check)


def test_a_row_is_read_once_however_many_blocks_it_lost(archive: Archive, tmp_path: Path) -> None:
    usb = tmp_path / "usb"
    done = export_to(archive, usb, "org/base", "org/tuned", wishes=WISHES)
    cut = done.contents.geometry
    for name in ("00003", "00007"):
        (usb / "parts" / f"{name}.olb").unlink()
    head = head_of(done.contents)
    with (
        PartFiles(cut, look([usb]).parts[done.contents.id]) as files,
        SpareBlocks(tmp_path / "spare", cut.layout.block) as spare,
    ):
        counted = Counted(files)
        blocks = BundleBlocks(counted, head)
        blocks.spare = spare
        out = memoryview(bytearray(cut.layout.block))
        for part in (3, 7):
            for row in range(cut.rows_of(part)):
                blocks.read(BlockPlace(part, row), out)
        assert blocks.repaired == cut.rows_of(3) + cut.rows_of(7)
        others = [count for place, count in counted.reads.items() if place.part not in {3, 7}]
    assert set(others) == {1}
    assert not (tmp_path / "spare").exists()


def test_a_full_disk_only_costs_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then each block is restored by itself."""
    monkeypatch.setattr("outlast.store.disk.free_bytes", lambda _path: 0)
    with SpareBlocks(tmp_path / "spare", 8) as spare:
        spare.put(BlockPlace(0, 0), memoryview(b"12345678"))
        assert not spare.get(BlockPlace(0, 0), memoryview(bytearray(8)))


def opened(folder: Path) -> OpenBundle:
    (bundle,) = open_media([folder]).bundles
    return bundle


def test_the_contents_alone_are_restored(archive: Archive, tmp_path: Path) -> None:
    """The first part has them; with it bundle.json is gone, too."""
    usb = tmp_path / "usb"
    done = export_to(archive, usb, "org/base", wishes=WISHES)
    (usb / "parts" / "00000.olb").unlink()
    (usb / "bundle.json").unlink()
    with opened(usb) as bundle:
        assert bundle.contents == done.contents
