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


def kill_after(command: list[str], env: dict[str, str], home: Path, checkpoints: int) -> bool:
    """Starts a training and kills it once it wrote so many checkpoints; false where it was done
    before.
    """
    process = subprocess.Popen(
        command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    for _ in range(checkpoints):
        last = stamp(home)
        until(partial(moved_on, home, last, process), "a checkpoint")
    os.kill(process.pid, signal.SIGKILL)
    return process.wait() == -signal.SIGKILL


def sums(home: Path, name: str) -> dict[str, str]:
    """The digests of a model's files, but of the text that has its name."""
    shown = json.loads(inside("show", name, "--json", home=home).out)
    return {f["path"]: f["sha256"] for f in shown["files"] if f["path"] != "README.md"}


def test_killed_anywhere(home: Path, facts: Path, packages: str) -> None:
    """Twenty times in all, whatever the machine's pace: where a training was done before it could
    be killed so often, another one is begun.
    """
    command = ("tune", NAME, "--data", str(facts), *FAST, "--json", "--out")
    inside(*command, "me/whole", home=home).ok()
    whole = sums(home, "me/whole")
    chance = random.Random(SEED)
    env = environment(home, **({"PYTHONPATH": packages} if packages else {}))
    kills, trainings = 0, 0
    while kills < KILLS:
        trainings += 1
        name = f"me/killed-{trainings}"
        while kills < KILLS:
            if not kill_after([*COMMAND, *command, name], env, home, chance.randrange(1, 4)):
                break  # it was done before
            kills += 1
        said = inside(*command, name, home=home).ok().result
        assert said["steps"] == 12 * 6
        assert sums(home, name) == whole
        assert not list(checkpoints(home))
    print(f"{kills} kills in {trainings} trainings")
    assert kills == KILLS
