"""A hub that answers so slowly that a pass over it takes a day keeps no other hub waiting."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from outlast.features.watch.watch import watch_once
from outlast.sources.http import HttpClient
from outlast.sources.hub_watch import HubWatch
from outlast.sources.settings import HttpSettings
from tests.features.watch.world import World
from tests.hubsim import HubRepo, HubSim

MODELS = 12
ANSWER = 900.0
"""Seconds."""


class SlowHub(HubWatch):
    """Each of its answers takes a quarter of an hour."""

    world: World

    def _get(self, *args: Any, **more: Any) -> Any:
        self.world.now += ANSWER
        return super()._get(*args, **more)


def test_the_rest_comes_in_the_next_pass(world: World, tmp_path: Path) -> None:
    names = [f"a{number}/model" for number in range(MODELS)]
    (tmp_path / "slow").mkdir()
    for name in names:
        HubRepo(tmp_path / "slow", name).commit({"config.json": b"{}"})
    world.follows = "org/name\n" + "".join(f"{name}\n" for name in names)
    with HubSim(tmp_path / "slow", mode="thread") as sim, HttpClient(HttpSettings()) as http:
        slow = SlowHub(http, sim.url)
        slow.world = world
        watcher = replace(world.watcher(), hubs=[slow, world.watch])
        asked = []
        for _ in range(6):
            before = slow.requests
            watch_once(watcher)
            asked.append(slow.requests - before)
        assert asked[0] <= 5
        assert world.requests() > 0
        seen = [world.memory.model(slow.name, world.model(name)) for name in names]
        assert all(state is not None and state.seen is not None for state in seen)
        alone = replace(world.watcher(), hubs=[slow])
        world.now += 10 * 86400
        before = slow.requests
        watch_once(alone)
        assert slow.requests - before >= MODELS
