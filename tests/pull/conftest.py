"""A hub with one model, an empty archive, and retries that do not dawdle."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from outlast.fetch import download, source_state
from tests.cli.call import end_all
from tests.hubsim import HubRepo, HubSim
from tests.pull.kit import FILES, Puller


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Our own waits are short; what a server asks for is granted in full."""
    monkeypatch.setattr(source_state, "_FIRST_WAIT", 0.02)
    monkeypatch.setattr(download, "_HEDGE_AFTER", 0.5)


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
