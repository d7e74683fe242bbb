"""A hub with one model, a folder to add, and the surroundings that a user would have."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

import outlast
from tests.cli.call import environment
from tests.hubsim import HubRepo, HubSim
from tests.noise import noise

MIB = 1 << 20
FILES: dict[str, bytes] = {
    "config.json": b'{"num_hidden_layers": 2}',
    "README.md": b"# A model\n",
    "words.bin": b"weights compress well when they repeat; " * (6 * MIB // 40),
    "noise.bin": noise(3, 3 * MIB + 77),
}


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HubSim]:
    """In a process of its own, so that what listens or runs in this one is ours."""
    HubRepo(tmp_path / "hub", "org/name").commit(FILES, tags=["v1.0"])
    HubRepo(tmp_path / "hub", "org/secret", private=True).commit({"config.json": b"{}"})
    with HubSim(tmp_path / "hub", token="hf_right") as sim:
        yield sim


@pytest.fixture
def surroundings(tmp_path: Path, hub: HubSim, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The home folder of a user whose environment names the hub, and a token for it."""
    for name in list(os.environ):
        monkeypatch.delenv(name)
    found = environment(tmp_path, HF_ENDPOINT=hub.url, HF_TOKEN="hf_right")
    for name, value in found.items():
        monkeypatch.setenv(name, value)
    return tmp_path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "folder"
    folder.mkdir()
    for name, data in FILES.items():
        (folder / name).write_bytes(data)
    return folder


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[outlast.Archive]:
    """An empty archive that takes nothing from the surroundings."""
    with outlast.open(tmp_path / "archive", configured=False) as archive:
        yield archive


@pytest.fixture
def mine(archive: outlast.Archive, folder: Path) -> outlast.Archive:
    """The same with me/mine in it."""
    archive.add(folder, "me/mine")
    return archive
