"""An archive with something to export, and an empty one across the gap."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from outlast.store.archive import Archive
from tests.features.bundle.world import fill


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    with Archive(tmp_path / "here", create=True) as archive:
        fill(archive, tmp_path / "folders")
        yield archive


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Archive]:
    with Archive(tmp_path / "there", create=True) as archive:
        yield archive
