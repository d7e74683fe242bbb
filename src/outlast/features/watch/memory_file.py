"""The SQLite file of `watch`: its tables, and what becomes of one that is damaged."""

import contextlib
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from outlast.core.errors import BusyError, DiskFullError, OutlastError, StorageError
from outlast.store import disk
from outlast.store.database import is_damage

_VERSION: Final = 1
_SCHEMA: Final = (
    """CREATE TABLE models (
        hub TEXT NOT NULL, repo TEXT NOT NULL, account TEXT NOT NULL, priority TEXT NOT NULL,
        seen TEXT, hint TEXT NOT NULL DEFAULT '', etag TEXT NOT NULL DEFAULT '',
        refs_etag TEXT NOT NULL DEFAULT '', refs_due REAL NOT NULL DEFAULT 0,
        wanted_by TEXT NOT NULL DEFAULT '', version INTEGER NOT NULL DEFAULT 0,
        PRIMARY KEY (hub, repo)
    ) WITHOUT ROWID""",
    "CREATE INDEX models_by_account ON models (hub, account)",
    "CREATE INDEX models_by_refs_due ON models (hub, refs_due)",
    """CREATE TABLE duties (
        hub TEXT NOT NULL, duty TEXT NOT NULL, due REAL NOT NULL DEFAULT 0,
        pages INTEGER NOT NULL DEFAULT 1, failures INTEGER NOT NULL DEFAULT 0,
        polled INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (hub, duty)
    ) WITHOUT ROWID""",
    """CREATE TABLE members (
        hub TEXT NOT NULL, pattern TEXT NOT NULL, repo TEXT NOT NULL,
        PRIMARY KEY (hub, pattern, repo)
    ) WITHOUT ROWID""",
    "CREATE TABLE hubs (hub TEXT PRIMARY KEY, state TEXT NOT NULL) WITHOUT ROWID",
    """CREATE TABLE spent (
        hub TEXT NOT NULL, day TEXT NOT NULL, requests INTEGER NOT NULL, PRIMARY KEY (hub, day)
    ) WITHOUT ROWID""",
    """CREATE TABLE wanted (
        hub TEXT NOT NULL, repo TEXT NOT NULL, ref TEXT NOT NULL, head TEXT NOT NULL,
        risk REAL NOT NULL, size INTEGER NOT NULL, due REAL NOT NULL DEFAULT 0,
        PRIMARY KEY (repo, ref)
    ) WITHOUT ROWID""",
    """CREATE TABLE fetched (
        pattern TEXT NOT NULL, repo TEXT NOT NULL, head TEXT NOT NULL, bytes INTEGER NOT NULL,
        PRIMARY KEY (pattern, repo, head)
    ) WITHOUT ROWID""",
    """CREATE TABLE changes (
        id INTEGER PRIMARY KEY AUTOINCREMENT, repo TEXT, happened TEXT NOT NULL,
        document TEXT NOT NULL
    )""",
    "CREATE INDEX changes_by_repo ON changes (repo, id)",
    "CREATE TABLE channels (channel TEXT PRIMARY KEY) WITHOUT ROWID",
    """CREATE TABLE outbox (
        channel TEXT NOT NULL, id INTEGER NOT NULL, PRIMARY KEY (channel, id)
    ) WITHOUT ROWID""",
    """CREATE TRIGGER changes_stay BEFORE DELETE ON changes
        BEGIN SELECT RAISE(ABORT, 'the history is append-only'); END""",
    """CREATE TRIGGER changes_hold BEFORE UPDATE ON changes
        BEGIN SELECT RAISE(ABORT, 'the history is append-only'); END""",
)


@dataclass(frozen=True, slots=True)
class Opened:
    """The database, and what became of the one before, if that was damaged."""

    db: sqlite3.Connection
    note: str = ""


def open_file(path: Path) -> Opened:
    """Opens the file at `path`, and makes it where there is none. One that is damaged is set aside
    as ``watch.sqlite.damaged-N``. Raises :class:`StorageError`, also for the file of a newer
    version of outlast, which is left alone.
    """
    disk.make_dir(path.parent)
    with reporting(path):
        try:
            return Opened(_connect(path))
        except sqlite3.DatabaseError as error:
            if not is_damage(error):
                raise
        aside = _set_aside(path)
        note = (
            f"{path.name} was damaged, and is kept as {aside.name}: what happened before is there"
        )
        return Opened(_connect(path), note)


def _connect(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, timeout=60, check_same_thread=False, isolation_level=None)
    try:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        _check_pages(db)
        db.execute("BEGIN IMMEDIATE")
        version = db.execute("PRAGMA user_version").fetchone()[0]
        if version == 0:
            for statement in _SCHEMA:
                db.execute(statement)
            db.execute(f"PRAGMA user_version = {_VERSION}")
        db.execute("COMMIT")
    except UnicodeDecodeError:  # the text of an error that names a garbled table
        db.close()
        raise sqlite3.DatabaseError("garbled") from None
    except BaseException:
        db.close()
        raise
    if version not in (0, _VERSION):
        db.close()
        raise StorageError(
            f"{path} was written by another version of outlast ({version})",
            hint="use that version, or move the file away: a new one begins from the archive",
        )
    return db


def _check_pages(db: sqlite3.Connection) -> None:
    if db.execute("PRAGMA quick_check(1)").fetchone() != ("ok",):
        raise sqlite3.DatabaseError("the check of its pages failed")


def _set_aside(path: Path) -> Path:
    """Moves the file, and what belongs to it, to a name that is free."""
    number = 1
    while (aside := path.with_name(f"{path.name}.damaged-{number}")).exists():
        number += 1
    for suffix in ("-wal", "-shm", ""):
        part = Path(f"{path}{suffix}")
        if part.exists():
            disk.move(part, Path(f"{aside}{suffix}"))
    return aside


@contextlib.contextmanager
def reporting(path: Path) -> Iterator[None]:
    """SQLite's errors as ours."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        raise _meaning(error, path) from error


def _meaning(error: sqlite3.DatabaseError, path: Path) -> OutlastError:
    name = getattr(error, "sqlite_errorname", "")
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return BusyError(f"{path}: another process holds it")
    if name.startswith("SQLITE_FULL"):
        return DiskFullError(f"{path}: {error}")
    return StorageError(f"{path}: {error}")
