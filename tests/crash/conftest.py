"""The world is built once a worker, and copied for every test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.crash.world import World, build, fresh
from tests.hubsim import HubSim
from tests.warm.calls import end_all


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("world")
    build(root)
    return root


@pytest.fixture(scope="session")
def shared_hub(template: Path) -> Iterator[HubSim]:
    with HubSim(template / "hub", mode="thread") as hub:
        yield hub


@pytest.fixture
def world(template: Path, shared_hub: HubSim, tmp_path: Path) -> World:
    return fresh(template, tmp_path / "home", shared_hub)


@pytest.fixture(autouse=True)
def _no_process_stays() -> Iterator[None]:
    yield
    end_all()
