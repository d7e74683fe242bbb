"""verify.py restores plain files: all of them, and nothing else than them."""

import ast
import os
import shutil
import sys
from pathlib import Path
from random import Random

import pytest

from outlast.core.names import portable_names
from outlast.features.bundle.planning import ExportWishes
from outlast.store.archive import Archive
from tests.codec import files as capsules
from tests.codec import golden_blobs
from tests.features.bundle.forge import GIT, Forged, manifest, payload, sha256
from tests.features.bundle.script import SCRIPT, loaded, run, verify
from tests.features.bundle.world import export_to, put
from tests.lint.sources import Module
from tests.lint.uncalled import uncalled
from tests.pull.weights import model, packed, tuned


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, bytes]]:
    """A bundle, and the files that are in it, by path below the folder of `--restore`."""
    folder = tmp_path_factory.mktemp("restore")
    tensors = model(0, rows=160)
    base = packed(folder / "base.safetensors", tensors)
    tune = packed(folder / "tune.safetensors", tuned(tensors))
    one = {
        "model.safetensors": base,
        "sub/noise": Random(3).randbytes(9000),
        "copy": base,
        "e": b"",
    }
    two = {"model.safetensors": tune, "config.json": b"{}"}
    found = {}
    with Archive(folder / "archive", create=True) as archive:
        for name, files in (("org/base", one), ("org/tuned", two)):
            commit = put(archive, folder, files, name, base="org/base" if files is two else "")
            found.update({f"{name}/{commit}/{path}": data for path, data in files.items()})
        wishes = ExportWishes(parity=10, part_size=20_000)
        export_to(archive, folder / "usb", "org/base", "org/tuned", wishes=wishes)
    return folder / "usb", found


Made = tuple[Path, dict[str, bytes]]


def below(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_all_files_are_restored(made: Made, tmp_path: Path) -> None:
    usb, files = made
    said = verify(usb, "--restore", tmp_path / "out")
    assert said.status == 0, said.text
    assert below(tmp_path / "out") == files
    again = verify(usb, "--restore", tmp_path / "out")
    assert (again.status, again.faults) == (0, [])
    assert "restored 0 files" in again.text


def test_one_model_is_restored_by_name_and_ref(made: Made, tmp_path: Path) -> None:
    usb, files = made
    wanted = {path: data for path, data in files.items() if path.startswith("org/tuned/")}
    for name in ("org/tuned", "org/tuned@main"):
        assert verify(usb, "--restore", tmp_path / name, name).status == 0
        assert below(tmp_path / name) == wanted
    said = verify(usb, "--restore", tmp_path / "none", "org/none")
    assert said.status == 2
    assert "no model org/none" in said.text


def test_lost_and_damaged_parts_are_restored_from_parity(made: Made, tmp_path: Path) -> None:
    usb = Path(shutil.copytree(made[0], tmp_path / "usb"))
    (usb / "parts" / "00003.olb").unlink()
    for number in (0,):
        part = usb / "parts" / f"{number:05}.olb"
        part.write_bytes(part.read_bytes()[:1000] + bytes(900) + part.read_bytes()[1900:])
    said = verify(usb, "--restore", tmp_path / "out")
    assert said.status == 0, said.text
    assert below(tmp_path / "out") == made[1]


def test_files_in_lost_parts_are_named_and_the_others_restored(made: Made, tmp_path: Path) -> None:
    usb = Path(shutil.copytree(made[0], tmp_path / "usb"))
    shutil.rmtree(usb / "parity")
    max((usb / "parts").iterdir()).unlink()
    said = verify(usb, "--restore", tmp_path / "out")
    assert said.status == 1
    restored = below(tmp_path / "out")
    assert restored.items() < made[1].items()
    lost = {path.rpartition("/")[2] for path in made[1].keys() - restored.keys()}
    for name in lost:
        assert any(f": {name}: " in fault for fault in said.faults), said.text


def test_nothing_is_overwritten_and_no_link_followed(made: Made, tmp_path: Path) -> None:
    usb, files = made
    mine = next(path for path in files if path.endswith("noise"))
    path = tmp_path / "out" / mine
    path.parent.mkdir(parents=True)
    path.write_bytes(b"mine")
    outside = tmp_path / "outside"
    outside.mkdir()
    (tmp_path / "out" / "org" / "tuned").symlink_to(outside)
    config = next(path for path in files if path.endswith("base/" + path.split("/")[2] + "/e"))
    (tmp_path / "out" / config).symlink_to(outside / "file")
    said = verify(usb, "--restore", tmp_path / "out")
    assert said.status == 1
    assert path.read_bytes() == b"mine"
    assert not list(outside.iterdir())
    assert any("noise exists with other contents" in fault for fault in said.faults)
    assert any("out/org/tuned is in the way" in fault for fault in said.faults)
    assert any("/e is in the way" in fault for fault in said.faults)


def test_names_are_made_portable(tmp_path: Path) -> None:
    names = [
        "a?b.json",
        "aux.json",
        "A.txt",
        "a.txt",
        "b\\c",
        "end.",
        "d/E",
        "D/e",
        "x" * 250 + "é",
    ]
    names += ["100%3F", "é/1", "e\u0301/2", "x" * 250 + "ééé.json"]
    assert loaded().portable_names(names) == portable_names(names)
    data = {name: name.encode() for name in names if len(name.encode()) < 256}
    change = {"type": "outlast-manifest-v2"}
    bundle = Forged([manifest("org/name", data, change)], list(map(payload, data.values())))
    said = verify(bundle.write(tmp_path / "usb"), "--restore", tmp_path / "out")
    assert said.status == 0, said.text
    expected = {f"org/name/{GIT}/{portable_names(data)[n]}": d for n, d in data.items()}
    assert below(tmp_path / "out") == expected
    assert "renamed  a?b.json -> a%3Fb.json" in said.text


def test_a_wrong_file_is_not_left_there(tmp_path: Path) -> None:
    wrong = payload(b"x", None, {"blob": sha256(b"good"), "size": 1})
    files = {"f": b"good"}
    change = {"files": [{"path": "f", "size": 1, "sha256": sha256(b"good")}]}
    bundle = Forged([manifest("org/name", files, change)], [wrong])
    said = verify(bundle.write(tmp_path / "usb"), "--restore", tmp_path / "out")
    assert said.status == 1
    assert below(tmp_path / "out") == {}


def test_a_delta_whose_base_is_elsewhere_is_said_and_not_restored(tmp_path: Path) -> None:
    base = golden_blobs.BLOBS["thin"]() if "thin" in golden_blobs.BLOBS else bytes(70_000)
    blob = base[:-1] + b"!"
    bundle = Forged(
        [manifest("org/name", {"f": blob})],
        [payload(blob, capsules.encode(blob, [base]), {"bases": [sha256(base)]})],
    )
    bundle.contents["assumed"]["blobs"] = [sha256(base)]
    usb = bundle.write(tmp_path / "usb")
    said = verify(usb)
    assert said.status == 0, said.text
    assert "1 delta: the base is not in this bundle" in said.text
    said = verify(usb, "--restore", tmp_path / "out")
    assert said.status == 1
    assert "is expected to be in the archive already" in said.text


def test_a_list_has_models_and_digests(made: Made) -> None:
    said = verify(made[0], "--list")
    assert said.status == 0
    for path, data in made[1].items():
        assert f"{sha256(data)} {len(data):12} {path.split('/', 3)[3]}" in said.text


def test_two_media_are_one_bundle(made: Made, tmp_path: Path) -> None:
    one, two = (Path(shutil.copytree(made[0], tmp_path / name)) for name in ("one", "two"))
    shutil.rmtree(one / "parity")
    shutil.rmtree(two / "parts")
    assert verify(one).status == 3
    assert verify(one, "--media", two).status == 0


# ------------------------------------------------------------------ the decoder


@pytest.mark.parametrize("name", golden_blobs.BLOBS)
def test_it_decodes_every_golden_capsule(name: str) -> None:
    blob, bases = golden_blobs.BLOBS[name](), golden_blobs.bases(name)
    data, known = capsules.encode(blob, bases), capsules.named(bases)
    capsule = loaded().Capsule(lambda at, size: data[at : at + size], len(data))

    def read_base(base: str, at: int, size: int) -> bytes:
        return known[base][at : at + size]

    blocks = range(capsule.count(capsule.spans))
    found = b"".join(capsule.decode(block, read_base, careful=True) for block in blocks)
    assert found == blob


# ------------------------------------------------------------------ a bare host


def test_it_is_python_3_8_of_the_standard_library() -> None:
    tree = ast.parse(SCRIPT.read_text(), feature_version=(3, 8))
    names = {
        (node.module if isinstance(node, ast.ImportFrom) else alias.name) or ""
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    assert {name.partition(".")[0] for name in names} <= sys.stdlib_module_names
    assert "outlast" not in names


def test_nothing_in_it_is_without_a_use() -> None:
    module = Module("verify", SCRIPT.name, ast.parse(SCRIPT.read_text()))
    assert not uncalled([module], ["verify:main"])


def oldest_python() -> str:
    """The oldest that is here; it needs no package."""
    for name in ("python3.8", "python3.9", "python3.10"):
        path = shutil.which(name)
        if path is not None and run([path, "-c", ""]).status == 0:
            return path
    return sys.executable


def test_it_runs_alone_in_several_processes(made: Made, tmp_path: Path) -> None:
    usb = Path(shutil.copytree(made[0], tmp_path / "usb"))
    shutil.copy(SCRIPT, usb)
    script: list[str | Path] = [oldest_python(), "-I", "-S", usb / "verify.py", "--jobs", "2"]
    said = run(script)
    assert said.status == 0, said.text
    os.truncate(usb / "parts" / "00002.olb", 9000)
    said = run(script)
    assert said.status == 3, said.text
    assert any("parts/00002.olb: has 9000 bytes" in fault for fault in said.faults)
