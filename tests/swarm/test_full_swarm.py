"""A disk that fills up while a swarm writes to it."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from outlast.core.errors import DiskFullError
from outlast.core.names import RepoId
from outlast.swarm.schedule import Rates
from outlast.swarm.settings import SwarmSettings
from tests.noise import noise
from tests.pull.kit import check_archive
from tests.swarm.sites import Running, site, until

pytestmark = pytest.mark.rootonly

MIB = 1 << 20
KEPT = {"kept": noise(2, 5 * MIB)}
FILES = {"large": noise(1, 40 * MIB)}


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.geteuid() != 0:
        pytest.skip("needs root, to mount a small disk")
    line = ["mount", "-t", "tmpfs", "-o", f"size={160 * MIB},mode=755", "none", str(folder)]
    done = subprocess.run(line, capture_output=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"cannot mount a small disk here: {done.stderr.decode().strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def eat(folder: Path) -> None:
    """Leaves no room at all."""
    with (folder / "eaten").open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(MIB))
    with (folder / "crumbs").open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(512))


@pytest.mark.parametrize("http", [True, False])
def test_full(tmp_path: Path, disk: Path, *, http: bool) -> None:
    """The pull says so and ends; nothing is lost, and it goes on when there is room."""
    slow = SwarmSettings(rates=Rates(lan_up=8 * MIB))
    with site(tmp_path / "a", files=FILES, settings=slow) as a:
        with site(disk / "b", a) as b:
            b.hold(KEPT, RepoId.parse("org/kept"))
            pulling = Running(lambda: b.pull(http=http))
            have = disk / "b" / "partial"
            until(
                lambda: sum(p.read_bytes()[24:].count(1) for p in have.glob("*.have")) > 3,
                "some pieces came",
            )
            eat(disk)
            with pytest.raises(DiskFullError):
                pulling.result()
            assert b.done == set()
        for name in ("eaten", "crumbs"):
            (disk / name).unlink(missing_ok=True)
        check_archive(disk / "b")
        with site(disk / "b", a) as b:
            Running(lambda: b.pull(http=http)).result()
            assert b.files() == FILES
        check_archive(disk / "b")
