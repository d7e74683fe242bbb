"""A world to watch."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.features.watch.world import World, open_world


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """Whose hub takes the token that watching has for one that may read everything."""
    with open_world(tmp_path) as found:
        yield found


@pytest.fixture
def anonymous(tmp_path: Path) -> Iterator[World]:
    """That is watched without a token."""
    with open_world(tmp_path, token=None) as found:
        yield found
