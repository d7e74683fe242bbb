"""Pickles are archived, and no other program gets them unless the operator allows it by digest."""

import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import pytest

from outlast.core.control import Control
from outlast.core.digest import Digest
from outlast.core.errors import QuarantinedError
from outlast.core.names import RepoId, Target
from outlast.intake.formats.allowed import AllowedUnsafe
from outlast.ops.claims import accept_manifest
from outlast.ops.export import Exported, link
from outlast.ops.run import prepare
from outlast.store.archive import Archive
from tests.cli.call import inside
from tests.intake.formats.canaries import canaries
from tests.intake.formats.test_unsafe import SAFE
from tests.serve.peers import archive_files

REPO = RepoId.parse("org/name")
TARGET = Target.parse(f"org/name@{'c' * 40}")


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    with Archive(tmp_path / "archive", create=True) as made:
        yield made


def exported(archive: Archive, tmp_path: Path, *, allow: bool = False) -> Exported:
    cache, folder = tmp_path / "cache", tmp_path / "folder"
    return link(archive, TARGET, allow_unsafe=allow, cache=cache, folder=folder)


def files_in(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*") if path.is_file() and path.name != "main"}


def test_pickles_are_left_out_of_folders_and_caches(archive: Archive, tmp_path: Path) -> None:
    unsafe = canaries(tmp_path / "sprung")
    archive_files(archive, REPO, {"config.json": b"{}", "sub/code.py": b"1", **_apart(unsafe)})
    done = exported(archive, tmp_path)
    assert done.withheld.keys() == _apart(unsafe).keys()
    assert files_in(tmp_path / "folder") == {"config.json", "code.py"}
    assert done.snapshot is not None
    assert files_in(done.snapshot) == {"config.json", "code.py"}
    assert len(files_in(tmp_path / "cache" / "models--org--name" / "blobs")) == 2
    assert not (tmp_path / "sprung").exists()


def _apart(files: dict[str, bytes]) -> dict[str, bytes]:
    """With names of their own, as some have those of files that models have."""
    return {f"unsafe/{name}": data for name, data in files.items()}


def test_what_is_allowed_stays_so_by_digest(archive: Archive, tmp_path: Path) -> None:
    unsafe = canaries(tmp_path / "sprung")
    one, other = unsafe["weights.pt"], unsafe["weights.pth"]
    archive_files(archive, REPO, {"a.pt": one, "b.json": b"{}"})
    assert not exported(archive, tmp_path, allow=True).withheld
    assert files_in(tmp_path / "folder") == {"a.pt", "b.json"}
    # The same bytes in another model are allowed, and others are not.
    again = RepoId.parse("org/again")
    archive_files(archive, again, {"x.bin": one, "y.bin": other})
    where = Target.parse(f"org/again@{'c' * 40}")
    done = link(archive, where, cache=None, folder=tmp_path / "again")
    assert done.withheld.keys() == {"y.bin"}
    assert AllowedUnsafe(archive.layout.home).digests() == {Digest.of(one)}


def test_an_engine_gets_no_pickle(archive: Archive, tmp_path: Path) -> None:
    weights = SAFE["model.safetensors"]
    unsafe = canaries(tmp_path / "sprung")["weights.pt"]
    files = {"config.json": b"{}", "model.safetensors": weights, "training_args.bin": unsafe}
    accept_manifest(archive, archive_files(archive, REPO, files).digest.hex)
    AllowedUnsafe(archive.layout.home).allow([(Digest.of(unsafe), "x")], dt.date(2026, 11, 30))
    with prepare(
        archive, TARGET, wanted=None, engine=None, recheck=False, control=Control()
    ) as ready:
        assert ready.folder is not None
        assert files_in(ready.folder) == {"config.json", "model.safetensors"}


def test_where_nothing_is_left(archive: Archive, tmp_path: Path) -> None:
    archive_files(archive, REPO, {"a.pt": canaries(tmp_path / "sprung")["weights.pt"]})
    with pytest.raises(QuarantinedError):
        exported(archive, tmp_path)
    assert not (tmp_path / "folder").exists()


def test_a_line_that_is_none_allows_nothing(archive: Archive) -> None:
    allowed = AllowedUnsafe(archive.layout.home)
    day = dt.date(2026, 11, 30)
    allowed.allow([(Digest.of(b"a"), "org/name\na.pt")], day)
    path = archive.layout.home / "trust" / "allowed-unsafe.txt"
    lines = path.read_text().splitlines()
    assert lines == [f"{Digest.of(b'a').hex} 2026-11-30 org/name\\na.pt"]
    path.write_text(f"{path.read_text()}*\n\nall\n{Digest.of(b'b').hex.upper()}\n")
    assert allowed.digests() == {Digest.of(b"a")}
    allowed.allow([(Digest.of(b"c"), "x")], day)
    assert allowed.digests() == {Digest.of(b"a"), Digest.of(b"c")}


def test_the_command_says_so(tmp_path: Path) -> None:
    with Archive(tmp_path / "archive", create=True) as archive:
        data = canaries(tmp_path / "sprung")["weights.pt"]
        archive_files(archive, REPO, {"a.pt": data, "b.json": b"{}"})
    words = ("link", str(TARGET), "--folder", tmp_path / "folder")
    call = inside(*words, home=tmp_path).ok()
    assert "1 file left out, --allow-unsafe allows them: a.pt: archive/data.pkl" in call.err
    assert inside(*words, "--json", home=tmp_path).result["withheld"].keys() == {"a.pt"}
    assert not inside(*words, "--allow-unsafe", "--json", home=tmp_path).result["withheld"]
    assert (tmp_path / "folder" / "a.pt").exists()
