"""An archive with something to export, and an empty one across the gap."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from outlast.store.archive import Archive
from tests.features.bundle.world import fill


@pytest.fixture(scope="session")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an archive that tests copy."""
    folder = tmp_path_factory.mktemp("filled")
    with Archive(folder / "archive", create=True) as archive:
        fill(archive, folder / "folders")
    return folder / "archive"


@pytest.fixture
def archive(filled: Path, tmp_path: Path) -> Iterator[Archive]:
    shutil.copytree(filled, tmp_path / "here")
    with Archive(tmp_path / "here") as archive:
        yield archive


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Archive]:
    with Archive(tmp_path / "there", create=True) as archive:
        yield archive
