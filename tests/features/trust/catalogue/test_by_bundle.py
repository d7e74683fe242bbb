"""Catalogues that bundles bring along: what proves them is what proves all others."""

import shutil
from collections.abc import Mapping
from pathlib import Path

import pyrage
import pytest

from outlast.core.errors import BadNameError, MalformedError
from outlast.features.bundle import take_catalogues
from outlast.features.trust.catalogue.folders import read_record
from outlast.store.evidence.catalogues import (
    brought_folder,
    brought_names,
    keep_brought,
    read_metadata,
)
from tests.cli.call import Call, inside
from tests.features.bundle.script import verify

MODELS = ("lab/one", "lab/two")


@pytest.fixture
def operator(tmp_path: Path) -> Path:
    """An archive of two models, and a catalogue that lists the first."""
    home = tmp_path / "operator"
    home.mkdir()
    for name in MODELS:
        folder = tmp_path / name
        folder.mkdir(parents=True)
        (folder / "config.json").write_text(f'{{"name": "{name}"}}')
        inside("add", folder, "--as", name, home=home).ok()
    inside("catalogue", "init", "acme", home=home).ok()
    publish(home, "lab/one")
    return home


@pytest.fixture
def there(tmp_path: Path) -> Path:
    (tmp_path / "there").mkdir()
    return tmp_path / "there"


def publish(home: Path, *models: str) -> None:
    inside("catalogue", "add", "acme", *models, home=home).ok()
    inside("catalogue", "publish", "acme", home=home).ok()


def export(home: Path, usb: Path, *more: str) -> Call:
    words = ("export", "lab/one", "--catalogue", "acme", "--parity", "0", "--to", usb)
    return inside(*words, *more, home=home)


def root_of(usb: Path) -> Path:
    return usb / "catalogues" / "acme" / "metadata" / "1.root.json"


def sync(there: Path, *more: str | Path) -> Call:
    return inside("catalogue", "sync", "acme", "--json", *more, home=there)


def version(there: Path) -> int:
    call = inside("catalogue", "ls", "--json", home=there).ok()
    (found,) = [one for one in call.documents if one.get("catalogue") == "acme"]
    return int(found["version"])


def test_across_an_air_gap(operator: Path, there: Path, tmp_path: Path) -> None:
    usb = tmp_path / "usb"
    said = export(operator, usb, "--json").ok().result
    assert said["catalogues"] == ["acme"]
    assert verify(usb).faults == []
    assert inside("import", usb, "--json", home=there).ok().result["catalogues"] == ["acme"]
    assert inside("verify", "--who", "lab/one", home=there).ok().out.count("listed     no") == 1
    follow = inside("catalogue", "follow", "bundle:acme", "--root", root_of(usb), home=there).ok()
    assert "1 revision, current" in follow.out
    assert "listed     yes by acme" in inside("verify", "--who", "lab/one", home=there).ok().out
    assert inside("pull", "lab/one", "--from", "catalogue:acme", home=there).code == 0


def test_versions_never_go_back(operator: Path, there: Path, tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    export(operator, old).ok()
    publish(operator, "lab/two")
    export(operator, new).ok()
    inside("import", new, home=there).ok()
    inside("catalogue", "follow", "bundle:acme", "--root", root_of(new), home=there).ok()
    newest = version(there)
    inside("import", old, home=there).ok()
    sync(there).failed("catalogue-refused")
    assert version(there) == newest
    inside("import", new, home=there).ok()
    assert not sync(there).ok().result["changed"]


def test_a_place_that_cannot_be_reached(operator: Path, there: Path, tmp_path: Path) -> None:
    """What a bundle brought is read in its stead; the place stays."""
    www, usb = tmp_path / "www", tmp_path / "usb"
    inside("catalogue", "publish", "acme", "--to", www, home=operator).ok()
    inside("catalogue", "follow", www, "--root", www / "metadata/1.root.json", home=there).ok()
    before = version(there)
    www.rename(tmp_path / "gone")
    sync(there).failed("catalogue-refused")
    publish(operator, "lab/two")
    export(operator, usb).ok()
    inside("import", usb, home=there).ok()
    assert sync(there).ok().result["entries"] == 2
    assert version(there) > before
    assert read_record(there / "archive", "acme").place == str(www)


def test_from_a_medium_this_once(operator: Path, there: Path, tmp_path: Path) -> None:
    usb, place = tmp_path / "usb", tmp_path / "usb/catalogues/acme"
    export(operator, usb).ok()
    inside("catalogue", "follow", place, "--root", root_of(usb), home=there).ok()
    assert sync(there, "--from", place).ok().result["place"] == str(place)
    sync(there, "--from", "bundle:acme").failed("not-found")
    inside("catalogue", "sync", "--from", place, home=there).failed("usage")


def test_another_root_than_the_one_that_is_trusted(
    operator: Path, there: Path, tmp_path: Path
) -> None:
    usb, other = tmp_path / "usb", tmp_path / "other"
    export(operator, usb).ok()
    inside("import", usb, home=there).ok()
    inside("catalogue", "follow", "bundle:acme", "--root", root_of(usb), home=there).ok()
    other.mkdir()
    inside("catalogue", "init", "acme", home=other).ok()
    files = read_metadata(other / "archive", "acme")
    keep_brought(there / "archive", "acme", files)
    sync(there).failed("catalogue-refused")


def test_a_catalogue_that_is_not_here(operator: Path, tmp_path: Path) -> None:
    words = ("export", "lab/one", "--to", tmp_path / "usb", "--catalogue", "other")
    inside(*words, home=operator).failed("not-found")
    assert not (tmp_path / "usb").exists()


def test_encrypted(operator: Path, tmp_path: Path) -> None:
    """Nothing of it lies in clear beside the parts."""
    key = str(pyrage.x25519.Identity.generate().to_public())
    usb = tmp_path / "usb"
    call = export(operator, usb, "--encrypt", key)
    call.ok()
    assert {path.name for path in usb.iterdir()} == {"bundle.json", "verify.py", "parts"}


@pytest.mark.parametrize(
    "files",
    [
        {"metadata/../../x.json": b""},
        {"targets/a.json": b""},
        {"metadata/.hidden.json": b""},
        {"metadata/a/b.json": b""},
        {"metadata/timestamp.txt": b""},
    ],
)
def test_files_that_no_catalogue_has(tmp_path: Path, files: Mapping[str, bytes]) -> None:
    with pytest.raises(BadNameError):
        keep_brought(tmp_path, "acme", files)
    assert brought_names(tmp_path) == []


def test_a_catalogue_that_is_too_large_is_left(
    operator: Path, there: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rest of the bundle is taken."""
    usb = tmp_path / "usb"
    export(operator, usb).ok()
    monkeypatch.setattr(take_catalogues, "MOST_FILE", 200)
    call = inside("import", usb, "--json", home=there)
    (refused,) = call.result["refused"]
    assert (refused["what"], refused["code"]) == ("catalogue acme", "malformed")
    assert (len(call.result["new"]), call.result["catalogues"]) == (1, [])
    assert brought_names(there / "archive") == []


def test_names_and_numbers_are_bounded(tmp_path: Path) -> None:
    with pytest.raises(BadNameError):
        keep_brought(tmp_path, "../acme", {})
    for number in range(100):
        keep_brought(tmp_path, f"c{number}", {"metadata/timestamp.json": b"{}"})
    with pytest.raises(MalformedError):
        keep_brought(tmp_path, "one-more", {"metadata/timestamp.json": b"{}"})
    keep_brought(tmp_path, "c7", {"metadata/1.root.json": b"{}"})
    assert [path.name for path in (brought_folder(tmp_path, "c7") / "metadata").iterdir()] == [
        "1.root.json"
    ]


def test_what_a_killed_process_left(tmp_path: Path) -> None:
    keep_brought(tmp_path, "acme", {"metadata/timestamp.json": b"{}"})
    folder = brought_folder(tmp_path, "acme")
    shutil.copytree(folder, folder.with_name(".acme.new"))
    keep_brought(tmp_path, "acme", {"metadata/timestamp.json": b"[]"})
    assert (folder / "metadata/timestamp.json").read_bytes() == b"[]"
    assert brought_names(tmp_path) == ["acme"]
