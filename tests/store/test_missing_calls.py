"""Kernels and file systems that lack something: folders that cannot be synced, no hard links, no
modes, and folders of the archive on another disk.
"""

import errno
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from outlast.core.errors import StorageError
from outlast.store import disk
from outlast.store.archive import Archive
from tests.store.build import COMMIT, REPO, archive_revision, check_error, revision_of

FILES = {"a": b"one", "b": b"two" * 1000}


def failing(name: str, number: int, wanted: Callable[..., bool] = bool) -> Callable[..., Any]:
    """A system call that fails where `wanted` says so of its arguments."""
    real = getattr(os, name)

    def call(*args: Any, **options: Any) -> Any:
        if wanted(*args):
            raise OSError(number, os.strerror(number))
        return real(*args, **options)

    return call


def _is_folder(fd: int) -> bool:
    return stat.S_ISDIR(os.fstat(fd).st_mode)


def _always(*_args: object) -> bool:
    return True


def check_use(home: Path) -> None:
    """An archive is made, filled, and read by another process's eyes."""
    with Archive(home, create=True) as archive:
        revision = archive_revision(archive, FILES)
        with archive.writer() as writer:
            archive.drafts.start(writer, revision_of({}, {"c": b"c"}, commit=COMMIT))
            assert writer.write_new(home / "unverified" / "x", b"") is True
            assert writer.write_new(home / "unverified" / "x", b"other") is False
    assert (home / "unverified" / "x").read_bytes() == b""
    with Archive(home) as archive:
        assert all(archive.holds(entry) for entry in revision.files)
        assert archive.drafts.exists(REPO, COMMIT)
        for entry in revision.files:
            assert entry.sha256 is not None
            with archive.open_blob(entry.sha256) as blob:
                assert blob.sha256() == entry.sha256


@pytest.mark.parametrize("number", [errno.EINVAL, errno.EBADF, errno.EACCES, errno.ENOSYS])
def test_folders_cannot_be_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    monkeypatch.setattr(os, "fsync", failing("fsync", number, _is_folder))
    check_use(tmp_path / "home")


def test_a_disk_that_fails_to_sync_a_folder_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Archive(tmp_path / "home", create=True) as archive:
        monkeypatch.setattr(os, "fsync", failing("fsync", errno.EIO, _is_folder))
        with pytest.raises(StorageError):
            archive_revision(archive, FILES)


@pytest.mark.parametrize("number", [errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP, errno.ENOSYS])
def test_no_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    monkeypatch.setattr(os, "link", failing("link", number, _always))
    check_use(tmp_path / "home")
    (tmp_path / "x").write_bytes(b"bytes")
    disk.link_or_copy(tmp_path / "x", tmp_path / "y")
    assert (tmp_path / "y").read_bytes() == b"bytes"


@pytest.mark.parametrize("number", [errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS])
def test_no_modes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    for name in ("chmod", "fchmod"):
        monkeypatch.setattr(os, name, failing(name, number, _always))
    check_use(tmp_path / "home")


APART = """
import sys
from pathlib import Path
from outlast.core.errors import StorageError
from outlast.store.archive import Archive
from tests.store.build import check_error
with Archive(Path(sys.argv[1])) as archive:
    try:
        archive.writer()
    except StorageError as error:
        check_error(error)
        assert sys.argv[2] in str(error), error
        assert "one file system" in error.hint
        assert list(archive.layout.tmp.iterdir()) == []
    else:
        raise SystemExit("not refused")
"""


@pytest.mark.rootonly
@pytest.mark.parametrize("folder", ["blobs", "partial", "manifests", "refs"])
@pytest.mark.parametrize("how", ["-t tmpfs none", "--bind other"])
def test_a_folder_on_another_disk(tmp_path: Path, folder: str, how: str) -> None:
    """Refused at the start, and not after a download of many hours."""
    home = tmp_path / "home"
    with Archive(home, create=True) as archive:
        archive_revision(archive, {})
    (tmp_path / "other").mkdir()
    script = f'mount {how} "home/{folder}" || exit 77; exec "$@"'
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script, "-", sys.executable, "-c", APART, home, folder],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.getcwd()},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode in {1, 77} and ("unshare:" in done.stderr or "mount:" in done.stderr):
        pytest.skip(f"this kernel lends no mounts: {done.stderr}")
    assert done.returncode == 0, done.stderr
    with Archive(home) as archive, archive.writer():
        pass


def test_what_only_a_rename_finds_out_has_a_hint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Archive(tmp_path / "home", create=True) as archive:
        monkeypatch.setattr(
            os, "rename", failing("rename", errno.EXDEV, lambda _, new: "blobs/" in str(new))
        )
        with pytest.raises(StorageError) as caught:
            archive_revision(archive, FILES)
    check_error(caught.value)
    assert "one file system" in caught.value.hint
