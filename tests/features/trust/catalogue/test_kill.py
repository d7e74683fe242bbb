"""kill -9 while it is published or synced: what there was before, or the next, always whole."""

import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from outlast.features.trust.catalogue.making.own import read_own
from outlast.features.trust.catalogue.using.opened import OpenCatalogues
from tests.campaign import rounds
from tests.features.trust.catalogue.shelf import NOW, Shelf, entry, sync_it

ROOT = Path(__file__).parents[4]
KILLS = rounds(2, 40)


def kill_after(work: str, *folders: Path, lines: int, seconds: float) -> int:
    """Starts the work, and kills it so many seconds after it wrote that many lines; how many lines
    it wrote in all.
    """
    command = [sys.executable, "-m", "tests.features.trust.catalogue.killed", work]
    process = subprocess.Popen([*command, *map(str, folders)], cwd=ROOT, stdout=subprocess.PIPE)
    assert process.stdout is not None
    with process.stdout:
        for _ in range(lines):
            process.stdout.readline()
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
        written = lines + len(process.stdout.read().splitlines())
    process.wait()
    return written


@pytest.mark.torture
def test_kill_while_it_is_published(shelf: Shelf, followed: Path) -> None:
    rng = random.Random(7)
    count = 1
    for _ in range(KILLS):
        kill_after("publish", shelf.root, lines=1, seconds=rng.random() * 0.3)
        own = read_own(shelf.folder, NOW)
        done = sync_it(followed, shelf)
        assert done.entries == len(own.entries()) >= count
        count = done.entries
        shelf.publish()  # what was staged when it was killed


@pytest.mark.torture
def test_kill_while_it_syncs(shelf: Shelf, followed: Path, tmp_path: Path) -> None:
    rng = random.Random(7)
    states = []
    for number in range(6):
        shelf.publish(*[entry(f"c{number}/m{n}") for n in range(200)])
        states.append(Path(shutil.copytree(shelf.folder, tmp_path / f"state-{number}")))
    for _ in range(KILLS):
        home = Path(shutil.copytree(followed, tmp_path / "home"))
        lines = rng.randrange(len(states) - 1)
        done = kill_after("sync", home, *states, lines=lines, seconds=rng.random() * 0.2)
        (opened,) = OpenCatalogues(home, clock=lambda: NOW).each()
        found = len(list(opened.all()))
        assert found in {1 + 200 * done, 1 + 200 * min(done + 1, len(states))}
        assert sync_it(home, shelf).entries == 1201
        shutil.rmtree(home)
