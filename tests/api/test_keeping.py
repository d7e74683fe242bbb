"""Scrubs and bundles from Python."""

import os
from pathlib import Path

import pytest

import outlast
from tests.api.conftest import FILES, MIB
from tests.hubsim import HubSim
from tests.rot import damage, file_of

NOISE = "noise.bin"


def contents(archive: outlast.Archive, model: str) -> dict[str, bytes]:
    found = {}
    for file in archive.revision(model).files:
        with archive.open_file(model, file.path) as opened:
            found[file.path] = opened.read()
    return found


class TestScrub:
    def test_what_is_right(self, mine: outlast.Archive) -> None:
        report = mine.scrub(full=True)
        assert report.ok
        assert (report.files, report.found, report.left) == (len(FILES), (), 0)
        assert mine.scrub(max_seconds=0).left == len(FILES)
        with pytest.raises(outlast.UsageError):
            mine.scrub(max_seconds=-1)
        with pytest.raises(outlast.UsageError):
            mine.scrub(limit_rate=-1)
        with pytest.raises(outlast.NotFoundError):
            mine.scrub("no/such")

    def test_damage_is_told_and_mended(self, surroundings: Path, hub: HubSim) -> None:
        del surroundings
        with outlast.open() as archive:
            archive.pull("org/name", form="plain")
            damage(file_of(archive.home, FILES[NOISE]), 0.4)
            events: list[outlast.Event] = []
            left = archive.scrub(mend=False, progress=events.append)
            assert not left.ok
            assert left.found[0].kind == "blob"
            assert left.found[0].path.startswith("blobs/")
            assert any(isinstance(event, outlast.Progress) for event in events)
            report = archive.scrub()
            assert report.ok
            assert [one.mended for one in report.found] == [True]
            assert contents(archive, "org/name") == FILES
            assert hub.url

    def test_the_setting_of_parity_counts(self, surroundings: Path, folder: Path) -> None:
        config = surroundings / "config" / "outlast" / "config.toml"
        config.parent.mkdir(parents=True)
        config.write_text('[durability]\nparity = "2%"\n')
        with outlast.open() as archive:
            archive.add(folder, "me/mine")
            archive.scrub()
            damage(file_of(archive.home, FILES[NOISE]), 0.4)
            assert [one.mended for one in archive.scrub().found] == [True]
            assert contents(archive, "me/mine") == FILES

    def test_another_thread_ends_it(self, mine: outlast.Archive) -> None:
        stop = outlast.Cancel()
        stop.set()
        with pytest.raises(outlast.Cancelled):
            mine.scrub(cancel=stop)


class TestBundles:
    def test_there_and_back(self, mine: outlast.Archive, tmp_path: Path) -> None:
        usb = tmp_path / "usb"
        usb.mkdir()
        done = mine.export("me/mine", usb)
        again = mine.export(["me/mine"], [usb])
        assert again.id == done.id
        assert (done.kept, again.kept) == (0, done.parts + done.parity_parts)
        assert (usb / "verify.py").exists()
        with outlast.open(tmp_path / "there", configured=False) as other:
            (imported,) = other.import_bundle(usb)
            assert imported.ok
            assert (imported.id, imported.new) == (done.id, done.revisions)
            assert contents(other, "me/mine") == FILES
            (imported,) = other.import_bundle([usb])
            assert (imported.new, imported.revisions) == ((), done.revisions)

    def test_only_what_is_new(self, mine: outlast.Archive, tmp_path: Path, folder: Path) -> None:
        known = tmp_path / "inventory.json"
        known.write_bytes(mine.inventory())
        (folder / "more.txt").write_text("new")
        mine.add(folder, "me/more")
        done = mine.export("me/more", tmp_path / "usb", since=known)
        assert (done.blobs, done.assumed) == (1, len(FILES))

    def test_damage_is_repaired_and_what_is_lost_is_refused(
        self, mine: outlast.Archive, tmp_path: Path
    ) -> None:
        usb = tmp_path / "usb"
        mine.export("me/mine", usb, plain=True, part_size=MIB, parity=20)
        parts = sorted((usb / "parts").iterdir())
        os.truncate(parts[1], 1000)
        with outlast.open(tmp_path / "there", configured=False) as other:
            (imported,) = other.import_bundle(usb)
            assert imported.ok
            assert imported.repaired_blocks > 0
            assert contents(other, "me/mine") == FILES
        for path in parts[2:]:
            path.unlink()
        with outlast.open(tmp_path / "other", configured=False) as other:
            (imported,) = other.import_bundle(usb)
            assert not imported.ok
            assert imported.refused

    def test_what_is_wrong_is_said(self, mine: outlast.Archive, tmp_path: Path) -> None:
        with pytest.raises(outlast.UsageError, match="nothing to export"):
            mine.export([], tmp_path / "usb")
        with pytest.raises(outlast.UsageError, match="parity is 51"):
            mine.export("me/mine", tmp_path / "usb", parity=51)
        with pytest.raises(outlast.UsageError, match="2 folders"):
            mine.export("me/mine", [tmp_path / "a", tmp_path / "b"])
        with pytest.raises(outlast.NotFoundError):
            mine.export("no/such", tmp_path / "usb")
        with pytest.raises(outlast.NotFoundError):
            mine.import_bundle(tmp_path)
        damage(file_of(mine.home, FILES[NOISE]), 0.4)
        with pytest.raises(outlast.IntegrityError):
            mine.export("me/mine", tmp_path / "usb")
