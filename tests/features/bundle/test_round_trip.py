"""What leaves one archive arrives in another, bit for bit."""

from pathlib import Path
from random import Random

import pytest

from outlast.codec.payload import Form
from outlast.core.digest import Digest
from outlast.core.names import RepoId
from outlast.features.bundle.planning import ExportWishes
from outlast.store.archive import Archive
from tests.cli.call import inside
from tests.features.bundle.world import SMALL, export_to, files_below, import_from


@pytest.mark.parametrize("parity", [0, 10])
def test_everything_arrives_bit_for_bit(
    archive: Archive, other: Archive, tmp_path: Path, parity: float
) -> None:
    wishes = ExportWishes(parity=parity, part_size=SMALL)
    done = export_to(archive, tmp_path / "usb", "org/base", "org/tuned", wishes=wishes)
    forms = {payload.form for payload in done.contents.payloads}
    assert forms == {Form.PLAIN, Form.CAPSULE}
    assert any(payload.bases for payload in done.contents.payloads), "a delta goes as one"
    (result,) = import_from(other, tmp_path / "usb")
    assert result.is_whole
    assert len(result.new) == 2
    assert files_below(other.layout.home) == files_below(archive.layout.home)
    for name in ("org/base", "org/tuned"):
        repo = RepoId.parse(name)
        assert other.revision(repo).digest == archive.revision(repo).digest
        ref = other.refs.get(repo, "main")
        assert ref is not None
        assert ref.source == f"bundle:{done.contents.id.short}"
        assert ref.observed == "2026-11-01T00:00:00+00:00"


def test_plain_payloads_arrive_as_plain_files(
    archive: Archive, other: Archive, tmp_path: Path
) -> None:
    export_to(archive, tmp_path / "usb", "org/tuned", wishes=ExportWishes(plain=True))
    (result,) = import_from(other, tmp_path / "usb")
    assert result.is_whole
    assert not [path for path in files_below(other.layout.home) if path.startswith("capsules")]


def test_plain_files_have_their_sums_from_the_import_on(tmp_path: Path) -> None:
    """So they are not read a second time before they are given out."""
    data = Random(5).randbytes(2_500_000)
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "noise.bin").write_bytes(data)
    here, there, usb = tmp_path / "here", tmp_path / "there", tmp_path / "usb"
    here.mkdir()
    there.mkdir()
    inside("add", tmp_path / "model", "--as", "me/noise", home=here).ok()
    inside("export", "me/noise", "--to", usb, home=here).ok()
    inside("import", usb, home=there).ok()
    with Archive(here / "archive") as one, Archive(there / "archive") as two:
        sums = [found.layout.sums_of(Digest.of(data)).read_bytes() for found in (one, two)]
    assert sums[0] == sums[1]


def test_a_delta_whose_base_stays_goes_as_plain_bytes(
    archive: Archive, other: Archive, tmp_path: Path
) -> None:
    export_to(archive, tmp_path / "usb", "org/tuned")
    (result,) = import_from(other, tmp_path / "usb")
    assert result.is_whole
    repo = RepoId.parse("org/tuned")
    assert other.revision(repo).digest == archive.revision(repo).digest


def test_a_second_import_changes_nothing(archive: Archive, other: Archive, tmp_path: Path) -> None:
    export_to(archive, tmp_path / "usb", "org/base")
    import_from(other, tmp_path / "usb")
    (again,) = import_from(other, tmp_path / "usb")
    assert again.is_whole
    assert (again.new, again.new_blobs, again.moved) == ([], 0, [])
    assert again.had_files == 4


def test_the_same_export_is_the_same_bundle(archive: Archive, tmp_path: Path) -> None:
    for name in ("one", "two"):
        export_to(archive, tmp_path / name, "org/base", "org/tuned")
    one, two = (
        {str(p.relative_to(tmp_path / n)): p.read_bytes() for p in (tmp_path / n).rglob("*.olb")}
        for n in ("one", "two")
    )
    assert one == two
