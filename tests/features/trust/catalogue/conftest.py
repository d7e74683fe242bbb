"""A catalogue and a follower for each test. No test waits for the disk."""

import shutil
from pathlib import Path

import pytest

from outlast.store import disk
from tests.features.trust.catalogue.shelf import Shelf, entry, follow_it, sync_it


@pytest.fixture(autouse=True)
def _quick_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """No power is cut here; a process that is killed leaves what it wrote."""
    monkeypatch.setattr(disk, "fsync", lambda _: None)
    monkeypatch.setattr(disk, "fsync_dir", lambda _: None)


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What all tests begin with, made once: a new catalogue (``new``), and one with an entry
    (``operator``) that a follower has synced (``follower``).
    """
    root = tmp_path_factory.mktemp("made")
    shelf = Shelf(root / "operator")
    shelf.init()
    shutil.copytree(shelf.root, root / "new")
    shelf.publish(entry("a/b"))
    follow_it(root / "follower", shelf)
    sync_it(root / "follower", shelf)
    return root


@pytest.fixture
def shelf(made: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Shelf:
    """An operator's catalogue: with one entry if the test has a follower, else with none."""
    name = "operator" if "followed" in request.fixturenames else "new"
    return Shelf(Path(shutil.copytree(made / name, tmp_path / "operator")))


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """The folder of a follower's archive."""
    home = tmp_path / "follower"
    home.mkdir(exist_ok=True)
    return home


@pytest.fixture
def followed(made: Path, shelf: Shelf, home: Path) -> Path:
    """A follower that has synced the one entry ``a/b`` of the shelf."""
    assert shelf.folder.exists()
    return Path(shutil.copytree(made / "follower", home, dirs_exist_ok=True))
