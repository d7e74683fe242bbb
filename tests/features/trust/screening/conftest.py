"""Models and lists for screening."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from outlast.store.archive import Archive


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    with Archive(tmp_path / "archive", create=True) as made:
        yield made
