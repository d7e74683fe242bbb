"""verify.py names what is wrong with a bundle: faults of media, and what people do to one."""

import json
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from random import Random
from typing import Any

import pytest
import rfc8785

from outlast.features.bundle.planning import ExportWishes
from outlast.store.archive import Archive
from tests.codec import files as capsules
from tests.features.bundle import forge
from tests.features.bundle.forge import Forged, manifest, payload, sha256
from tests.features.bundle.script import verify
from tests.features.bundle.world import export_to, put
from tests.pull.weights import model, packed, tuned

RESTORED, WRONG = 3, 1


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small bundle with parity: a capsule, a delta to it, and plain files."""
    folder = tmp_path_factory.mktemp("verify")
    tensors = model(0, rows=160)
    base = packed(folder / "base.safetensors", tensors)
    tune = packed(folder / "tune.safetensors", tuned(tensors))
    with Archive(folder / "archive", create=True) as archive:
        noise = Random(3).randbytes(30_000)
        put(archive, folder, {"model.safetensors": base, "noise": noise}, "org/base")
        put(archive, folder, {"model.safetensors": tune}, "org/tuned", base="org/base")
        wishes = ExportWishes(parity=10, part_size=9_000)
        done = export_to(archive, folder / "usb", "org/base", "org/tuned", wishes=wishes)
        assert any(payload.bases for payload in done.contents.payloads)
        export_to(archive, folder / "other", "org/base", wishes=wishes)
    return folder


@pytest.fixture
def usb(good: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(good / "usb", tmp_path / "usb"))


def test_a_good_bundle_is_well(good: Path) -> None:
    said = verify(good / "usb")
    assert (said.status, said.faults) == (0, [])
    assert "All is well" in said.text
    assert verify(good / "usb", "--quick").status == 0
    assert verify(good / "usb", "--id", forge.read_document(good / "usb")["id"]).status == 0


def part(usb: Path, number: int) -> Path:
    return next(usb.glob(f"*/{number:05}.olb"))


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 4
    path.write_bytes(data)


def flip_headers(path: Path) -> None:
    flip(path, 50)
    flip(path, -50)


def swap(usb: Path) -> None:
    one, two = part(usb, 1), part(usb, 2)
    one.rename(usb / "aside")
    two.rename(one)
    (usb / "aside").rename(two)


def change_document(usb: Path, change: Callable[[dict[str, Any]], None]) -> None:
    document = forge.read_document(usb)
    change(document)
    forge.write_document(usb, document)


def set_wrong_sum(document: dict[str, Any]) -> None:
    document["parts"][4]["sha256"] = "0" * 64


def a_manifest(usb: Path) -> Path:
    return min((usb / "manifests").iterdir())


def last_data(usb: Path) -> int:
    return len(list((usb / "parts").iterdir())) - 1


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "a bit of a data block": (lambda u: flip(part(u, 3), 1000), "00003.olb: 1 block damaged: 0"),
    "a bit of a parity block": (
        lambda u: flip(part(u, last_data(u) + 1), 1000),
        "parity/000",
    ),
    "a bit of a block's sum": (lambda u: flip(part(u, 3), 128 + 4096), "00003.olb: 1 block"),
    "a bit of the contents": (lambda u: flip(part(u, 0), 300), "parts/00000.olb: 1 block damaged"),
    "a bit of the first header": (lambda u: flip(part(u, 2), 40), "the header at its start is"),
    "a bit of the last header": (lambda u: flip(part(u, 2), -40), "the header at its end is"),
    "both headers": (lambda u: flip_headers(part(u, 2)), "the header at its end is damaged"),
    "a bit of bundle.json": (lambda u: flip(u / "bundle.json", 200), "bundle.json: "),
    "no bundle.json": (lambda u: (u / "bundle.json").unlink(), "bundle.json: missing"),
    "a wrong digest of a part": (
        lambda u: change_document(u, set_wrong_sum),
        "its sha256 is not the one in bundle.json",
    ),
    "a changed copy of a manifest": (
        lambda u: flip(a_manifest(u), 30),
        "is not what the bundle holds",
    ),
    "no copy of a manifest": (lambda u: a_manifest(u).unlink(), "No such file"),
    "a data part removed": (lambda u: part(u, 5).unlink(), "1 part missing: 5"),
    "a parity part removed": (lambda u: part(u, last_data(u) + 1).unlink(), "1 part missing"),
    "two parts swapped": (swap, "00001.olb: is parts/00002.olb by its header"),
    "a part cut short": (lambda u: os.truncate(part(u, 1), 5000), "has 5000 bytes and not"),
    "an empty part": (lambda u: os.truncate(part(u, 1), 0), "has 0 bytes and not"),
    "bytes behind a part": (
        lambda u: part(u, 1).write_bytes(part(u, 1).read_bytes() + b"more"),
        "00001.olb: has ",
    ),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_that_parity_restores_is_named(usb: Path, name: str) -> None:
    tamper, expected = DAMAGE[name]
    tamper(usb)
    said = verify(usb)
    assert said.status == RESTORED, said.text
    assert any(expected in fault for fault in said.faults), said.text
    assert "everything can be restored" in said.text


@pytest.mark.parametrize("seed", range(3))
def test_a_tenth_of_the_parts_lost_or_damaged_is_restored(usb: Path, seed: int) -> None:
    random = Random(seed)
    parts = sorted(usb.glob("*/*.olb"))
    for path in random.sample(parts, len(parts) // 10):
        if random.random() < 0.5:
            path.unlink()
        else:
            flip(path, random.randrange(path.stat().st_size))
    said = verify(usb)
    assert said.status == RESTORED, said.text


def lose(usb: Path, numbers: range) -> None:
    for number in numbers:
        part(usb, number).unlink()


def bring_part(usb: Path, name: str) -> None:
    shutil.copy(usb / name, usb / "parts" / "90000.olb")


def of_another(usb: Path, good: Path) -> None:
    shutil.copy(good / "other" / "parts" / "00004.olb", part(usb, 4))


def link_part(usb: Path) -> None:
    place = part(usb, 1)
    place.rename(usb.parent / "outside.olb")
    place.symlink_to(usb.parent / "outside.olb")


def pipe_part(usb: Path) -> None:
    place = part(usb, 1)
    place.unlink()
    os.mkfifo(place)


TAMPERED: dict[str, tuple[Callable[[Path, Path], object], str]] = {
    "more parts gone than parity has": (
        lambda u, _: lose(u, range(1, last_data(u))),
        "org/base: model.safetensors: ",
    ),
    "a part twice": (lambda u, _: bring_part(u, "parts/00003.olb"), "a second part 3"),
    "a part of another bundle": (of_another, "parts/00004.olb: of another bundle"),
    "a link for a part": (lambda u, _: link_part(u), "00001.olb: a link or no file"),
    "a pipe for a part": (lambda u, _: pipe_part(u), "00001.olb: a link or no file"),
    "a foreign manifest": (
        lambda u, _: (u / "manifests" / f"{'1' * 64}.json").write_text("{}"),
        "json: not of the bundle",
    ),
    "a foreign file": (lambda u, _: (u / "autorun.inf").write_text("x"), "autorun.inf: not of"),
    "a foreign attestation": (
        lambda u, _: shutil.copytree(u / "manifests", u / "attestations"),
        "attestations/",
    ),
    "bundle.json of another bundle": (
        lambda u, good: shutil.copy(good / "other" / "bundle.json", u),
        "bundle.json is of another bundle",
    ),
    "no part at all": (lambda u, _: shutil.rmtree(u / "parts"), "the contents"),
}


@pytest.mark.parametrize("name", TAMPERED)
def test_tampering_is_named(usb: Path, good: Path, name: str) -> None:
    tamper, expected = TAMPERED[name]
    tamper(usb, good)
    said = verify(usb)
    assert said.status == WRONG, said.text
    assert any(expected in fault for fault in said.faults), said.text


def test_a_bundle_of_another_id_is_refused(good: Path) -> None:
    said = verify(good / "usb", "--id", "0" * 64)
    assert said.status == WRONG
    assert "no part of 000" in said.text


def test_a_folder_that_is_no_bundle_is_refused(tmp_path: Path) -> None:
    assert verify(tmp_path).status == WRONG


def test_quick_sees_damage_and_does_not_say_that_it_can_be_restored(usb: Path) -> None:
    flip(part(usb, 3), 1000)
    said = verify(usb, "--quick")
    assert said.status == WRONG
    assert "00003.olb: 1 block damaged: 0" in said.text


# ------------------------------------------------------------------ bundles that lie


DATA = {"config.json": b"{}", "weights.bin": Random(5).randbytes(20_000)}
ZEROS = bytes(300_000)


def simple(files: list[dict[str, Any]] | None = None) -> Forged:
    """A bundle of plain files; its manifest may have other `files`."""
    change = {} if files is None else {"files": files}
    return Forged([manifest("org/name", DATA, change)], list(map(payload, DATA.values())))


def entries(**change: Any) -> list[dict[str, Any]]:
    """Files of a manifest: one, which is changed so."""
    data = DATA["config.json"]
    return [{"path": "config.json", "size": len(data), "sha256": sha256(data), **change}]


def with_capsule(stored: bytes, change: Mapping[str, Any] | None = None) -> Forged:
    """A bundle of one file of zeros; `change` is that of its payload."""
    files = {"weights.bin": ZEROS}
    return Forged([manifest("org/name", files)], [payload(ZEROS, stored, change or {})])


def changed(bundle: Forged, *path: Any) -> Forged:
    """The bundle with the last of `path` where the others lead in its contents."""
    *way, key, value = path
    place: Any = bundle.contents
    for step in way:
        place = place[step]
    place[key] = value
    return bundle


def chain(links: int) -> Forged:
    """A base and so many delta capsules, each on the one before."""
    blobs = [packed_floats(0)]
    stored = [payload(blobs[0], capsules.encode(blobs[0]))]
    for link in range(1, links + 1):
        blob, base = packed_floats(link), blobs[-1]
        stored.append(payload(blob, capsules.encode(blob, [base]), {"bases": [sha256(base)]}))
        blobs.append(blob)
    names = {f"{number}.safetensors": blob for number, blob in enumerate(blobs)}
    return Forged([manifest("org/name", names)], stored)


def packed_floats(link: int) -> bytes:
    header = json.dumps({"w": {"dtype": "BF16", "shape": [4096], "data_offsets": [0, 8192]}})
    numbers = bytearray(Random(6).randbytes(8192))
    numbers[0 : 2 * link : 2] = bytes([9]) * link
    return len(header).to_bytes(8, "little") + header.encode() + bytes(numbers)


def test_what_is_forged_well_is_well(tmp_path: Path) -> None:
    said = verify(simple().write(tmp_path / "plain"))
    assert said.status == 0, said.text
    said = verify(with_capsule(capsules.encode(ZEROS)).write(tmp_path / "capsule"))
    assert said.status == 0, said.text
    said = verify(chain(2).write(tmp_path / "chain"))
    assert said.status == 0, said.text


BLOB: dict[str, Any] = {"blob": sha256(DATA["weights.bin"]), "size": 1}
RECORD: Any = simple().contents["records"][0]


LIES: dict[str, tuple[Callable[[], Forged], str]] = {
    "another blob than its name": (
        lambda: Forged([manifest("org/name", DATA)], [payload(b"{}"), payload(b"x", None, BLOB)]),
        "weights.bin: its sha256 is",
    ),
    "another manifest than its name": (
        lambda: changed(simple(), "records", 0, {**RECORD, "sha256": "1" * 64}),
        "impossible record's path",
    ),
    "a manifest with another digest": (
        lambda: changed(relabelled(), "models", 0, "manifests", ["1" * 64]),
        "does not have the sha256",
    ),
    "a manifest of another model": (
        lambda: Forged([manifest("org/else", DATA)], list(map(payload, DATA.values()))),
        "is of another model",
    ),
    "a path that leads out": (lambda: simple(files=entries(path="../../x")), "unsafe path"),
    "an absolute path": (lambda: simple(files=entries(path="/etc/passwd")), "unsafe path"),
    "a path with a newline": (lambda: simple(files=entries(path="a\nWRONG b")), "unsafe path"),
    "a path twice": (lambda: simple(files=entries() * 2), "unsafe path"),
    "a file that is a folder too": (
        lambda: simple(files=entries(path="a") + entries(path="a/b")),
        "folder with the name of a file",
    ),
    "another size in the manifest": (lambda: simple(files=entries(size=3)), "different sizes"),
    "a file that is not there": (
        lambda: simple(files=entries(sha256="2" * 64)),
        "the bundle does not hold it",
    ),
    "another git blob id": (lambda: simple(files=entries(git_sha1="b" * 40)), "git blob id"),
    "a manifest that is no JSON": (
        lambda: Forged([b"{]"], list(map(payload, DATA.values()))),
        "is no JSON",
    ),
    "a manifest that is not canonical": (
        lambda: Forged([manifest("org/name", DATA) + b" "], []),
        "is not canonical",
    ),
    "a manifest nested without end": (lambda: Forged([b"[" * 100_000], []), "is no JSON"),
    "a record that leads out": (
        lambda: changed(simple(), "records", 0, "path", "attestations/../../x"),
        "impossible path of a record",
    ),
    "a record anywhere": (
        lambda: changed(simple(), "records", 0, "path", "verify.py"),
        "impossible record's path",
    ),
    "a size beyond all": (lambda: changed(simple(), "payloads", 0, "size", 1 << 52), "size"),
    "a size that is no number": (lambda: changed(simple(), "payloads", 0, "size", True), "size"),
    "a gap": (lambda: changed(simple(), "payloads", 1, "offset", 9), "offset of a payload"),
    "blocks of no size": (lambda: changed(simple(), "layout", "block", 5000), "impossible blocks"),
    "rows beyond all": (lambda: changed(simple(), "layout", "rows", 1 << 40), "impossible rows"),
    "a layout that is not the parts'": (
        lambda: changed(simple(), "layout", "rows", 3),
        "another layout than the parts",
    ),
    "a model that leads out": (
        lambda: Forged([manifest("../x", DATA)], [], name="../x"),
        "impossible name of a model",
    ),
    "an unknown key": (lambda: changed(simple(), "run", "rm -rf /"), "unknown key 'run'"),
    "a newer version": (lambda: changed(simple(), "type", "outlast-bundle-v2"), "newer version"),
    "a base that is nowhere": (
        lambda: with_capsule(capsules.encode(ZEROS), {"bases": ["3" * 64]}),
        "impossible base of a payload",
    ),
    "a chain of three deltas": (lambda: chain(3), "chain of more than 2 deltas"),
    "no capsule": (lambda: with_capsule(b"x" * 500), "not a capsule"),
    "a capsule of another blob": (
        lambda: with_capsule(capsules.encode(bytes(200_000))),
        "its capsule is that of another file",
    ),
    "a capsule that restores more than it says": (
        lambda: with_capsule(capsules.encode(ZEROS), {"size": 5}),
        "its capsule is that of another file",
    ),
    "a capsule with a damaged block": (
        lambda: with_capsule(capsules.encode(ZEROS)[:17] + b"\1" + capsules.encode(ZEROS)[18:]),
        "block 0 of a capsule is damaged",
    ),
}


def relabelled() -> Forged:
    record = {**RECORD, "sha256": "1" * 64, "path": f"manifests/{'1' * 64}.json"}
    return changed(simple(), "records", 0, record)


@pytest.mark.parametrize("name", LIES)
def test_lies_are_named(tmp_path: Path, name: str) -> None:
    make, expected = LIES[name]
    said = verify(make().write(tmp_path / "usb"))
    assert said.status == WRONG, said.text
    assert any(expected in fault for fault in said.faults), said.text


@pytest.mark.parametrize(
    ("encoded", "expected"),
    [
        (rfc8785.dumps(simple().contents) + b" ", "is not canonical"),
        (rfc8785.dumps(simple().contents).replace(b"{", b'{"type":1,', 1), "is not canonical"),
        (b"[" * 3_000_000, "is too large"),
        (b"[" * 50_000, "is no JSON"),
        (b'{"size":1e400}', "is no JSON"),
        (b"\xff\xfe", "is no JSON"),
    ],
    ids=["space", "key twice", "three million lists", "nested", "infinity", "no text"],
)
def test_contents_that_are_no_contents_are_refused(
    tmp_path: Path, encoded: bytes, expected: str
) -> None:
    said = verify(simple().write(tmp_path / "usb", encoded))
    assert said.status == WRONG
    assert expected in said.text


def test_what_is_said_of_hostile_names_is_one_line(tmp_path: Path) -> None:
    bundle = simple(files=entries(path="\x1b[2Jx\u202etxt\n.exe"))
    said = verify(bundle.write(tmp_path / "usb"))
    assert all(character.isprintable() or character == "\n" for character in said.text)
    assert len(said.faults) == 1
