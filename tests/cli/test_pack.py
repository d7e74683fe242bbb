"""pack, unpack, and how ls, show, verify, rm, gc and doctor tell of capsules."""

import os
import shutil
import signal
from pathlib import Path
from random import Random

import pytest

from outlast.codec import format as fmt
from outlast.core.digest import Digest
from tests.campaign import SEED, rounds
from tests.cli.call import Call, inside, until
from tests.store.model import Model
from tests.store.weights import model, tuned
from tests.warm.calls import finish, start

BASE = model(1, 60_000)
TUNED = tuned(BASE, 2)
OTHER = model(9, 40_000)
NOISE = os.urandom(80_000)
CARD = b"---\nbase_model: org/base\n---\n"
BASE_NAME, TUNED_NAME = Digest.of(BASE), Digest.of(TUNED)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """org/base, me/tuned and me/noise, all plain."""
    root = tmp_path_factory.mktemp("pack")
    for name, files in {
        "org/base": {"model.safetensors": BASE, "config.json": b"{}"},
        "me/tuned": {"model.safetensors": TUNED, "README.md": CARD},
        "me/noise": {"noise.bin": NOISE, "small.txt": b"text"},
    }.items():
        folder = root / "folders" / name
        folder.mkdir(parents=True)
        for path, data in files.items():
            (folder / path).write_bytes(data)
        inside("add", folder, "--as", name, "--form", "plain", home=root).ok()
    return root


@pytest.fixture
def home(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made / "archive", tmp_path / "archive")
    return tmp_path


def capsule(home: Path, digest: Digest) -> Path:
    return home / "archive" / "capsules" / digest.hex[:2] / f"{digest}.olc"


def blob(home: Path, digest: Digest) -> Path:
    return home / "archive" / "blobs" / digest.hex[:2] / digest.hex


def read(home: Path) -> Model:
    return Model.read(home / "archive")


def lines(call: Call) -> dict[str, dict[str, object]]:
    return {line["repo"]: line for line in call.documents}


def damage(path: Path, *offsets: int) -> None:
    data = bytearray(path.read_bytes())
    for offset in offsets:
        data[offset] ^= 0x55
    path.chmod(0o644)
    path.write_bytes(data)
    path.chmod(0o444)


def test_there_and_back(home: Path) -> None:
    before = read(home)
    said = inside("pack", "--json", home=home).ok().result
    assert {key: said[key] for key in ("type", "changed", "thin", "unpaying", "linked")} == {
        "type": "packed",
        "changed": 2,
        "thin": 1,
        "unpaying": 1,
        "linked": 0,
    }
    packed = read(home)
    assert packed.blobs == before.blobs
    assert packed.capsules == {BASE_NAME.hex: (), TUNED_NAME.hex: (BASE_NAME.hex,)}
    assert packed.doubled == set()
    assert said["before_bytes"] == len(BASE) + len(TUNED)
    assert said["after_bytes"] == sum(
        capsule(home, name).stat().st_size for name in (BASE_NAME, TUNED_NAME)
    )
    inside("verify", home=home).ok()
    again = inside("pack", "--json", home=home).ok().result
    assert (again["changed"], again["already"], again["unpaying"]) == (0, 2, 1)
    said = inside("unpack", "--json", home=home).ok().result
    assert (said["type"], said["changed"]) == ("unpacked", 2)
    assert read(home).facts() == before.facts()


def test_a_dry_run_says_the_same_and_changes_nothing(home: Path) -> None:
    before = read(home)
    would = inside("pack", "--dry-run", "--json", home=home).ok().result
    assert read(home).facts() == before.facts()
    done = inside("pack", "--json", home=home).ok().result
    assert would.pop("type") == "would-be-packed"
    assert done.pop("type") == "packed"
    assert would == done
    packed = read(home)
    would = inside("unpack", "--dry-run", "--json", home=home).ok().result
    assert would["after_bytes"] == len(BASE) + len(TUNED)
    assert read(home).facts() == packed.facts()


def test_only_what_is_named(home: Path) -> None:
    call = inside("pack", "org/base", home=home).ok()
    assert call.out.startswith("1 file packed: 120 kB → ")
    assert set(read(home).capsules) == {BASE_NAME.hex}
    inside("pack", "me/tuned@nothing", home=home).failed("revision-not-found")


def test_without_a_base(home: Path) -> None:
    inside("pack", "--no-base", home=home).ok()
    assert read(home).capsules == {BASE_NAME.hex: (), TUNED_NAME.hex: ()}
    thin = inside("pack", "me/tuned", "--json", home=home).ok().result
    assert (thin["changed"], thin["thin"]) == (1, 1)  # a full capsule becomes a delta
    assert read(home).capsules[TUNED_NAME.hex] == (BASE_NAME.hex,)
    inside("pack", "--no-base", home=home).ok()
    assert read(home).capsules[TUNED_NAME.hex] == ()
    inside("pack", "--base", "org/base", "--no-base", home=home).failed("usage")


def test_a_file_with_another_name_elsewhere_is_left_alone(home: Path) -> None:
    os.link(blob(home, BASE_NAME), home / "elsewhere")
    call = inside("pack", "org/base", home=home).ok()
    assert "1 file (120 kB) skipped: hard links" in call.err
    said = inside("pack", "org/base", "--json", home=home).ok().result
    assert (said["changed"], said["linked"], said["linked_bytes"]) == (0, 1, len(BASE))
    assert read(home).capsules == {}


def test_damage_that_was_there_before_is_not_packed_away(home: Path) -> None:
    damage(blob(home, BASE_NAME), 5000)
    call = inside("pack", "org/base", "--json", home=home)
    assert call.code == 4
    (problem,) = call.result["problems"]
    assert problem["code"] == "damaged"
    assert "damaged" in problem["problem"]
    assert blob(home, BASE_NAME).exists()
    assert not capsule(home, BASE_NAME).exists()
    assert list((home / "archive" / "tmp").iterdir()) == []


def test_a_damaged_capsule_is_not_unpacked(home: Path) -> None:
    inside("pack", home=home).ok()
    damage(capsule(home, TUNED_NAME), 40)
    call = inside("unpack", "--json", home=home)
    assert call.code == 4
    assert [problem["path"] for problem in call.result["problems"]] == ["model.safetensors"]
    assert "block 0" in call.result["problems"][0]["problem"]
    assert capsule(home, TUNED_NAME).exists()
    assert not blob(home, TUNED_NAME).exists()
    assert blob(home, BASE_NAME).exists()  # the others are done


def blocks(path: Path) -> int:
    return path.stat().st_blocks * 512


def test_ls_and_show(home: Path) -> None:
    card = blocks(blob(home, Digest.of(CARD)))
    before = lines(inside("ls", "--json", home=home).ok())
    assert before["me/tuned"]["stored_bytes"] == blocks(blob(home, TUNED_NAME)) + card
    assert before["me/tuned"]["saving"] == 0.0
    inside("pack", home=home).ok()
    after = lines(inside("ls", "--json", home=home).ok())
    size = blocks(capsule(home, TUNED_NAME))
    line = after["me/tuned"]
    assert line["stored_bytes"] == size + card
    assert line["saving"] == round(1 - (size + card) / (len(TUNED) + len(CARD)), 4)
    assert (line["capsules"], line["thin"], line["bases"]) == (1, 1, ["org/base"])
    assert line["bytes"] == before["me/tuned"]["bytes"]
    assert after["me/noise"]["stored_bytes"] == before["me/noise"]["stored_bytes"]
    assert "delta against org/base" in inside("ls", home=home).ok().out
    shown = inside("show", "me/tuned", "--json", home=home).ok().result
    assert shown["stored_bytes"] == size + card
    forms = {form["path"]: form for form in shown["forms"]}
    assert forms["README.md"]["form"] == "plain"
    assert forms["model.safetensors"]["form"] == "thin"
    assert forms["model.safetensors"]["bases"] == [
        {"sha256": BASE_NAME.hex, "bytes": len(BASE), "models": ["org/base"]}
    ]
    assert "delta against org/base" in inside("show", "me/tuned", home=home).ok().out


def test_a_removed_base_stays_while_a_delta_needs_it(home: Path) -> None:
    inside("pack", home=home).ok()
    size = capsule(home, BASE_NAME).stat().st_size
    would = inside("rm", "org/base", "--dry-run", "--json", home=home).ok().result
    assert (would["kept"], would["kept_bytes"]) == (1, size)
    assert "kept: 1 blob" in inside("rm", "org/base", "--dry-run", home=home).ok().err
    inside("rm", "org/base", home=home).ok()
    for _ in range(2):
        said = inside("gc", "--json", home=home).ok().result
        assert (said["kept"], said["kept_bytes"]) == (1, size)
    inside("verify", home=home).ok()
    inside("pack", "me/tuned", "--no-base", home=home).ok()
    said = inside("gc", "--json", home=home).ok().result
    assert (said["kept"], said["count"]) == (0, 1)
    assert not capsule(home, BASE_NAME).exists()
    inside("verify", home=home).ok()


def problem_of(home: Path) -> str:
    call = inside("verify", "--json", home=home)
    assert call.code == 4
    (problem,) = call.result["problems"]
    return str(problem["problem"])


def test_verify_names_the_block(home: Path) -> None:
    inside("pack", "org/base", home=home).ok()
    damage(capsule(home, BASE_NAME), 3000)
    assert "block " in problem_of(home)
    inside("verify", "--quarantine", home=home)
    assert not capsule(home, BASE_NAME).exists()
    assert (home / "archive" / "quarantine" / capsule(home, BASE_NAME).name).exists()


@pytest.mark.parametrize("offset", [1, -5, -fmt.TRAILER_BYTES - 5])
def test_verify_tells_damage_that_still_reads(offset: int, home: Path) -> None:
    inside("pack", "org/base", home=home).ok()
    damage(capsule(home, BASE_NAME), offset)
    assert "still reads" in problem_of(home)
    inside("verify", "--quarantine", home=home)
    assert capsule(home, BASE_NAME).exists()
    inside("unpack", home=home).ok()
    inside("verify", home=home).ok()


def test_verify_names_the_base(home: Path) -> None:
    inside("pack", "me/tuned", home=home).ok()
    data = bytearray(BASE)
    for at in range(1000, len(data), 1000):
        data[at] ^= 0x55
    blob(home, BASE_NAME).chmod(0o644)
    blob(home, BASE_NAME).write_bytes(data)
    call = inside("verify", "me/tuned", "--json", "--quarantine", home=home)
    assert call.code == 4
    (problem,) = call.result["problems"]
    assert "base" in problem["problem"]
    assert capsule(home, TUNED_NAME).exists()
    inside("verify", "--quarantine", home=home)
    assert not blob(home, BASE_NAME).exists()
    assert capsule(home, TUNED_NAME).exists()
    call = inside("verify", "--json", home=home)
    told = {problem["problem"] for problem in call.result["problems"]}
    assert any("depends on" in text and "not in the archive" in text for text in told)
    assert "its base is missing" in told
    found = inside("doctor", "--json", home=home)
    assert found.code == 1
    wrong = [d for d in found.documents if d["check"] == "capsules"]
    assert [d["health"] for d in wrong] == ["wrong"]
    inside("add", home / "folder", "--as", "org/base", home=home).failed("not-found")


def test_unreadable_trailers_are_told(home: Path) -> None:
    inside("pack", "org/base", home=home).ok()
    damage(capsule(home, BASE_NAME), -5, -fmt.TRAILER_BYTES - 5)
    call = inside("verify", "--json", home=home)
    assert call.code == 4
    assert any("trailers" in problem["problem"] for problem in call.result["problems"])
    wrong = [d["text"] for d in inside("doctor", "--json", home=home).documents
             if d["check"] == "capsules" and d["health"] == "wrong"]  # fmt: skip
    assert wrong == ["the trailers of 1 of 1 are damaged"]


def test_doctor_counts_and_rebuilds(home: Path) -> None:
    inside("pack", home=home).ok()
    (home / "archive" / "index.sqlite").unlink()
    inside("doctor", "--rebuild", home=home).ok()
    found = [d for d in inside("doctor", "--json", home=home).ok().documents
             if d["check"] == "capsules"]  # fmt: skip
    assert found[0]["text"].startswith("2, 1 of them deltas")
    assert lines(inside("ls", "--json", home=home).ok())["me/tuned"]["thin"] == 1
    inside("unpack", home=home).ok()
    assert "capsules" not in inside("doctor", home=home).ok().out


def test_what_a_crash_left_double_is_ended(home: Path) -> None:
    inside("pack", "org/base", home=home).ok()
    blob(home, BASE_NAME).write_bytes(BASE)
    blob(home, BASE_NAME).chmod(0o444)
    inode = capsule(home, BASE_NAME).stat().st_ino
    said = inside("pack", "org/base", "--json", home=home).ok().result
    assert said["changed"] == 1
    assert not blob(home, BASE_NAME).exists()
    assert capsule(home, BASE_NAME).stat().st_ino == inode  # it was not made again


def kill(home: Path, command: str, pattern: str, more_than: int) -> None:
    """Runs the command, and kills it once that many files are there, if it still runs."""
    process = start(command, home=home)
    archive = home / "archive"
    until(
        lambda: process.poll() is not None or len(list(archive.glob(pattern))) > more_than,
        "it works",
    )
    process.kill()
    finish(process)


@pytest.mark.torture
@pytest.mark.parametrize("command", ["pack", "unpack"])
def test_killed_at_any_time_it_goes_on(command: str, home: Path) -> None:
    """kill -9 in the midst of a file, and when the first is done."""
    if command == "unpack":
        inside("pack", home=home).ok()
    blobs, plain = read(home).blobs, len(read(home).plain())
    done = ("capsules/*/*", 0) if command == "pack" else ("blobs/*/*", plain)
    for pattern, more_than in (("tmp/*/*.tmp", 0), done):
        kill(home, command, pattern, more_than)
        assert read(home).blobs == blobs
        inside("gc", home=home).ok()
        assert read(home).blobs == blobs
    inside(command, home=home).ok()
    found = read(home)
    assert found.blobs == blobs
    assert set(found.capsules) == ({BASE_NAME.hex, TUNED_NAME.hex} if command == "pack" else set())
    inside("gc", home=home).ok()
    assert read(home).facts() == found.facts()
    inside("verify", home=home).ok()


@pytest.mark.torture
@pytest.mark.parametrize("command", ["pack", "unpack"])
def test_killed_at_a_change_of_the_disk_nothing_is_lost(command: str, home: Path) -> None:
    """kill -9 at some of the changes, those of the last file among them."""
    if command == "unpack":
        inside("pack", home=home).ok()
    before = read(home)
    runs = rounds(5, 33)
    shutil.copytree(home / "archive", home / "template")
    count = doomed(home, 0, "before", command)
    random = Random(SEED)
    for number in range(runs):
        shutil.rmtree(home / "archive")
        shutil.copytree(home / "template", home / "archive")
        step = 1 + (number * count + random.randrange(count)) // runs
        doomed(home, step, random.choice(["before", "torn", "after"]), command)
        assert read(home).blobs == before.blobs, step
        inside("gc", home=home).ok()
        assert read(home).blobs == before.blobs, step
        inside(command, home=home).ok()
        assert read(home).doubled == set()
        assert bool(read(home).capsules) == (command == "pack")


def doomed(home: Path, step: int, moment: str, *arguments: str) -> int:
    """Runs a command that dies at that change of the disk; with step 0, how many there were."""
    count = home / "count"
    count.unlink(missing_ok=True)
    call = finish(start(*arguments, home=home, doom=(str(step), moment, str(count))))
    # Its threads do not make the same number of changes each time: a late step may not come.
    assert call.code in ({0, -signal.SIGKILL} if step else {0}), call.err
    return 0 if step else int(count.read_text())
