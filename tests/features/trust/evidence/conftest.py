"""A home whose archive pulled a model from a hub, and a timestamp authority."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.call import inside
from tests.features.trust.evidence.authority import Authority, listening, make_authority
from tests.hubsim import HubRepo, HubSim

FILES = {
    "LICENSE": b"Take it.",
    "README.md": b"---\nlicense: mit\n---\n",
    "config.json": b"{}",
    "weights.bin.md": b"w" * 1000,
}


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return make_authority(tmp_path_factory.mktemp("tsa") / "one")


@pytest.fixture
def authority(made: Authority) -> Iterator[Authority]:
    made.asked, made.status = 0, 200
    with listening(made) as authority:
        yield authority


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HubSim]:
    root = tmp_path / "hub"
    HubRepo(root, "org/m").commit(FILES)
    with HubSim(root, mode="thread") as hub:
        yield hub


@pytest.fixture
def home(tmp_path: Path, hub: HubSim) -> Path:
    inside("pull", "org/m", "--from", hub.url, home=tmp_path).ok()
    return tmp_path
