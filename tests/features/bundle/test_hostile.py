"""Bundles that were made to do harm: each is refused by name, and nothing else happens."""

import os
import shutil
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from outlast.codec.bundle.contents import BundledBlob
from outlast.codec.bundle.geometry import PartLayout
from outlast.codec.payload import Form
from outlast.core.digest import Digest
from outlast.core.errors import NotFoundError, OutlastError
from outlast.core.manifest import Revision
from outlast.core.names import RepoId
from outlast.features.bundle.importing import Imported
from outlast.sources.bundle.opened import open_media
from outlast.store import disk
from outlast.store.archive import Archive
from tests.campaign import SEED, rounds
from tests.features.bundle.forged import COMMIT, REPO, bundle_of, entry, payload, write
from tests.features.bundle.world import export_to, files_below, import_from

MANIFEST_SIZE = len(Revision.of(REPO, COMMIT, [entry("a.bin", b"a" * 9000)]).to_bytes())
GOOD = b"a" * 9000


def refused(other: Archive, folder: Path) -> Imported:
    """Imports, and checks that nothing came of it."""
    (result,) = import_from(other, folder)
    assert not result.is_whole
    assert not result.moved
    assert not [path for path in files_below(other.layout.home) if path.startswith("manifests")]
    return result


def test_the_forger_forges_well(other: Archive, tmp_path: Path) -> None:
    """Without harm in it a forged bundle is taken: what is refused below is so for that harm."""
    write(tmp_path, *bundle_of([entry("a.bin", GOOD)], [(payload(GOOD, MANIFEST_SIZE), GOOD)]))
    (result,) = import_from(other, tmp_path)
    assert result.is_whole


def test_a_payload_that_is_another_file(other: Archive, tmp_path: Path) -> None:
    bad = payload(b"b" * 9000, MANIFEST_SIZE, claims=GOOD)
    write(tmp_path, *bundle_of([entry("a.bin", GOOD)], [(bad, b"b" * 9000)]))
    result = refused(other, tmp_path)
    assert result.refused[0].what == "evil/model: a.bin"
    assert "sha256" in result.refused[0].reason
    assert not [path for path in files_below(other.layout.home) if path.startswith("blobs")]


def test_a_manifest_of_another_model(other: Archive, tmp_path: Path) -> None:
    good = [(payload(GOOD, MANIFEST_SIZE), GOOD)]
    contents, stream = bundle_of([entry("a.bin", GOOD)], good, repo=RepoId.parse("good/model"))
    write(tmp_path, contents, stream)
    assert "evil/model" in refused(other, tmp_path).refused[0].reason


@pytest.mark.parametrize(
    "path", ["../escape", "/etc/passwd", "a/../../b", "x/.git/config", "a\\..\\b/../c", "a\0b"]
)
def test_names_that_lead_elsewhere(other: Archive, tmp_path: Path, path: str) -> None:
    safe = Revision.of(REPO, COMMIT, [entry("a" * len(path), GOOD)]).to_bytes()
    evil = safe.replace(b'"' + b"a" * len(path) + b'"', b'"' + path.encode() + b'"')
    contents, stream = bundle_of([], [(payload(GOOD, len(evil)), GOOD)], manifest=evil)
    write(tmp_path, contents, stream)
    refused(other, tmp_path)
    assert not (other.layout.home.parent / "escape").exists()


def test_a_capsule_that_claims_to_be_endless(other: Archive, tmp_path: Path) -> None:
    """Refused before a byte of it is read, let alone decoded."""
    blob = Digest.of(b"endless")
    files = [replace(entry("a.bin", GOOD), size=1 << 49, sha256=blob)]
    size = len(Revision.of(REPO, COMMIT, files).to_bytes())
    bomb = BundledBlob(blob, 1 << 49, Form.CAPSULE, size, 500)
    write(tmp_path, *bundle_of(files, [(bomb, bytes(500))]))
    assert "claims to restore" in refused(other, tmp_path).refused[0].reason


def test_a_plain_payload_larger_than_the_media(
    other: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No room is taken for what the parts do not have."""
    blob = Digest.of(b"huge")
    files = [replace(entry("a.bin", GOOD), size=1 << 39, sha256=blob)]
    size = len(Revision.of(REPO, COMMIT, files).to_bytes())
    huge = BundledBlob(blob, 1 << 39, Form.PLAIN, size, 1 << 39)
    contents, stream = bundle_of(files, [(huge, b"")], layout=PartLayout(1 << 20, 8, 200, 0))
    write(tmp_path, contents, stream, parts=1)
    monkeypatch.setattr(disk, "free_bytes", lambda _path: 1 << 50)
    assert "damaged or missing" in refused(other, tmp_path).refused[0].reason


def test_a_capsule_of_another_blob(archive: Archive, other: Archive, tmp_path: Path) -> None:
    revision = archive.revision(RepoId.parse("org/base"))
    found = revision.find("model.safetensors")
    assert found is not None
    assert found.sha256 is not None
    capsule = archive.layout.capsule(found.sha256).read_bytes()
    files = [replace(entry("a.bin", GOOD), size=found.size)]
    size = len(Revision.of(REPO, COMMIT, files).to_bytes())
    assert files[0].sha256 is not None
    wrong = BundledBlob(files[0].sha256, found.size, Form.CAPSULE, size, len(capsule))
    write(tmp_path, *bundle_of(files, [(wrong, capsule)]))
    refused(other, tmp_path)


def test_links_and_devices_are_no_parts(archive: Archive, other: Archive, tmp_path: Path) -> None:
    export_to(archive, tmp_path / "real", "org/base")
    fake = tmp_path / "fake"
    (fake / "parts").mkdir(parents=True)
    os.symlink(tmp_path / "real" / "bundle.json", fake / "bundle.json")
    os.symlink(tmp_path / "real" / "parity", fake / "parity")
    for number, path in enumerate(sorted((tmp_path / "real" / "parts").iterdir())):
        os.symlink(path, fake / "parts" / path.name) if number % 2 else os.mkfifo(
            fake / "parts" / path.name
        )
    with pytest.raises(NotFoundError, match="no bundle"):
        import_from(other, fake)
    os.symlink("/dev/zero", fake / "00000.olb")
    with pytest.raises(NotFoundError, match="no bundle"):
        import_from(other, fake)


def test_parts_of_another_bundle_are_left_out(
    archive: Archive, other: Archive, tmp_path: Path
) -> None:
    export_to(archive, tmp_path / "one", "org/base")
    export_to(archive, tmp_path / "two", "org/tuned")
    for name in ("parts/00001.olb", "parts/00002.olb"):
        shutil.copy(tmp_path / "two" / name, tmp_path / "one" / name)
    media = open_media([tmp_path / "one"])
    assert any("2 parts of another bundle" in text for text in media.left_out)
    media.bundles[0].close()
    (result,) = import_from(other, tmp_path / "one")
    assert result.is_whole, "parity restores the two"
    assert len(result.revisions) == 1


def test_parts_that_changed_places_and_copies_of_parts(
    archive: Archive, other: Archive, tmp_path: Path
) -> None:
    export_to(archive, tmp_path / "usb", "org/base")
    parts = tmp_path / "usb" / "parts"
    (parts / "00001.olb").rename(parts / "swap")
    (parts / "00002.olb").rename(parts / "00001.olb")
    (parts / "swap").rename(parts / "00002.olb")
    shutil.copy(parts / "00003.olb", parts / "00003 copy.olb")
    (result,) = import_from(other, tmp_path / "usb")
    assert (result.is_whole, result.repaired) == (True, 0)


def test_what_is_beside_the_parts_is_never_run_or_read(
    archive: Archive, other: Archive, tmp_path: Path
) -> None:
    export_to(archive, tmp_path / "usb", "org/base")
    mark = tmp_path / "it-ran"
    for name in ("verify.py", "conftest.py", "install.sh", "sitecustomize.py", "parts/x.py"):
        (tmp_path / "usb" / name).write_text(f"open({str(mark)!r}, 'w')\n")
    (tmp_path / "usb" / "MANIFEST.md").write_text("\x1b[2J")
    (result,) = import_from(other, tmp_path / "usb")
    assert result.is_whole
    assert not mark.exists()


def test_a_newer_format_says_so(archive: Archive, other: Archive, tmp_path: Path) -> None:
    export_to(archive, tmp_path / "usb", "org/base")
    path = tmp_path / "usb" / "bundle.json"
    path.write_bytes(
        path.read_bytes().replace(b"outlast-bundle-file-v1", b"outlast-bundle-file-v2")
    )
    media = open_media([tmp_path / "usb"])
    assert any("newer outlast" in text for text in media.left_out)
    for bundle in media.bundles:
        bundle.close()
    assert other


def test_random_bytes_anywhere(archive: Archive, tmp_path: Path, filled: Path) -> None:
    """Whatever is overwritten, with the right sums or not: refused or repaired, or the same."""
    expected = files_below(archive.layout.home)
    export_to(archive, tmp_path / "usb", "org/base", "org/tuned")
    random = Random(SEED)
    files = sorted(path for path in (tmp_path / "usb").rglob("*") if path.is_file())
    for number in range(rounds(3, 300)):
        copy, home = tmp_path / f"copy-{number}", tmp_path / f"home-{number}"
        shutil.copytree(tmp_path / "usb", copy)
        for path in random.sample(files, random.randint(1, 5)):
            harmed = copy / path.relative_to(tmp_path / "usb")
            data = bytearray(harmed.read_bytes())
            at = random.randrange(len(data))
            data[at : at + random.choice([1, 8, 500])] = random.randbytes(8)
            harmed.write_bytes(data)
        with Archive(home, create=True) as other:
            try:
                results = import_from(other, copy)
            except OutlastError:
                results = []
            found = files_below(home)
            assert found.items() <= expected.items(), f"round {number} of seed {SEED}"
            if results and all(one.is_whole for one in results):
                assert found == expected
        shutil.rmtree(copy)
        shutil.rmtree(home)
    assert filled
