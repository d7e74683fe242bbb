"""Figures for people add up: what commands say that the disk holds is what `du` says."""

import os
import random
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from outlast.core.digest import Digest
from outlast.core.sizes import human_size
from outlast.store.archive import Archive
from outlast.store.disk import space_used
from tests.cli.call import inside
from tests.codec.container_files import entry, safetensors
from tests.hubsim import HubRepo, HubSim

COUNT = 400_000
ZEROS = safetensors({"a": entry("F32", [COUNT], 0, 4 * COUNT)}, bytes(4 * COUNT))
NOISE = random.Random(5).randbytes(150_001)
FILES = {
    "a.safetensors": ZEROS,
    "b/same.safetensors": ZEROS,
    "c.safetensors": ZEROS,
    "noise.bin": NOISE,
    "noise-again.bin": NOISE,
    "README.md": b"# x\n",
    "empty.txt": b"",
}


def walk(*folders: Path) -> int:
    """Bytes of the files in `folders`, in blocks, each inode once; with the folders themselves."""
    seen, total = set(), 0
    for folder in folders:
        for root, _, files in os.walk(folder):
            for path in (root, *(os.path.join(root, name) for name in files)):
                stat = os.lstat(path)
                if (stat.st_dev, stat.st_ino) not in seen:
                    seen.add((stat.st_dev, stat.st_ino))
                    total += stat.st_blocks * 512
    return total


def contents(home: Path) -> int:
    """Bytes of all files that hold blobs, without the folders above them."""
    archive = home / "archive"
    paths = [*archive.glob("blobs/*/*"), *archive.glob("capsules/*/*")]
    return sum(path.stat().st_blocks * 512 for path in paths)


def add(home: Path, name: str, files: dict[str, bytes], *more: str) -> dict[str, Any]:
    folder = home / name.replace("/", "-")
    for path, data in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    found: dict[str, Any] = (
        inside("add", folder, "--as", name, "--json", *more, home=home).ok().result
    )
    return found


def shown(home: Path, name: str) -> dict[str, Any]:
    found: dict[str, Any] = inside("show", name, "--json", home=home).ok().result
    return found


@pytest.fixture(params=["plain", "capsule"])
def form(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_two_names_of_one_blob_count_once(tmp_path: Path, form: str) -> None:
    added = add(tmp_path, "me/m", FILES, "--form", form)
    disk = contents(tmp_path)
    assert (form == "capsule") == (disk < len(ZEROS))
    (line,) = inside("ls", "--json", home=tmp_path).ok().documents
    about = shown(tmp_path, "me/m")
    assert added["held_bytes"] == disk
    assert (line["stored_bytes"], line["own_bytes"], about["stored_bytes"]) == (disk, disk, disk)
    assert line["bytes"] == about["bytes"] == sum(map(len, FILES.values()))
    assert sum(row["stored_bytes"] for row in about["forms"]) == disk
    same = {row["path"]: row["same_as"] for row in about["forms"] if row["same_as"]}
    assert same == {
        "b/same.safetensors": "a.safetensors",
        "c.safetensors": "a.safetensors",
        "noise.bin": "noise-again.bin",
    }
    text = inside("show", "me/m", home=tmp_path).ok().out
    assert f"stored    in {human_size(disk)}" in text
    assert "same as a.safetensors" in text
    assert human_size(disk) in inside("ls", home=tmp_path).ok().out.splitlines()[1]


def test_what_revisions_share_counts_once_in_the_total(tmp_path: Path, form: str) -> None:
    add(tmp_path, "me/one", {"a.safetensors": ZEROS, "x": b"1"}, "--form", form)
    add(tmp_path, "me/two", {"b.safetensors": ZEROS, "noise.bin": NOISE}, "--form", form)
    add(tmp_path, "me/two@v2", {"b.safetensors": ZEROS, "y": b"2"}, "--form", form)
    lines = inside("ls", "--json", home=tmp_path).ok().documents
    disk = contents(tmp_path)
    assert sum(line["own_bytes"] for line in lines) == disk
    assert sum(line["stored_bytes"] for line in lines) > disk
    for line in lines:
        target = f"{line['repo']}@{line['revision']}"
        assert line["stored_bytes"] == shown(tmp_path, target)["stored_bytes"]
    some = inside("ls", "me/two", "--json", home=tmp_path).ok().documents
    assert sum(line["own_bytes"] for line in some) < disk
    said = inside("ls", home=tmp_path).ok().err
    assert f", stored in {human_size(disk)}; the archive takes " in said
    assert "the archive takes" not in inside("ls", "me/*", home=tmp_path).ok().err


def test_the_archive_takes_what_du_says(tmp_path: Path, form: str) -> None:
    add(tmp_path, "me/m", FILES, "--form", form)
    archive = tmp_path / "archive"
    inside("gc", home=tmp_path).ok()
    for command in ("ls", "status"):
        call = inside(command, home=tmp_path).ok()
        said = re.findall(r"archive.* takes ([\d.]+ .?B)$", call.err + call.out, re.MULTILINE)
        assert said == [human_size(walk(archive))], command
    assert space_used(archive) == walk(archive)
    done = subprocess.run(["du", "-s", "-B1", archive], capture_output=True, text=True, check=False)
    if done.returncode == 0:  # not everywhere is GNU's
        assert space_used(archive) == int(done.stdout.split()[0])
    file = archive / "outlast.json"
    assert space_used(file) == file.stat().st_blocks * 512
    os.link(next(archive.glob("blobs/*/*")), archive / "twin")
    assert space_used(archive) == walk(archive)


def test_what_a_pull_says_at_its_end(tmp_path: Path) -> None:
    root = tmp_path / "hub"
    HubRepo(root, "org/m").commit(FILES)
    with HubSim(root, mode="thread") as hub:
        more = ["--from", hub.url, "--form", "capsule"]
        call = inside("pull", "org/m", *more, home=tmp_path).ok()
        said = call.err.splitlines()[-1]
        assert f"kept in {human_size(contents(tmp_path))}" in said
        again = inside("pull", "org/m", *more, "--json", home=tmp_path).ok().result
    assert again["held_bytes"] == contents(tmp_path)
    assert again["held_bytes"] == shown(tmp_path, "org/m")["stored_bytes"]


def test_a_draft_counts_as_a_revision_does(tmp_path: Path) -> None:
    root = tmp_path / "hub"
    HubRepo(root, "org/m").commit(FILES)
    with HubSim(root, mode="thread") as hub:
        hub.set_faults(
            [{"action": "status", "status": 404, "code": "EntryNotFound", "file": "README.md"}]
        )
        assert inside("pull", "org/m", "--from", hub.url, home=tmp_path).code == 3
    (line,) = inside("ls", "--json", home=tmp_path).ok().documents
    assert line["manifest"] is None
    assert line["stored_bytes"] == contents(tmp_path) > 0


def test_both_forms_of_a_blob_count(tmp_path: Path) -> None:
    """As after a crash amid a change of form: the disk holds both."""
    add(tmp_path, "me/m", {"a.safetensors": ZEROS}, "--form", "capsule")
    digest = Digest.of(ZEROS)
    with Archive(tmp_path / "archive") as archive:
        path = archive.layout.blob(digest)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(ZEROS)
    (line,) = inside("ls", "--json", home=tmp_path).ok().documents
    assert line["stored_bytes"] == contents(tmp_path) > len(ZEROS)
    assert shown(tmp_path, "me/m")["stored_bytes"] == contents(tmp_path)
