"""Damaged and lost parts: restored from parity, or refused by name; never a wrong byte."""

import shutil
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from outlast.codec.bundle.documents import BundleFile
from outlast.codec.bundle.geometry import PartLayout
from outlast.features.bundle.planning import ExportWishes
from outlast.store.archive import Archive
from tests.campaign import SEED, rounds
from tests.features.bundle.world import export_to, files_below, import_from

PATTERNS = rounds(4, 100)


LAYOUTS = [None, PartLayout(16384, rows=3, group=20, parity=3)]


@pytest.fixture(params=LAYOUTS, ids=["chosen", "groups"])
def bundle(archive: Archive, tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    export_to(archive, tmp_path / "usb", "org/base", "org/tuned", layout=request.param)
    return tmp_path / "usb"


def parts(bundle: Path) -> list[Path]:
    return sorted(bundle.glob("*/*.olb"))


def _delete(path: Path, _random: Random) -> None:
    path.unlink()


def _flip(path: Path, random: Random) -> None:
    data = bytearray(path.read_bytes())
    for _ in range(random.randint(1, 40)):
        data[random.randrange(len(data))] ^= 1 << random.randrange(8)
    path.write_bytes(data)


def _cut(path: Path, random: Random) -> None:
    path.write_bytes(path.read_bytes()[: random.randrange(path.stat().st_size)])


def _zero(path: Path, _random: Random) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def _rename(path: Path, random: Random) -> None:
    path.rename(path.with_name(f"{random.randrange(10**9)}.olb"))


def _grow(path: Path, random: Random) -> None:
    path.write_bytes(path.read_bytes() + random.randbytes(5000))


HARMS: list[Callable[[Path, Random], None]] = [_delete, _flip, _cut, _zero, _rename, _grow]


def test_any_tenth_of_the_parts_may_go(archive: Archive, bundle: Path, tmp_path: Path) -> None:
    expected = files_below(archive.layout.home)
    random = Random(SEED)
    for number in range(PATTERNS):
        copy, home = tmp_path / f"copy-{number}", tmp_path / f"home-{number}"
        shutil.copytree(bundle, copy)
        every = parts(copy)
        cut = BundleFile.from_bytes((copy / "bundle.json").read_bytes()).contents.geometry
        lost = min(cut.layout.parity, len(every) // 10)
        for path in random.sample(every, lost):
            random.choice(HARMS)(path, random)
        if random.random() < 0.5:
            (copy / "bundle.json").unlink()
        with Archive(home, create=True) as other:
            (result,) = import_from(other, copy)
            assert result.is_whole, f"pattern {number} from seed {SEED}"
        assert files_below(home) == expected
        shutil.rmtree(copy)
        shutil.rmtree(home)


def test_scattered_damage_of_every_part_is_mended(
    archive: Archive, other: Archive, tmp_path: Path
) -> None:
    """Of each row of blocks as many may be damaged as there are parity parts: in all parts."""
    layout = PartLayout(16384, rows=7, group=6, parity=2)
    done = export_to(archive, tmp_path / "usb", "org/base", layout=layout)
    cut = done.contents.geometry
    assert cut.groups > 2
    for part in range(cut.parts):
        path = tmp_path / "usb" / cut.name(part)
        data = bytearray(path.read_bytes())
        group = cut.group_of(part)
        number = [*cut.data_of(group), *cut.parity_of(group)].index(part)
        data[cut.frame_at(min(number // 2, cut.rows_of(part) - 1)) + 5] ^= 4
        path.write_bytes(data)
    (result,) = import_from(other, tmp_path / "usb")
    assert result.is_whole
    assert result.repaired


def test_too_much_damage_is_refused_by_name_and_the_rest_taken(
    archive: Archive, other: Archive, tmp_path: Path
) -> None:
    wishes = ExportWishes(parity=0, part_size=60_000)
    done = export_to(archive, tmp_path / "usb", "org/base", wishes=wishes)
    payload = next(p for p in done.contents.payloads if p.size == 700_001)
    cut = done.contents.geometry
    part = cut.place(done.contents.base + payload.offset + 300_000).part
    (tmp_path / "usb" / cut.name(part)).unlink()
    (result,) = import_from(other, tmp_path / "usb")
    assert [one.what for one in result.refused] == ["org/base: noise.bin"]
    assert "parity does not restore it" in result.refused[0].reason
    assert len(result.unfinished) == 1
    assert not result.moved
    assert result.new_blobs == 2
    export_to(archive, tmp_path / "usb", "org/base", wishes=wishes)
    (result,) = import_from(other, tmp_path / "usb")
    assert (result.is_whole, result.new_blobs) == (True, 1)


def test_a_damaged_bundle_file_is_read_from_the_stream(
    archive: Archive, other: Archive, bundle: Path
) -> None:
    path = bundle / "bundle.json"
    document = BundleFile.from_bytes(path.read_bytes())
    path.write_bytes(path.read_bytes()[:-40])
    (result,) = import_from(other, bundle)
    assert result.is_whole
    assert result.bundle.id == document.contents.id
    assert files_below(other.layout.home) == files_below(archive.layout.home)


def test_a_part_without_headers_is_known_by_its_blocks(
    archive: Archive, other: Archive, tmp_path: Path
) -> None:
    export_to(archive, tmp_path / "usb", "org/base", wishes=ExportWishes(parity=0))
    for path in parts(tmp_path / "usb"):
        data = bytearray(path.read_bytes())
        data[:128] = data[-128:] = bytes(128)
        path.write_bytes(data)
    (result,) = import_from(other, tmp_path / "usb")
    assert result.is_whole
