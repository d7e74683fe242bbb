"""A bundle that brings what it is read with: gathered by hash, checked, repaired, installed."""

import io
import subprocess
import tomllib
import zipfile
from dataclasses import replace
from importlib import metadata
from pathlib import Path

import pytest
import rfc8785

from outlast.codec.bundle.contents import BundleContents
from outlast.core.control import Control
from outlast.core.digest import Digest
from outlast.core.errors import (
    CorruptError,
    MalformedError,
    OutlastError,
    UnreachableError,
    UsageError,
)
from outlast.features.bundle.planning import ExportWishes
from outlast.features.bundle.program import installed
from outlast.features.bundle.program.gather import ProgramWishes, gather
from outlast.features.bundle.program.lock import LOCK, read_lock
from outlast.features.bundle.program.wheel_names import Machine, WheelName, machine, normalised
from outlast.features.bundle.review.report import ProgramFile
from outlast.features.bundle.tuning import TUNING
from outlast.store.archive import Archive
from tests.cli.call import inside
from tests.features.bundle.forge import Forged, manifest
from tests.features.bundle.program import HERE, make_wheel, make_wheels, pins
from tests.features.bundle.script import loaded, verify
from tests.features.bundle.world import export_to, files_below, import_from

ROOT = Path(__file__).parents[3]


@pytest.fixture
def usb(archive: Archive, tmp_path: Path) -> Path:
    """A medium with a model and a small program."""
    own, needed = make_wheels(tmp_path / "wheels")
    wishes = ProgramWishes([HERE], [own], [needed[0].parent])
    program = gather(wishes, Control(), pins(needed))
    export_to(archive, tmp_path / "usb", "org/base", wishes=ExportWishes(program=program))
    return tmp_path / "usb"


def install(medium: Path, tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """With nothing of this environment."""
    env = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path / "home")}
    if not Path("/usr/bin/python3").exists():
        pytest.skip("no Python of the system is here")
    command: list[str | Path] = ["sh", medium / "install.sh", *arguments]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False, cwd="/")


def test_it_installs_and_runs(usb: Path, tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in usb.rglob("*") if path.is_file()}
    done = install(usb, tmp_path)
    assert done.returncode == 0, done.stderr
    program = tmp_path / "home" / ".local" / "lib" / "outlast" / "bin" / "outlast"
    assert f"{program} import {usb}" in done.stdout
    assert subprocess.run([program], capture_output=True, text=True, check=True).stdout == (
        "it runs\n"
    )
    assert {path: path.read_bytes() for path in usb.rglob("*") if path.is_file()} == before
    again = install(usb, tmp_path)
    assert again.returncode == 1
    assert "is not new" in again.stderr
    assert program.exists()


@pytest.mark.parametrize("page", ["MANIFEST.md", "index.html"])
def test_the_pages_name_it(usb: Path, archive: Archive, tmp_path: Path, page: str) -> None:
    """With the sha256 of each file, and how it is used; and not where there is no program."""
    text = (usb / page).read_text()
    assert "The program" in text
    assert "sh install.sh" in text
    for path in (usb / "install.sh", *(usb / "wheels").iterdir()):
        name = path.relative_to(usb).as_posix()
        (line,) = (line for line in text.splitlines() if Digest.of(path.read_bytes()).hex in line)
        assert name in line.replace("\\", "")
    export_to(archive, tmp_path / "bare", "org/base")
    assert "install.sh" not in (tmp_path / "bare" / page).read_text()


def test_the_pages_name_the_engine() -> None:
    file = ProgramFile("wheels/xllamacpp-0.2.9-cp311-cp311-manylinux_2_17_x86_64.whl", 1, "00")
    assert "the engine" in file.what
    assert replace(file, path="install.sh").what
    assert replace(file, path="wheels/rich-1.0-py3-none-any.whl").what == ""


def test_damage_is_found_and_repaired(usb: Path, tmp_path: Path) -> None:
    assert verify(usb).status == 0
    copy = usb / "wheels" / "tinydep-1.0-py3-none-any.whl"
    right = copy.read_bytes()
    copy.write_bytes(right.replace(b"it runs", b"it RUNS"))
    done = install(usb, tmp_path)
    assert done.returncode == 1
    assert "the medium is damaged" in done.stderr
    assert not (tmp_path / "home").exists()
    said = verify(usb)
    assert said.status == 3
    assert "wheels/tinydep" in "".join(said.faults)
    # The parts are damaged too: their parity restores them.
    part = usb / "parts" / "00001.olb"
    part.write_bytes(bytes(len(part.read_bytes())))
    assert verify(usb, "--program", tmp_path / "mended").status == 3
    assert (tmp_path / "mended" / "wheels" / copy.name).read_bytes() == right
    assert (tmp_path / "mended" / "install.sh").read_bytes() == (usb / "install.sh").read_bytes()


def test_wheels_that_agree_with_each_other_alone_are_named(usb: Path, tmp_path: Path) -> None:
    """Sums on the medium can be written anew; those in the contents cannot, without the id."""
    (usb / "wheels" / "stranger-1.0-py3-none-any.whl").write_bytes(b"")
    (usb / "wheels" / "SHA256SUMS").write_text("")
    faults = verify(usb).faults
    assert [line.split(":")[0] for line in faults if line.startswith("WRONG")]
    assert any("SHA256SUMS" in line for line in faults)
    assert any("stranger" in line for line in faults)
    assert verify(usb, "--program", tmp_path / "mended").status == 3
    assert not (tmp_path / "mended" / "wheels" / "stranger-1.0-py3-none-any.whl").exists()


def test_pip_admits_no_other_wheel(usb: Path, tmp_path: Path) -> None:
    """Even where the medium's own sums were written to fit."""
    make_wheel(usb / "wheels", "tinydep", {"tinydep.py": "WORD = 'another'\n"})
    names = sorted(path.name for path in (usb / "wheels").glob("*.whl"))
    with (usb / "wheels" / "SHA256SUMS").open("w") as sums:
        subprocess.run(["sha256sum", *names], check=True, cwd=usb / "wheels", stdout=sums)
    done = install(usb, tmp_path, str(tmp_path / "there"))
    assert done.returncode == 1
    assert "nothing is installed" in done.stderr
    assert not (tmp_path / "there").exists()


def test_a_bundle_without_a_program(archive: Archive, tmp_path: Path) -> None:
    export_to(archive, tmp_path / "usb", "org/base")
    assert verify(tmp_path / "usb", "--program", tmp_path / "out").status == 2
    (tmp_path / "usb" / "install.sh").write_text("exit 0\n")
    said = verify(tmp_path / "usb")
    assert said.status == 1
    assert "install.sh: not of the bundle" in said.text


def test_import_takes_the_models_alone(
    usb: Path, archive: Archive, other: Archive, tmp_path: Path
) -> None:
    """And an altered script beside them is neither read nor run."""
    (usb / "install.sh").write_text(f"touch {tmp_path}/it-ran\n")
    (result,) = import_from(other, usb)
    assert result.is_whole
    found, expected = files_below(other.layout.home), files_below(archive.layout.home)
    assert found.items() <= expected.items()
    assert not [path for path in other.layout.home.rglob("*") if path.suffix in {".whl", ".sh"}]
    assert not (tmp_path / "it-ran").exists()


@pytest.mark.parametrize(
    "path",
    [
        "wheels/../install.sh",
        "wheels/sub/a-1.0-py3-none-any.whl",
        "wheels/.hidden.whl",
        "wheels/-r.whl",
        "wheels/sitecustomize.py",
        "wheels/a b.whl",
        "wheels/a\n.whl",
        "wheels/" + "a" * 300 + ".whl",
        "Install.sh",
        "install.sh/x",
        "verify.py",
    ],
)
def test_other_paths_are_no_records(path: str) -> None:
    forged = Forged([manifest("org/name", {})], [])
    [*_, last] = forged.contents["records"]
    last["path"] = "install.sh"
    assert BundleContents.from_json(forged.contents | {"models": []})
    last["path"] = path
    data = rfc8785.dumps(forged.contents | {"models": []})
    with pytest.raises(OutlastError):
        BundleContents.from_bytes(data)
    with pytest.raises(loaded().Bad, match="path"):
        loaded().read_contents(data)


def test_a_wheel_of_another_sha256_is_refused(tmp_path: Path) -> None:
    own, needed = make_wheels(tmp_path)
    pinned = pins(needed)
    wishes = ProgramWishes([HERE], [own], [needed[0].parent])
    make_wheel(needed[0].parent, "tinydep", {"tinydep.py": "WORD = 'another'\n"})
    with pytest.raises(CorruptError, match=r"tinydep-1\.0"):
        gather(wishes, Control(), pinned)


def test_what_is_missing_is_said_before_anything_is_written(tmp_path: Path) -> None:
    own, needed = make_wheels(tmp_path)
    pinned = pins(needed)
    needed[0].unlink()
    folders = [needed[0].parent]
    with pytest.raises(UsageError, match=r"no wheel of tinydep for Python 3\.[0-9]+ on linux"):
        gather(ProgramWishes([HERE], [own], folders), Control(), pinned)
    only = own.rename(own.with_name("outlast-1.0-cp311-cp311-linux_x86_64.whl"))
    far = Machine(12, "linux-aarch64")
    with pytest.raises(UsageError, match=r"no wheel of outlast and 1 more for Python 3\.12"):
        gather(ProgramWishes([far], [only], folders), Control(), pinned)


def test_too_many_bytes_are_not_carried(tmp_path: Path) -> None:
    own, needed = make_wheels(tmp_path)
    wishes = ProgramWishes([HERE], [own], [needed[0].parent])
    with pytest.raises(UsageError, match="a bundle carries at most"):
        gather(wishes, Control(), pins(needed), replace(TUNING, most_program=1000))


def test_without_a_network_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    own, needed = make_wheels(tmp_path)
    with pytest.raises(UnreachableError, match="could not download the wheels for Python"):
        gather(ProgramWishes([HERE], [own]), Control(), pins(needed))


def test_a_checkout_is_no_wheel(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    own = tmp_path / "outlast-1.0.dist-info"
    own.mkdir()
    (own / "METADATA").write_text("Name: outlast\nVersion: 1.0\n")
    (own / "WHEEL").write_text("Tag: py3-none-any\n")
    (own / "direct_url.json").write_text('{"url": "file:///x", "dir_info": {"editable": true}}')
    distribution = metadata.Distribution.at(own)
    monkeypatch.setattr(metadata, "distribution", lambda _name: distribution)
    with pytest.raises(UsageError, match="runs from its source") as caught:
        installed.wheel_of("outlast")
    assert "--wheel" in caught.value.hint


def test_a_changed_installation_is_no_wheel(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    wheel = make_wheel(tmp_path / "wheel", "tinydep", {"tinydep.py": "WORD = 1\n"})
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    distribution = metadata.Distribution.at(tmp_path / "tinydep-1.0.dist-info")
    monkeypatch.setattr(metadata, "distribution", lambda _name: distribution)
    name, data = installed.wheel_of("tinydep")
    assert name == wheel.name
    assert installed.wheel_of("tinydep") == (name, data)
    with zipfile.ZipFile(wheel) as one, zipfile.ZipFile(io.BytesIO(data)) as other:
        assert {n: one.read(n) for n in one.namelist() if not n.endswith("RECORD")} == {
            n: other.read(n) for n in other.namelist() if not n.endswith("RECORD")
        }
    (tmp_path / "tinydep.py").write_text("WORD = 2\n")
    with pytest.raises(CorruptError, match="was changed"):
        installed.wheel_of("tinydep")


@pytest.mark.parametrize(
    ("name", "fits"),
    [
        ("a-1.0-py3-none-any.whl", True),
        ("a-1.0-py2.py3-none-any.whl", True),
        ("a-1.0-1-cp312-cp312-manylinux2014_x86_64.manylinux_2_17_x86_64.whl", True),
        ("a-1.0-cp310-abi3-manylinux_2_28_x86_64.whl", True),
        ("a-1.0-cp312-abi3-linux_x86_64.whl", True),
        ("a-1.0-cp311-cp311-linux_x86_64.whl", False),
        ("a-1.0-cp313-abi3-linux_x86_64.whl", False),
        ("a-1.0-py2-none-any.whl", False),
        ("a-1.0-pp312-pypy312_pp73-linux_x86_64.whl", False),
        ("a-1.0-cp312-cp312-musllinux_1_2_x86_64.whl", False),
        ("a-1.0-cp312-cp312-manylinux_2_28_aarch64.whl", False),
        ("a-1.0-cp312-cp312-win_amd64.whl", False),
    ],
)
def test_which_machine_a_wheel_is_for(name: str, fits: bool) -> None:
    assert WheelName.parse(name).fits(Machine(12, "linux-x86_64")) is fits


@pytest.mark.parametrize(
    "name",
    [
        "",
        "a.whl",
        "../a-1.0-py3-none-any.whl",
        "-r-1.0-py3-none-any.whl",
        "a-1.0-py3-none-any.zip",
        "a-1.0-py3-none-any.whl\n",
        "a-1.0-py3-none-" + "x" * 300 + ".whl",
        "a/b-1.0-py3-none-any.whl",
    ],
)
def test_names_that_are_none(name: str) -> None:
    with pytest.raises(MalformedError):
        WheelName.parse(name)


@pytest.mark.parametrize(("python", "platform"), [("3.10", None), ("4.1", None), ("3.12", "win32")])
def test_machines_that_outlast_is_not_for(python: str, platform: str | None) -> None:
    with pytest.raises(UsageError):
        machine(python, platform or "linux-x86_64")


def test_the_list_is_that_of_development() -> None:
    """What is carried was tested: each package in the version, and with the files, of the lock."""
    carried = {entry.package: entry for entry in read_lock(LOCK.read_text())}
    locked = {
        entry.package: entry for entry in read_lock((ROOT / "requirements" / "dev.txt").read_text())
    }
    assert carried.pop("pip").files
    for package, entry in carried.items():
        assert (entry.version, entry.files) == (locked[package].version, locked[package].files)
        assert entry.marker in {"", "python_full_version < '3.13'"}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = project["dependencies"] + project["optional-dependencies"]["run"]
    assert {normalised(text.split(">")[0].split("[")[0]) for text in wanted} <= carried.keys()


def test_options_that_need_another(archive: Archive, tmp_path: Path) -> None:
    to = ("export", "org/base", "--to", tmp_path / "usb", "--home", archive.layout.home)
    done = inside(*to, "--python", "3.12", home=tmp_path)
    assert done.code == 2
    assert "--with-engine" in done.err
    done = inside(*to, "--with-engine", "--python", "2.7", home=tmp_path)
    assert done.code == 2
    assert not (tmp_path / "usb").exists()
