"""Only what is missing there is written."""

from pathlib import Path
from random import Random

from outlast.codec.payload import Form
from outlast.core.names import RepoId
from outlast.features.bundle.inventory import take_inventory
from outlast.features.bundle.planning import ExportWishes
from outlast.features.bundle.since import read_since
from outlast.store.archive import Archive
from tests.features.bundle.world import export_to, files_below, import_from, put


def test_a_fine_tune_since_the_last_bundle_is_its_delta(
    archive: Archive, other: Archive, tmp_path: Path
) -> None:
    export_to(archive, tmp_path / "one", "org/base")
    import_from(other, tmp_path / "one")
    wishes = ExportWishes(parity=0, known=read_since(tmp_path / "one"))
    done = export_to(archive, tmp_path / "two", "org/tuned", wishes=wishes)
    (payload,) = done.contents.payloads
    assert payload.form is Form.CAPSULE
    assert payload.bases, "the base is there already"
    assert (done.contents.sequence, done.contents.since is None) == (2, False)
    assert done.contents.length < 1.01 * payload.length + 1000
    (result,) = import_from(other, tmp_path / "two")
    assert result.is_whole
    assert files_below(other.layout.home) == files_below(archive.layout.home)


def test_since_an_inventory(archive: Archive, other: Archive, tmp_path: Path) -> None:
    export_to(archive, tmp_path / "one", "org/base")
    import_from(other, tmp_path / "one")
    put(other, tmp_path / "own", {"secret.txt": b"what only they have"}, "their/own")
    path = tmp_path / "inventory.json"
    path.write_bytes(take_inventory(other).to_bytes() + b"\n")
    wishes = ExportWishes(known=read_since(path))
    done = export_to(archive, tmp_path / "two", "org/base", "org/tuned", wishes=wishes)
    assert len(done.contents.payloads) == 1
    known = {blob.digest for blob in archive.blobs()}
    assert set(done.contents.assumed_blobs) <= known, "theirs are not told back"
    (result,) = import_from(other, tmp_path / "two")
    assert result.is_whole
    assert other.revision(RepoId.parse("org/tuned")).digest


def test_a_row_of_bundles(archive: Archive, other: Archive, tmp_path: Path) -> None:
    """The third builds on the second, and so on what the first had."""
    export_to(archive, tmp_path / "one", "org/base")
    wishes = ExportWishes(known=read_since(tmp_path / "one" / "bundle.json"))
    export_to(archive, tmp_path / "two", "org/tuned", wishes=wishes)
    more = {"more.bin": Random(3).randbytes(50_000), "config.json": b"{}"}
    put(archive, tmp_path / "folders", more, "org/more")
    wishes = ExportWishes(known=read_since(tmp_path / "two"))
    done = export_to(archive, tmp_path / "three", "org/more", "org/base", wishes=wishes)
    assert [p.size for p in done.contents.payloads] == [50_000]
    results = import_from(other, tmp_path / "three", tmp_path / "one", tmp_path / "two")
    assert [one.bundle.contents.sequence for one in results] == [1, 2, 3], "in their order"
    assert all(one.is_whole for one in results)
    assert files_below(other.layout.home) == files_below(archive.layout.home)


def test_what_is_assumed_and_not_there_is_refused_until_it_is(
    archive: Archive, other: Archive, tmp_path: Path
) -> None:
    export_to(archive, tmp_path / "one", "org/base")
    wishes = ExportWishes(known=read_since(tmp_path / "one"))
    export_to(archive, tmp_path / "two", "org/tuned", wishes=wishes)
    (result,) = import_from(other, tmp_path / "two")
    assert {one.what for one in result.refused} == {
        "org/tuned: config.json",
        "org/tuned: model.safetensors",
    }
    assert not result.moved
    import_from(other, tmp_path / "one")
    (result,) = import_from(other, tmp_path / "two")
    assert result.is_whole
    assert files_below(other.layout.home) == files_below(archive.layout.home)
