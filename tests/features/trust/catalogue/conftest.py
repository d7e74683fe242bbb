"""A catalogue and a follower for each test; the disk is not waited for, but where that is tested."""

from pathlib import Path

import pytest

from outlast.store import disk
from tests.features.trust.catalogue.shelf import Shelf


@pytest.fixture(autouse=True)
def _quick_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """No power is cut here; a process that is killed leaves what it wrote."""
    monkeypatch.setattr(disk, "fsync", lambda _: None)
    monkeypatch.setattr(disk, "fsync_dir", lambda _: None)


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    """An operator's catalogue that lists nothing yet."""
    shelf = Shelf(tmp_path / "operator")
    shelf.init()
    return shelf


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """The folder of a follower's archive."""
    home = tmp_path / "follower"
    home.mkdir()
    return home
