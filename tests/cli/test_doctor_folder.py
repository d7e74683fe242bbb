"""``outlast doctor FOLDER``: what a file system lacks, before an archive is put there."""

import errno
import fcntl
import os
from pathlib import Path
from typing import Any

import pytest

from tests.cli.call import Call, inside


def ask(folder: Path, home: Path) -> tuple[Call, dict[str, Any]]:
    call = inside("doctor", folder, "--json", home=home)
    return call, {document["check"]: document for document in call.documents}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "disk"
    made.mkdir()
    return made


def test_a_folder_where_all_works(folder: Path, tmp_path: Path) -> None:
    call, found = ask(folder, tmp_path)
    call.ok()
    wanted = {
        "write",
        "rename",
        "lock",
        "index",
        "sync of folders",
        "hard link",
        "mode",
        "sendfile",
    }
    assert wanted < found.keys()
    assert {one["health"] for one in found.values()} == {"ok"}
    assert "works" in inside("doctor", folder, home=tmp_path).ok().out
    assert list(folder.iterdir()) == []
    assert not (tmp_path / "archive").exists()


@pytest.mark.parametrize(
    "missing",
    [
        ("link", "hard link", 0),
        ("symlink", "symbolic link", 0),
        ("chmod", "mode", 0),
        ("sendfile", "sendfile", 0),
        ("rename", "rename", 1),
        ("flock", "lock", 1),
    ],
    ids=lambda each: each[0],
)
def test_what_is_missing_is_named(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: tuple[str, str, int]
) -> None:
    call, check, code = missing

    def refuse(*_args: object, **_options: object) -> None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr(fcntl if call == "flock" else os, call, refuse)
    done, found = ask(folder, tmp_path)
    assert done.code == code
    bad = {name: one for name, one in found.items() if one["health"] != "ok"}
    assert list(bad) == [check]
    assert bad[check]["health"] == ("wrong" if code else "note")
    assert bad[check]["text"]
    assert bad[check]["mend"]
    assert list(folder.iterdir()) == []


def test_locks_that_are_always_granted(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fcntl, "flock", lambda *_: None)
    done, found = ask(folder, tmp_path)
    assert done.code == 1
    assert "two processes" in found["lock"]["text"]
    assert "--alone" in found["lock"]["mend"]


def test_folders_that_cannot_be_synced(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.fsync

    def refuse(fd: int) -> None:
        if os.path.isdir(f"/proc/self/fd/{fd}"):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        real(fd)

    monkeypatch.setattr(os, "fsync", refuse)
    done, found = ask(folder, tmp_path)
    done.ok()
    assert found["sync of folders"]["health"] == "note"


def test_a_folder_that_is_none_and_options_that_do_not_go_with_it(tmp_path: Path) -> None:
    missing = inside("doctor", tmp_path / "no", home=tmp_path)
    assert missing.code == 3
    assert "hint" in missing.err
    for option in ("--mend", "--rebuild"):
        assert inside("doctor", tmp_path, option, home=tmp_path).code == 2


def test_an_archive_says_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_bytes(b"{}")
    inside("add", tmp_path / "model", "--as", "me/mine", home=tmp_path).ok()
    monkeypatch.setattr(fcntl, "flock", lambda *_: None)
    done = inside("doctor", "--json", home=tmp_path)
    (found,) = [one for one in done.documents if one["check"] == "file system"]
    assert found["health"] == "wrong"
    assert "--alone" in found["mend"]
