"""A world with three revisions and no statement; and the same with keys that are pinned."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from outlast.features.trust.keys.pins import PinRole
from outlast.store.archive import Archive
from tests.features.trust.world import OBSERVER, PUBLISHER, WITNESS, World


@pytest.fixture(scope="session")
def homes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folders of two archives that tests copy."""
    folder = tmp_path_factory.mktemp("homes")
    with Archive(folder / "bare", create=True) as archive:
        World.fill(archive)
    shutil.copytree(folder / "bare", folder / "pinned")
    with Archive(folder / "pinned") as archive:
        world = World.of(archive)
        world.pin(PUBLISHER)
        world.pin(OBSERVER, PinRole.OBSERVER, "*")
        world.pin(WITNESS, PinRole.OBSERVER, "org/name")
    return folder


@pytest.fixture
def world(homes: Path, tmp_path: Path) -> Iterator[World]:
    """Three revisions, and nothing said of them."""
    shutil.copytree(homes / "bare", tmp_path / "home")
    with Archive(tmp_path / "home") as archive:
        yield World.of(archive)


@pytest.fixture
def pinned(homes: Path, tmp_path: Path) -> Iterator[World]:
    """The same with a publisher and two observers pinned."""
    shutil.copytree(homes / "pinned", tmp_path / "home")
    with Archive(tmp_path / "home") as archive:
        yield World.of(archive)
