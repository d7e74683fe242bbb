"""What a folder's file system can do of what an archive needs, by trying it out there."""

import contextlib
import logging
import os
import shutil
import socket
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from outlast.core.descriptors import is_exhausted
from outlast.core.errors import ExhaustedError, NotFoundError
from outlast.store import disk, locks
from outlast.store.database import connect, is_shortage

_log = logging.getLogger(__name__)

_LOCAL: Final = "move the archive to a local file system, or check its permissions"

_ONE_PROCESS: Final = (
    "use an archive here from one process at a time, and 'outlast gc --alone' while no other runs; "
    "or choose a local file system, or mount this one with locks"
)


@dataclass(frozen=True, slots=True)
class Ability:
    """The result of one attempt: `problem` is empty where it works, else why it does not, and
    `effect` what follows for an archive. `needed`: without it an archive is not safe or not usable.
    """

    name: str
    needed: bool
    effect: str
    problem: str = ""


def abilities(folder: Path) -> Iterator[Ability]:
    """Tries all in a folder of its own below `folder`, which goes afterwards. Raises
    :class:`NotFoundError` where there is no such folder, :class:`StorageError` where nothing can
    be written there.
    """
    if not folder.is_dir():
        raise NotFoundError(f"no folder at {folder}", hint="make the folder first")
    with disk.reporting(folder):
        own = Path(tempfile.mkdtemp(prefix=".outlast-doctor-", dir=folder))
        try:
            yield from attempts(own)
        finally:
            shutil.rmtree(own, ignore_errors=True)


def attempts(folder: Path) -> Iterator[Ability]:
    """Tries all in `folder`, and leaves what it made there. Raises :class:`OSError` or
    :class:`ExhaustedError` where open files or memory are short.
    """
    for name, needed, attempt, effect in _ATTEMPTS:
        problem = ""
        try:
            problem = attempt(folder) or ""
        except sqlite3.DatabaseError as error:
            if is_shortage(error):
                raise ExhaustedError(f"{folder}: {error}") from error
            problem = str(error)
        except OSError as error:
            if is_exhausted(error):
                raise
            problem = error.strerror or str(error)
        _log.debug("tried in %s: %s: %s", folder, name, problem or "it works")
        yield Ability(name, needed, effect if problem else "", problem)


def _write(folder: Path) -> None:
    disk.write_temp(folder / "a", b"x", disk.PRIVATE)


def _rename(folder: Path) -> None:
    (folder / "below").mkdir()
    os.rename(folder / "a", folder / "below" / "a")
    os.rename(folder / "below" / "a", folder / "a")


def _lock(folder: Path) -> str:
    return locks.probe(folder / "locked").value


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _index(folder: Path) -> None:
    with contextlib.closing(connect(os.fspath(folder / "index.sqlite"))) as db, db:
        db.execute("INSERT INTO state VALUES ('a', 'b')")


def _send(folder: Path) -> None:
    one, other = socket.socketpair()
    with one, other, open(folder / "a", "rb") as file:
        os.sendfile(one.fileno(), file.fileno(), 0, 1)


_ATTEMPTS: Final[tuple[tuple[str, bool, Callable[[Path], str | None], str], ...]] = (
    ("write", True, _write, _LOCAL),
    ("rename", True, _rename, _LOCAL),
    (
        "lock",
        True,
        _lock,
        _ONE_PROCESS,
    ),
    ("index", True, _index, "SQLite does not work here: choose a local file system"),
    (
        "sync of folders",
        False,
        _sync_folder,
        "a power cut may lose the files that were stored last: run 'outlast verify' after one",
    ),
    (
        "hard link",
        False,
        lambda folder: os.link(folder / "a", folder / "b"),
        "'adopt' copies, and 'link' makes symbolic links",
    ),
    (
        "symbolic link",
        False,
        lambda folder: os.symlink("a", folder / "c"),
        "'link' cannot lay out a Hugging Face cache here",
    ),
    (
        "mode",
        False,
        lambda folder: os.chmod(folder / "a", disk.READ_ONLY),
        "archived files stay writable: keep other programs from changing them",
    ),
    ("sendfile", False, _send, "'serve' copies bytes, and takes more processor time"),
)
