"""A hub with one model, an empty archive, and retries that do not dawdle."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hubsim import HubRepo, HubSim
from tests.pull.kit import FILES, Puller
from tests.warm.calls import end_all


@pytest.fixture
def root(tmp_path: Path) -> Path:
    HubRepo(tmp_path / "hub", "org/name").commit(FILES, tags=["v1.0"])
    return tmp_path / "hub"


@pytest.fixture
def hub(root: Path) -> Iterator[HubSim]:
    with HubSim(root, mode="thread", token="hf_right", limited_token="hf_limited") as sim:
        yield sim


@pytest.fixture
def pull(tmp_path: Path) -> Puller:
    return Puller(tmp_path / "home" / "archive")


@pytest.fixture(autouse=True)
def _no_process_stays() -> Iterator[None]:
    yield
    end_all()
