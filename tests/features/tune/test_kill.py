"""A training that is killed goes on from its last checkpoint, and makes the same bytes."""

import json
import os
import random
import signal
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from outlast.core.names import RepoId
from outlast.store.archive import Archive
from tests.campaign import LONG, SEED
from tests.cli.call import COMMAND, environment, inside, until
from tests.features.tune.conftest import NAME

KILLS = 20
FAST = ("--rank", "2", "--threads", "1", "--batch", "1", "--epochs", "12", "--checkpoint", "0")

pytestmark = [
    pytest.mark.torture,
    pytest.mark.skipif(not LONG, reason="`make torture`: each kill starts torch anew"),
]


def checkpoints(home: Path) -> Iterator[Path]:
    yield from (home / "archive" / "tuning").glob("*/checkpoint")


def stamp(home: Path) -> int:
    """Changes with each checkpoint."""
    return sum(path.stat().st_ino for path in checkpoints(home))


def moved_on(home: Path, last: int, process: "subprocess.Popen[bytes]") -> bool:
    """Whether there is a new checkpoint, or no more will come."""
    return stamp(home) != last or process.poll() is not None


def manifest(home: Path, name: str) -> str:
    with Archive(home / "archive") as archive:
        return archive.revision(RepoId.parse(name)).digest.hex


def test_killed_anywhere(home: Path, facts: Path, packages: str) -> None:
    command = ("tune", NAME, "--data", str(facts), *FAST, "--json", "--out")
    inside(*command, "me/whole", home=home).ok()
    chance = random.Random(SEED)
    env = environment(home, **({"PYTHONPATH": packages} if packages else {}))
    killed = 0
    while killed < KILLS:
        process = subprocess.Popen(
            [*COMMAND, *command, "me/killed"],
            env=env,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for _ in range(chance.randrange(1, 4)):
            last = stamp(home)
            until(partial(moved_on, home, last, process), "a checkpoint")
        os.kill(process.pid, signal.SIGKILL)
        if process.wait() != -signal.SIGKILL:
            break  # it was done before
        killed += 1
    said = inside(*command, "me/killed", home=home).ok().result
    files = [
        json.loads(inside("show", n, "--json", home=home).out) for n in ("me/whole", "me/killed")
    ]
    sums = [
        {f["path"]: f["sha256"] for f in shown["files"] if f["path"] != "README.md"}
        for shown in files
    ]
    assert sums[0] == sums[1]
    assert killed > 0
    assert said["steps"] == 12 * 6
    assert not list(checkpoints(home))
