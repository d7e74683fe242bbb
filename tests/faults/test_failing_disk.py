"""Disks that are full, over quota, read-only or failing, from any change on: one line with a code
says so, nothing is lost, and the same command goes on once the disk is mended.
"""

import errno
import json
import os
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from random import Random

import pytest

from outlast.store.archive import Archive
from tests.campaign import LONG, SEED, rounds
from tests.cli.call import Call, until
from tests.faults.scene import (
    HELD,
    NEW,
    OPERATIONS,
    Place,
    check,
    check_again,
    check_held,
    copied,
)
from tests.faults.seam import CHANGES, GROWS, Controls, Kind, start
from tests.hubsim import HubSim
from tests.pull.kit import check_archive
from tests.warm.calls import finish, outlast

pytestmark = [pytest.mark.crash, pytest.mark.torture]

FAULTS: dict[str, tuple[int, tuple[Kind, ...]]] = {
    "full": (errno.ENOSPC, GROWS),
    "quota": (errno.EDQUOT, GROWS),
    "read-only": (errno.EROFS, CHANGES),
    "failing": (errno.EIO, (Kind.WRITE, Kind.SYNC, Kind.TRUNCATE)),
}
CASES = (
    [(name, fault) for name in OPERATIONS for fault in FAULTS]
    if LONG
    else [("pack", "quota"), ("gc", "read-only"), ("add", "failing"), ("mend by parity", "full")]
)
POINTS = rounds(1, 8)

Template = Callable[[str], Path]


def one_line(call: Call) -> None:
    """It failed, and its last line says why in a way that a program can read."""
    call.failed("storage", "disk-full")
    assert len([line for line in call.err.splitlines() if line.startswith("outlast:")]) == 1


@pytest.mark.parametrize(("name", "fault"), CASES)
def test_a_disk_that_fails(
    name: str, fault: str, template: Template, hub: HubSim, tmp_path: Path
) -> None:
    operation, random = OPERATIONS[name], Random(f"{SEED} {name} {fault}")
    number, kinds = FAULTS[fault]
    words = [*operation.words, "--json"]
    for point in range(POINTS):
        begin = 1 if point == 0 else random.randint(2, 120)
        place = copied(template(name), tmp_path / "home", hub.url)
        controls = Controls(tmp_path / "controls").fail(number, *kinds, begin=begin)
        call = finish(start(place.said(*words), place.home, controls))
        try:
            if call.code not in {0, operation.code}:
                one_line(call)
            elif point == 0 and not reads_only(name, fault):
                pytest.fail(f"it ended well: {call}")
            check(place, operation, call.out)
            check_again(place, operation)
        except BaseException as error:
            error.add_note(f"{name}, {fault} from change {begin} on")
            raise


def reads_only(name: str, fault: str) -> bool:
    """What needs no room, or writes nothing but a cache."""
    grows = fault in {"full", "quota"}
    return name in {"doctor --rebuild", "verify --quarantine"} or (
        grows and name in {"rm", "gc", "gc --now", "gc --undo", "link"}
    )


@contextmanager
def serving(place: Place, controls: Controls, *words: str) -> Iterator[str]:
    """`outlast serve` under these controls; its URL."""
    command = ["serve", "--listen", "127.0.0.1:0", "--no-swarm", "--json", *words]
    process = start(command, place.home, controls)
    try:
        said: dict[str, str] = {}
        while "url" not in said:
            line = process.stdout.readline()
            assert line, process.stderr.read().decode()
            said = json.loads(line)
        yield said["url"]
    finally:
        process.terminate()
        call = finish(process)
        assert "Traceback" not in call.err, call.err


def download(url: str, name: str, path: str) -> bytes | None:
    """A file, or None where the answer is an error or does not come whole."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"{url}/{name}/resolve/main/{path}", timeout=60) as answer:
            data: bytes = answer.read()
            return data if len(data) == int(answer.headers["Content-Length"]) else None
    except OSError:
        return None


def serves(url: str, path: str, data: bytes) -> bool:
    """Whether a file of org/new comes, whole and right."""
    return download(url, "org/new", path) == data


@pytest.mark.parametrize("fault", FAULTS if LONG else ["quota"])
def test_a_mirror_on_a_disk_that_fails(
    fault: str, template: Template, hub: HubSim, tmp_path: Path
) -> None:
    place = copied(template("pull"), tmp_path / "home", hub.url)
    controls = Controls(tmp_path / "controls")
    number, kinds = FAULTS[fault]
    with serving(place, controls, "--upstream", hub.url) as url:
        controls.fail(number, *kinds)
        for path in ("noise.bin", "text-1.txt"):
            assert download(url, "org/new", path) in {None, NEW[path]}
        for path, data in HELD["org/tuned"].items():
            assert download(url, "org/tuned", path) == data
        controls.mend()
        for path, data in NEW.items():
            until(partial(serves, url, path, data), f"{path} is served")
    check_archive(place.archive)
    with Archive(place.archive) as archive:
        check_held(archive, HELD)


@pytest.mark.skipif(not LONG, reason="make torture")
def test_a_server_whose_disk_cannot_be_read(
    template: Template, hub: HubSim, tmp_path: Path
) -> None:
    """No wrong byte leaves, and none is called damaged for ever."""
    place = copied(template("pull"), tmp_path / "home", hub.url)
    controls = Controls(tmp_path / "controls")
    with serving(place, controls) as url:
        controls.fail(errno.EIO, Kind.READ)
        for name, files in HELD.items():
            for path, data in files.items():
                assert download(url, name, path) in {None, data}
        controls.mend()
        for name, files in HELD.items():
            for path, data in files.items():
                assert download(url, name, path) == data, f"{name}/{path} after the disk came back"
    check_archive(place.archive)


@pytest.mark.skipif(not LONG, reason="watching waits between requests: make torture")
@pytest.mark.parametrize("fault", FAULTS)
def test_watching_on_a_disk_that_fails(
    fault: str, template: Template, hub: HubSim, tmp_path: Path
) -> None:
    number, kinds = FAULTS[fault]
    words = ["watch", "--once", "--now", "--from", hub.url]
    for begin in (1, 20, 60):
        place = copied(template("pull"), tmp_path / "home", hub.url)
        (place.archive / "watch").mkdir()
        (place.archive / "watch" / "follows.txt").write_text("org/new budget=1GB\n")
        controls = Controls(tmp_path / "controls").fail(number, *kinds, begin=begin)
        call = finish(start(words, place.home, controls))
        if call.code:
            one_line(call)
        check(place, OPERATIONS["pull"], "")
        outlast(*words, home=place.home).ok()
        with Archive(place.archive) as archive:
            check_held(archive, {**HELD, "org/new": NEW})


@pytest.mark.rootonly
def test_a_read_only_mount(template: Template, hub: HubSim, tmp_path: Path) -> None:
    """A real one: what is there is served, and the commands say what is wrong."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to mount a file system")
    mount = tmp_path / "disk"
    mount.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=160m,mode=755", "none", str(mount)]
    if subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("no file system can be mounted here")
    try:
        place = copied(template("pull"), mount / "home", hub.url)
        subprocess.run(["mount", "-o", "remount,ro", mount], check=True)
        for name in ("pull", "add", "rm", "pack", "gc --now") if LONG else ("pull",):
            one_line(outlast(*place.said(*OPERATIONS[name].words), home=place.home))
        with serving(place, Controls(tmp_path / "controls")) as url:
            assert download(url, "org/base", "config.json") == HELD["org/base"]["config.json"]
        subprocess.run(["mount", "-o", "remount,rw", mount], check=True)
        check(place, OPERATIONS["pull"], "")
        check_again(place, OPERATIONS["pull"])
    finally:
        subprocess.run(["umount", "-l", mount], check=True)
