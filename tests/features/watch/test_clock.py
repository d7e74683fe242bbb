"""A clock that is ten years wrong for a while: watching goes on once it is right, either way."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from outlast.features.watch.polls.schedule import HubHealth
from tests.features.watch.world import DAY, World, open_world

YEARS = 10 * 365 * DAY


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with open_world(tmp_path) as made:
        yield made


@pytest.mark.parametrize("jump", [YEARS, -YEARS])
def test_a_clock_that_was_wrong_for_a_while(world: World, jump: float) -> None:
    """What goes afterwards is noticed on the next day."""
    for _ in range(2):
        assert world.poll() == []
    assert world.poll(jump) == []
    assert world.poll() == []
    world.now -= jump
    world.repo().delete()
    assert world.kinds() == ["deleted"]


@pytest.mark.parametrize("jump", [YEARS, -YEARS])
def test_a_hub_that_was_dark_meanwhile(world: World, jump: float) -> None:
    """It is asked again, and counts as back within a day."""
    for _ in range(2):
        assert world.poll() == []
    world.hub.set_faults([{"action": "status", "status": 503}])
    assert world.kinds(jump) == ["hub-dark"]
    world.hub.set_faults([])
    world.now -= jump
    world.repo().delete()
    assert "deleted" in world.kinds() + world.kinds()


def test_a_hub_that_asked_for_patience() -> None:
    """It is left alone for that long, and not for the ten years that a clock was ahead."""
    now = 1.9e9
    resting = HubHealth().resting(now + 3600)
    assert resting.rests(now)
    assert not resting.rests(now + 3600)
    assert not resting.rests(now - YEARS)
