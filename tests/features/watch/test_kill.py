"""``kill -9`` while hubs are looked at: no alert is lost, and none comes twice but the one that was
being sent.
"""

import json
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from outlast.features.watch.memory import Memory
from tests.campaign import SEED, rounds
from tests.cli.call import environment
from tests.features.watch.doomed import STEPS, TOLD
from tests.features.watch.world import DAY, FILES, START, TOKEN
from tests.hubsim import HubRepo, HubSim
from tests.warm import Order, start
from tests.warm.calls import finish

pytestmark = [pytest.mark.crash, pytest.mark.torture]

KILLS = rounds(3, 100)
EXPECTED = {
    ("deleted", "org/name"),
    ("moved", "acme/one"),
    ("files-dropped", "acme/one"),
    ("gated", "acme/two"),
    ("new-ref", "acme/two"),
    ("appeared", "acme/three"),
}


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HubSim]:
    for name in ("org/name", "acme/one", "acme/two"):
        HubRepo(tmp_path / "hub", name).commit(FILES)
    with HubSim(tmp_path / "hub", mode="thread", token=TOKEN) as sim:
        yield sim


def look(folder: Path, hub: HubSim, now: float, number: int = 0) -> int:
    """Looks once in a process of its own, which dies at that step; its exit status."""
    given = (str(folder), hub.url, str(now), str(number))
    order = Order([], environment(folder), run="tests.features.watch.doomed:look", given=given)
    return finish(start(order)).code


def told(folder: Path) -> list[tuple[str, str]]:
    lines = (folder / TOLD).read_text().splitlines()
    return [(one["kind"], one.get("repo", "")) for one in map(json.loads, lines)]


def happen(hub: HubSim) -> None:
    HubRepo(hub.root, "org/name").delete()
    HubRepo(hub.root, "acme/one").commit({"a.txt": b"a"}, delete=["LICENSE"])
    two = HubRepo(hub.root, "acme/two", gated="auto")
    two.set_ref("dev", two.head.sha)
    HubRepo(hub.root, "acme/three").commit(FILES)


def test_killed_anywhere(hub: HubSim, tmp_path: Path) -> None:
    before = tmp_path / "before"
    before.mkdir()
    for day in range(2):
        assert look(before, hub, START + day * DAY) == 0
    assert not (before / TOLD).exists()
    happen(hub)
    now = START + 2 * DAY
    whole = tmp_path / "whole"
    shutil.copytree(before, whole)
    assert look(whole, hub, now) == 0
    assert Counter(told(whole)) == Counter(EXPECTED | {("relicensed", "acme/one")})
    steps = int((whole / STEPS).read_text())
    random = Random(SEED)
    for point in sorted(random.sample(range(1, steps + 1), min(KILLS, steps))):
        _check(before, tmp_path / f"at-{point}", hub, now, point)


def _check(before: Path, folder: Path, hub: HubSim, now: float, point: int) -> None:
    """What one death at a point costs."""
    shutil.copytree(before, folder)
    assert look(folder, hub, now, point) == -9
    killed = told(folder) if (folder / TOLD).exists() else []
    for more in (DAY, 2 * DAY):
        assert look(folder, hub, now + more) == 0
    every = Counter(told(folder))
    expected = EXPECTED | {("relicensed", "acme/one")}
    assert set(every) == expected, f"killed at step {point}"
    again = [one for one, count in every.items() if count > 1]
    # Only what left in the message that was under way may have left again.
    assert set(again) <= set(killed)
    assert max(every.values()) <= 2
    with Memory.open(folder / "archive") as memory:
        assert memory.note == ""
        history = [(str(one.kind), str(one.repo)) for one in memory.history(None, None)]
        assert Counter(history) == Counter(expected)
        assert [*memory.pending("file")] == []
    shutil.rmtree(folder)
