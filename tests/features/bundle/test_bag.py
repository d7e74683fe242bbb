"""Bundles as BagIt bags, checked as RFC 8493 says."""

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote

import pytest

from outlast.core.digest import Digest
from outlast.core.errors import NotFoundError
from outlast.features.bundle.bag import BagNote, write_bag
from outlast.features.bundle.planning import ExportWishes
from outlast.store.archive import Archive
from tests.features.bundle.script import verify
from tests.features.bundle.world import NOW, SMALL, export_to, files_below, import_from

MEBI = 1024 * 1024


def listed(path: Path) -> dict[str, str]:
    """A manifest: sha256 by path."""
    found = {}
    for line in path.read_bytes().decode().splitlines():
        digest, name = re.fullmatch(r"([0-9a-f]{64}) +(.+)", line).groups()  # type: ignore[union-attr]
        assert name not in found
        found[unquote(name)] = digest
    return found


def digests(folder: Path, paths: list[Path]) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in paths
    }


def check_bag(folder: Path) -> Mapping[str, str]:
    """Whether it is complete and valid (RFC 8493, §3); what bag-info.txt says."""
    declared = (folder / "bagit.txt").read_bytes()
    assert declared == b"BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n"
    payload = [path for path in (folder / "data").rglob("*") if path.is_file()]
    assert listed(folder / "manifest-sha256.txt") == digests(folder, payload)
    tags = [folder / name for name in ("bagit.txt", "bag-info.txt", "manifest-sha256.txt")]
    assert listed(folder / "tagmanifest-sha256.txt") == digests(folder, tags)
    info = dict(line.split(": ", 1) for line in (folder / "bag-info.txt").read_text().splitlines())
    size = sum(path.stat().st_size for path in payload)
    assert info["Payload-Oxum"] == f"{size}.{len(payload)}"
    assert {path.name for path in folder.iterdir()} == {
        "data",
        "tagmanifest-sha256.txt",
        *(path.name for path in tags),
    }
    return info


def test_a_bag_is_valid_and_is_imported(archive: Archive, other: Archive, tmp_path: Path) -> None:
    bag = tmp_path / "bag"
    wishes = ExportWishes(part_size=SMALL)
    done = export_to(archive, bag, "org/base", "org/tuned", wishes=wishes, bagit=True)
    info = check_bag(bag)
    assert info["Bag-Group-Identifier"] == done.contents.id.hex
    assert (info["Bag-Count"], info["Bagging-Date"]) == ("1 of 1", "2026-11-30")
    assert verify(bag, "--quick").status == 0
    (bag / "data" / "parts" / "00001.olb").unlink()
    (result,) = import_from(other, bag)
    assert result.is_whole
    assert files_below(other.layout.home) == files_below(archive.layout.home)


def test_each_medium_is_a_bag(archive: Archive, other: Archive, tmp_path: Path) -> None:
    places = [tmp_path / f"disk-{number}" for number in range(3)]
    wishes = ExportWishes(part_size=SMALL)
    export_to(archive, places, "org/base", wishes=wishes, capacity=66 * MEBI, bagit=True)
    counts = [check_bag(place)["Bag-Count"] for place in places if place.exists()]
    assert counts == [f"{i} of {len(counts)}" for i in range(1, len(counts) + 1)]
    assert len(counts) > 1
    (result,) = import_from(other, *places[: len(counts)])
    assert result.is_whole


def test_a_second_run_keeps_the_parts(archive: Archive, tmp_path: Path) -> None:
    bag = tmp_path / "bag"
    for kept in (False, True):
        done = export_to(archive, bag, "org/base", bagit=True)
        check_bag(bag)
        assert bool(done.kept) is kept
        (bag / "manifest-sha256.txt").write_bytes(b"torn")
        (bag / "data" / "parts" / "00000.olb.unfinished").write_bytes(b"torn")


def test_names_that_a_manifest_cannot_have(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    for name in ("100%.txt", "two\nlines", "cr\rhere", "\u00fc"):
        (tmp_path / "data" / name).write_text(name)
    (tmp_path / "data" / "link").symlink_to("/etc/hostname")
    note = BagNote(Digest.of(b""), 1, 1, NOW.date())
    write_bag(tmp_path, note, {})
    lines = (tmp_path / "manifest-sha256.txt").read_text().splitlines()
    assert [line[66:] for line in lines] == [
        "data/100%25.txt",
        "data/cr%0Dhere",
        "data/two%0Alines",
        "data/\u00fc",
    ]


def test_a_link_to_a_bundle_is_no_bag(archive: Archive, other: Archive, tmp_path: Path) -> None:
    export_to(archive, tmp_path / "usb", "org/base")
    (tmp_path / "bag").mkdir()
    (tmp_path / "bag" / "data").symlink_to(tmp_path / "usb")
    with pytest.raises(NotFoundError, match="no bundle in"):
        import_from(other, tmp_path / "bag")
