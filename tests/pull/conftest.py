"""A hub with one model, an empty archive, and retries that do not dawdle."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hubsim import HubRepo, HubSim
from tests.pull.kit import FILES, Puller
from tests.warm.calls import end_all


@pytest.fixture(scope="session")
def made_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a hub, to be read and copied; what says what a repo has names its bytes by
    their absolute path.
    """
    root = tmp_path_factory.mktemp("made") / "hub"
    HubRepo(root, "org/name").commit(FILES, tags=["v1.0"])
    return root


@pytest.fixture
def root(tmp_path: Path, made_root: Path) -> Path:
    """The same for one test, which may change it; the bytes stay where they are."""
    ignored = shutil.ignore_patterns("*.pack")
    return Path(shutil.copytree(made_root, tmp_path / "hub", ignore=ignored))


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
