"""Disks that are full, or fill up on the way: one line, exit status 8, nothing lost; and it works
once there is room.
"""

import os
import shutil
import signal
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from tests.campaign import LONG
from tests.cli.call import Call, until
from tests.crash.test_two import mirror
from tests.crash.world import BASE, CACHED, FOLDER, NEW, World, fresh
from tests.hubsim import HubRepo, HubSim
from tests.noise import noise
from tests.pull.kit import MIB, check_archive, contents, sent, tree
from tests.rot import damage, file_of
from tests.warm.calls import finish, outlast, start

pytestmark = [pytest.mark.crash, pytest.mark.rootonly]

SIZE = 176 * MIB
"""Of the small disk: the plan of a pull asks for 64 MiB more than its bytes."""
LARGE = noise(6, 48 * MIB)


@dataclass(frozen=True, slots=True)
class Disk:
    """A small disk of its own; `eat` leaves so many bytes free, `free` gives them back."""

    folder: Path

    @property
    def room(self) -> int:
        stats = os.statvfs(self.folder)
        return stats.f_bavail * stats.f_frsize

    def eat(self, leave: int = 0) -> None:
        with open(self.folder / "eaten", "wb") as file:
            for _ in range(100):  # other processes may write there too
                size, room = os.fstat(file.fileno()).st_size, self.room - leave
                if room <= 0:
                    break
                with suppress(OSError):
                    os.posix_fallocate(file.fileno(), 0, size + room)
        if leave == 0:
            with suppress(OSError), open(self.folder / "crumbs", "wb", buffering=0) as file:
                while file.write(bytes(512)):
                    pass

    def free(self) -> None:
        for name in ("eaten", "crumbs"):
            (self.folder / name).unlink(missing_ok=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    folder = tmp_path / "disk"
    folder.mkdir()
    options = f"size={SIZE},mode=755"
    if os.geteuid() != 0:
        pytest.skip("needs root, to mount a small disk")
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "none", str(folder)],
        capture_output=True,
        check=False,
    )
    if done.returncode != 0:
        pytest.skip(f"cannot mount a small disk here: {done.stderr.decode().strip()}")
    try:
        yield Disk(folder)
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


@pytest.fixture
def full(template: Path, shared_hub: HubSim, disk: Disk) -> World:
    """The world, on the small disk."""
    return fresh(template, disk.folder / "home", shared_hub)


Command = Callable[[World], Call]


def run_pull(world: World) -> Call:
    return outlast("pull", "org/new", "--from", world.hub.url, home=world.home)


def run_add(world: World) -> Call:
    return outlast("add", world.home / "folder", "--as", "me/mine", home=world.home)


def run_adopt(world: World) -> Call:
    return outlast("adopt", world.cache, "--copy", home=world.home)


def run_link(world: World) -> Call:
    return outlast("link", "org/base", home=world.home)


WRITING: dict[str, Command] = {
    "pull": run_pull,
    "add": run_add,
    "adopt": run_adopt,
    "link": run_link,
}


@pytest.mark.torture
@pytest.mark.parametrize("leave", [0, 5000, 200_000, MIB] if LONG else [0, 200_000])
@pytest.mark.parametrize("command", WRITING)
def test_a_full_disk(full: World, disk: Disk, command: str, leave: int) -> None:
    disk.eat(leave)
    call = WRITING[command](full)
    if call.code == 0 and leave and command == "link":
        return  # links take hardly any room
    call.failed("disk-full")
    assert len([line for line in call.err.splitlines() if line.startswith("outlast")]) == 1
    full.check_past()
    disk.free()
    WRITING[command](full).ok()
    full.check_past()
    expected = {
        "pull": ("org/new", NEW),
        "add": ("me/mine", FOLDER),
        "adopt": ("org/cached", CACHED),
    }
    if command in expected:
        name, files = expected[command]
        assert contents(full.archive, name) == files


@pytest.mark.parametrize("command", WRITING)
def test_a_disk_with_room_for_no_more_files(full: World, disk: Disk, command: str) -> None:
    def allow(files: int) -> None:
        options = f"remount,nr_inodes={files}"
        subprocess.run(["mount", "-o", options, disk.folder], check=True)

    stats = os.statvfs(disk.folder)
    allow(stats.f_files - stats.f_ffree + 3)
    WRITING[command](full).failed("disk-full")
    full.check_past()
    allow(stats.f_files)
    WRITING[command](full).ok()
    full.check_past()


@pytest.mark.parametrize(
    "arguments",
    [["ls"], ["ls", "--json"], ["show", "org/base"], ["verify"], ["gc", "--dry-run"]],
    ids=" ".join,
)
def test_reading_works_on_a_full_disk(full: World, disk: Disk, arguments: list[str]) -> None:
    disk.eat()
    outlast(*arguments, home=full.home).ok()
    disk.free()
    full.check_past()


def test_reading_works_without_an_index(full: World, disk: Disk) -> None:
    for path in full.archive.glob("index.sqlite*"):
        path.unlink()
    disk.eat()
    call = outlast("ls", home=full.home)
    if call.code != 0:
        call.failed("disk-full", "storage")
    disk.free()
    assert "org/base" in outlast("ls", home=full.home).ok().out
    full.check_past()


def test_room_can_be_made_on_a_full_disk(full: World, disk: Disk) -> None:
    disk.eat()
    before = disk.room
    outlast("rm", "org/old", home=full.home).ok()
    outlast("gc", "--now", home=full.home).ok()
    assert disk.room > before + 2 * MIB - 64 * 1024
    full.check_past()
    disk.free()
    full.check_past()
    full.check_swept()


def test_the_doctor_comes_to_a_full_disk(full: World, disk: Disk) -> None:
    disk.eat()
    call = outlast("doctor", home=full.home)
    assert call.code in {0, 1}
    assert "Traceback" not in call.err
    assert "room" in call.out
    disk.free()
    outlast("doctor", home=full.home).ok()


def test_a_pull_that_cannot_fit_does_not_begin(full: World, disk: Disk) -> None:
    disk.eat(leave=64 * MIB + 30 * MIB)
    call = run_pull(full)
    assert "MB more, and" in call.failed("disk-full")
    assert sum(full.sent().values()) == 0
    dry = outlast("pull", "org/new", "--from", full.hub.url, "--dry-run", home=full.home).ok()
    assert "does NOT fit" in dry.out


def test_a_full_disk_ends_a_list(full: World, disk: Disk) -> None:
    """No model that follows is tried; and what was to be removed stays."""
    (full.home / "models.txt").write_text("org/new\norg/base\n")
    arguments = ("sync", "-f", full.home / "models.txt", "--from", full.hub.url, "--remove")
    disk.eat()
    call = outlast(*arguments, "--json", home=full.home)
    assert call.code == 8
    lines = {document["repo"]: document for document in call.of_type("kept")}
    assert lines["org/new"]["error"]["code"] == "disk-full"
    assert lines["org/base"]["state"] == "skipped"
    assert call.result["removed"] == 0
    full.check_past()
    disk.free()
    call = outlast(*arguments[:-1], "--json", home=full.home).ok()
    assert {document["repo"]: document["state"] for document in call.of_type("kept")} == {
        "org/new": "new",
        "org/base": "unchanged",
    }
    full.check_past()


@pytest.mark.parametrize("room", [9 * MIB, 22 * MIB + 100_000, 0])
def test_a_disk_that_fills_while_a_pull_runs(full: World, disk: Disk, room: int) -> None:
    HubRepo(full.hub.root, "org/filling").commit({"large.bin": LARGE, "config.json": b"{}"})
    full.hub.set_faults([{"action": "slow", "rate": 6 * MIB, "file": "large.bin"}])
    arguments = ("pull", "org/filling", "--from", full.hub.url)
    process = start(*arguments, home=full.home)
    until(lambda: sent(full.hub, "large.bin") > 6 * MIB, "the pull is under way")
    disk.eat(leave=room)
    finish(process).failed("disk-full")
    full.check_past()
    full.hub.set_faults([])
    before = sent(full.hub, "large.bin")
    disk.free()
    outlast(*arguments, home=full.home).ok()
    full.check_past()
    assert contents(full.archive, "org/filling") == {"large.bin": LARGE, "config.json": b"{}"}
    until(lambda: all(entry.done for entry in full.hub.requests()), "the hub is idle")
    assert sent(full.hub, "large.bin") <= len(LARGE) + 17 * MIB
    assert before > 0


@pytest.mark.parametrize("command", ["add", "adopt"])
def test_a_disk_that_fills_while_files_are_copied(
    full: World, disk: Disk, command: str, tmp_path: Path
) -> None:
    folder = tmp_path / "elsewhere"
    shutil.move(full.home / "folder", folder)
    shutil.move(full.cache, tmp_path / "cache")
    (folder / "large.bin").write_bytes(LARGE)
    blobs = tmp_path / "cache" / "models--org--cached" / "blobs"
    inside = tree(blobs)
    arguments = {
        "add": ("add", folder, "--as", "me/mine"),
        "adopt": ("adopt", tmp_path / "cache"),
    }[command]
    process = start(*arguments, home=full.home)
    until(
        lambda: process.poll() is not None or list(full.archive.glob("tmp/*/*.tmp")),
        "a file is being copied",
    )
    process.send_signal(signal.SIGSTOP)
    disk.eat()
    process.send_signal(signal.SIGCONT)
    finish(process).failed("disk-full")
    full.check_past()
    assert tree(blobs) == inside
    disk.free()
    outlast(*arguments, home=full.home).ok()
    full.check_past()
    outlast("gc", home=full.home).ok()
    full.check_swept()


def test_parity_on_a_full_disk(disk: Disk, tmp_path: Path) -> None:
    """None is written, and nothing is mended from it, until there is room; and nothing is lost."""
    home, data = disk.folder, LARGE[: 20 * MIB]
    (tmp_path / "file.bin").write_bytes(data)
    outlast("add", tmp_path / "file.bin", "--as", "me/file", home=home).ok()
    settings = home / "config" / "outlast" / "config.toml"
    settings.parent.mkdir(parents=True)
    settings.write_text('[durability]\nparity = "2%"\n')
    disk.eat(leave=32 * MIB)
    call = outlast("scrub", home=home).ok()
    assert "no room for parity" in call.err
    assert "1 file without parity" in call.out
    disk.free()
    assert "parity written (1 file" in outlast("scrub", home=home).ok().out
    path = file_of(home / "archive", data)
    damage(path, 0.3, 0.8)
    rotten = path.read_bytes()
    disk.eat(leave=32 * MIB)
    call = outlast("scrub", "--json", home=home)
    assert call.code == 4
    (found,) = call.result["found"]
    assert "no room to mend" in found["why_not"]
    assert path.read_bytes() == rotten
    disk.free()
    outlast("scrub", home=home).ok()
    assert contents(home / "archive", "me/file") == {"file.bin": data}


def test_links_into_a_full_disk(world: World, disk: Disk) -> None:
    disk.eat()
    folder = disk.folder / "cache"
    outlast("link", "org/base", "--cache", folder, home=world.home).failed("disk-full")
    world.check_past()
    disk.free()
    outlast("link", "org/base", "--cache", folder, home=world.home).ok()
    (snapshot,) = folder.glob("models--org--base/snapshots/*")
    assert {path: (snapshot / path).read_bytes() for path in BASE} == BASE


def test_a_mirror_on_a_full_disk(full: World, disk: Disk) -> None:
    with mirror(full) as url:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

        def ask(path: str, repo: str = "org/new") -> bytes | None:
            """A file, or None where the answer is an error or does not come whole."""
            try:
                with opener.open(f"{url}/{repo}/resolve/main/{path}", timeout=60) as answer:
                    data: bytes = answer.read()
                    return data if len(data) == int(answer.headers["Content-Length"]) else None
            except (OSError, urllib.error.HTTPError):
                return None

        def serves(path: str) -> bool:
            return ask(path) == NEW[path]

        disk.eat()
        for path in ("model-1.safetensors", "small.bin", "text-1.txt"):
            assert ask(path) in {None, NEW[path]}
        assert ask("config.json", "org/base") == BASE["config.json"]
        full.check_past()
        disk.free()
        for path in ("model-1.safetensors", "small.bin", "text-1.txt"):
            until(partial(serves, path), f"{path} is served again")
    full.check_past()


def test_the_very_first_write(disk: Disk, shared_hub: HubSim, tmp_path: Path) -> None:
    disk.eat()
    archive = disk.folder / "new"
    commands = (("pull", "org/new", "--from", shared_hub.url), ("add", __file__, "--as", "me/x"))
    for arguments in commands:
        call = outlast(*arguments, "--home", archive, home=tmp_path)
        call.failed("disk-full")
    disk.free()
    for arguments in commands:
        outlast(*arguments, "--home", archive, home=tmp_path).ok()
    check_archive(archive)
    assert contents(archive, "org/new") == NEW
