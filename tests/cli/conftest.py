"""A small archive, made without a network."""

import shutil
from pathlib import Path

import pytest

from tests.cli.call import inside

FILES = {"config.json": b'{"a": 1}', "sub/weights.bin": bytes(range(256)) * 40, "empty.txt": b""}


def write(folder: Path) -> Path:
    for path, data in FILES.items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder to add."""
    return write(tmp_path / "folder")


@pytest.fixture(scope="session")
def _archived(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("archived")
    write(root / "folder")
    for name in ("me/mine", "me/other@v1.0"):
        inside("add", root / "folder", "--as", name, home=root).ok()
    return root


@pytest.fixture
def home(tmp_path: Path, folder: Path, _archived: Path) -> Path:
    """A home folder whose archive holds me/mine and me/other."""
    assert folder.is_dir()
    shutil.copytree(_archived / "archive", tmp_path / "archive")
    return tmp_path
