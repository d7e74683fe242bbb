"""What a person reads about an archive on a file system whose locks do not work."""

import fcntl
from pathlib import Path

import pytest

from tests.cli.call import inside


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(fcntl, "flock", lambda *_: None)
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_bytes(b"{}")
    return tmp_path


def test_adding_works_and_warns_and_gc_refuses(home: Path) -> None:
    added = inside("add", home / "model", "--as", "me/mine", home=home).ok()
    assert "WARNING" in added.err
    assert "grants a lock" in added.err
    assert (
        "WARNING" not in inside("add", home / "model", "--as", "me/mine", "-q", home=home).ok().err
    )
    inside("rm", "me/mine", home=home).ok()
    refused = inside("gc", "--now", home=home)
    assert refused.code == 8
    assert "outlast gc --alone" in refused.err
    assert "freed" in inside("gc", "--now", "--alone", home=home).ok().out
    assert inside("gc", "--alone", "--undo", home=home).code == 2


def test_nothing_is_said_of_locks_that_work(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_bytes(b"{}")
    added = inside("add", tmp_path / "model", "--as", "me/mine", home=tmp_path).ok()
    assert "WARNING" not in added.err
