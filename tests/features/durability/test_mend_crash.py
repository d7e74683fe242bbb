"""Mending that is killed, or runs twice at once, or finds the disk full: the archive is as it was,
or whole, and never anything between.
"""

import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random

import pytest

from outlast.core.digest import Digest
from outlast.core.errors import DamagedError
from outlast.store.archive import Archive
from tests.campaign import SEED, rounds
from tests.hubsim import HubRepo, HubSim
from tests.pull.kit import BIG, FILES, MIB, check_pulled, contents, sent
from tests.rot import damage, file_of
from tests.warm.calls import end_all, finish, outlast, start

KILLS = rounds(1, 60)
OTHERS = {path: data for path, data in FILES.items() if path != BIG}


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HubSim]:
    HubRepo(tmp_path / "hub", "org/name").commit(FILES)
    with HubSim(tmp_path / "hub", mode="thread") as sim:
        yield sim
    end_all()


@pytest.fixture
def home(hub: HubSim, tmp_path: Path) -> Path:
    outlast("pull", "org/name", "--from", hub.url, "-q", home=tmp_path).ok()
    damage(file_of(tmp_path / "archive", FILES[BIG]), 0.2, 0.7)
    hub.clear_log()
    return tmp_path


def env(hub: HubSim) -> dict[str, str]:
    return {"HF_ENDPOINT": hub.url}


def read(home: Path, data: bytes) -> bytes | None:
    """A blob as it is read; None where it is refused."""
    with Archive(home / "archive") as archive:
        try:
            with archive.open(Digest.of(data)) as file:
                return file.read()
        except DamagedError:
            return None


@pytest.mark.torture
def test_mending_that_is_killed_is_done_by_the_next(home: Path, hub: HubSim) -> None:
    chance, count = Random(SEED), home / "count"
    finish(start("scrub", home=home, env=env(hub), doom=["0", "before", str(count)])).ok()
    changes = int(count.read_text())
    path = file_of(home / "archive", FILES[BIG])
    for number in range(KILLS):
        damage(path, chance.random(), chance.random())
        step = 1 + int(changes * (number + chance.random()) / KILLS)
        doom = [str(step), chance.choice(["before", "torn", "after"]), str(count)]
        call = finish(start("scrub", home=home, env=env(hub), doom=doom))
        assert call.code in {-signal.SIGKILL, 0}
        assert read(home, FILES[BIG]) in {None, FILES[BIG]}
        assert all(read(home, data) == data for data in OTHERS.values())
        outlast("scrub", home=home, env=env(hub)).ok()
        check_pulled(home / "archive")
        outlast("gc", "--now", "-q", home=home).ok()
        assert contents(home / "archive") == FILES
    assert list((home / "archive" / "partial").iterdir()) == []


def test_two_processes_mend_at_once(home: Path, hub: HubSim) -> None:
    """One by scrubbing, one by pulling: the pieces come once."""
    with ThreadPoolExecutor(2) as pool:
        assert outlast("verify", home=home).code == 4
        calls = [
            pool.submit(outlast, *words, home=home, env=env(hub))
            for words in (("scrub",), ("pull", "org/name", "--from", hub.url))
        ]
        for call in calls:
            call.result().ok()
    check_pulled(home / "archive")
    assert sent(hub) == 2 * MIB
