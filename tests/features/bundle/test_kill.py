"""`kill -9` while a bundle is written or read: the same command completes the work, and nothing
wrong is ever visible.
"""

import shutil
from pathlib import Path
from random import Random

import pytest

from outlast.core.names import RepoId
from outlast.store.archive import Archive
from tests.campaign import SEED, rounds
from tests.features.bundle.world import export_to, files_below
from tests.warm.calls import finish, start

pytestmark = pytest.mark.crash

KILLS = rounds(3, 100)
MOMENTS = ("before", "torn", "after")


def steps(home: Path, *words: str | Path) -> int:
    """How many changes of the disk a command makes."""
    count = home / "count"
    finish(start(*map(str, words), home=home, doom=["0", "before", str(count)])).ok()
    return int(count.read_text())


def points(changes: int) -> list[tuple[int, str]]:
    """Where to kill, spread evenly over the work."""
    random = Random(SEED)
    return [
        (1 + int(changes * (number + random.random()) / KILLS), random.choice(MOMENTS))
        for number in range(KILLS)
    ]


def test_export_killed_anywhere(filled: Path, archive: Archive, tmp_path: Path) -> None:
    home = tmp_path / "home"
    shutil.copytree(filled, home / "archive")
    words = ("export", "org/base", "org/tuned", "--to")
    whole = export_to(archive, tmp_path / "whole", "org/base", "org/tuned")
    names = [*whole.contents.geometry.names()]
    for step, moment in points(steps(home, *words, tmp_path / "counted")):
        usb = tmp_path / f"usb-{step}"
        doom = [str(step), moment, str(home / "count")]
        assert finish(start(*words, str(usb), home=home, doom=doom)).code == -9
        finish(start(*words, str(usb), home=home)).ok()
        for name in names:
            assert (usb / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
        assert not [*usb.rglob("*.unfinished")], f"killed {moment} step {step}"
        shutil.rmtree(usb)


def test_import_killed_anywhere(archive: Archive, tmp_path: Path) -> None:
    export_to(archive, tmp_path / "usb", "org/base", "org/tuned")
    (tmp_path / "usb" / "parts" / "00001.olb").unlink()
    expected = files_below(archive.layout.home)
    home = tmp_path / "home"
    home.mkdir()
    changes = steps(home, "import", tmp_path / "usb")
    for step, moment in points(changes):
        shutil.rmtree(home / "archive")
        doom = [str(step), moment, str(home / "count")]
        words = ("import", str(tmp_path / "usb"))
        assert finish(start(*words, home=home, doom=doom)).code == -9
        if (home / "archive" / "outlast.json").exists():
            _check(home / "archive", expected)
        finish(start(*words, home=home)).ok()
        found = files_below(home / "archive")
        assert found == expected, f"killed {moment} step {step}"


def _check(home: Path, expected: dict[str, bytes]) -> None:
    """What is visible after a crash is right, and what a draft acknowledges is there."""
    found = files_below(home)
    assert found.items() <= expected.items()
    with Archive(home) as archive:
        for name in ("org/base", "org/tuned"):
            repo = RepoId.parse(name)
            for commit in archive.commits(repo):
                revision = archive.load(repo, commit)
                assert revision is not None
                assert all(map(archive.holds, revision.files))
