"""The SQLite file of the accounts: its tables, and what its errors mean.

It is the only record of what was spent. So one that is damaged or gone is refused: a new one in its
place would give every budget back.
"""

import contextlib
import os
import random
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from outlast.core.errors import (
    BusyError,
    CorruptError,
    DiskFullError,
    OutlastError,
    StorageError,
)
from outlast.store import disk
from outlast.store.database import is_damage

FILE: Final = "usage.sqlite"
MADE: Final = "usage.made"
"""Lies beside the file from the moment that there is one."""
_LOCK: Final = "usage.lock"
_VERSION: Final = 1
_SCHEMA: Final = (
    # What is spent and set aside. A row has the newest period that was seen: when the clock goes
    # back, it stays.
    """CREATE TABLE counters (
        account TEXT NOT NULL, kind TEXT NOT NULL, period TEXT NOT NULL, tokens INTEGER NOT NULL,
        money INTEGER NOT NULL, requests INTEGER NOT NULL, PRIMARY KEY (account, kind)
    ) WITHOUT ROWID""",
    """CREATE TABLE owners (
        id INTEGER PRIMARY KEY AUTOINCREMENT, token TEXT UNIQUE NOT NULL, boot TEXT NOT NULL,
        pid INTEGER NOT NULL, started TEXT NOT NULL
    )""",
    """CREATE TABLE holds (
        id INTEGER PRIMARY KEY AUTOINCREMENT, owner INTEGER NOT NULL, charges TEXT NOT NULL,
        caller TEXT NOT NULL, route TEXT NOT NULL, model TEXT NOT NULL,
        prompt_tokens INTEGER NOT NULL, max_tokens INTEGER NOT NULL, money INTEGER
    )""",
    "CREATE INDEX holds_by_owner ON holds (owner)",
    """CREATE TABLE ledger (
        day TEXT NOT NULL, caller TEXT NOT NULL, route TEXT NOT NULL, target TEXT NOT NULL,
        provider TEXT NOT NULL, model TEXT NOT NULL, jurisdiction TEXT NOT NULL,
        certain INTEGER NOT NULL, requests INTEGER NOT NULL, prompt_tokens INTEGER NOT NULL,
        completion_tokens INTEGER NOT NULL, money INTEGER NOT NULL, unpriced INTEGER NOT NULL,
        milliseconds INTEGER NOT NULL,
        PRIMARY KEY (day, caller, route, target, provider, model, jurisdiction, certain)
    ) WITHOUT ROWID""",
)
_PATIENCE: Final = 10.0
"""Seconds in which a change waits for those of other processes."""
_SHORT: Final = 0.0002
_LONG: Final = 0.004
"""Seconds of a wait for the writer before us: a change takes 0.1 ms."""


def open_database(folder: Path) -> sqlite3.Connection:
    """Opens the file in `folder`, and makes it where there never was one. The connection begins no
    transaction by itself, waits for no lock, and may be used by one thread at a time. Raises
    :class:`CorruptError` for a file that is damaged or gone, :class:`StorageError` for one of
    another version, :class:`BusyError`.
    """
    path = folder / FILE
    with disk.reporting(path):
        disk.make_dir(folder)
        with disk.locked(folder / _LOCK, exclusive=True):
            made = disk.is_named(folder / MADE)
            if made and not path.exists():
                raise _gone(path, "is gone")
            with reporting(path):
                # With this mode; SQLite gives it to the files beside it.
                os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, disk.PRIVATE))
                db = _connect(path, is_new=not made)
            if not made:
                _mark(folder)
    return db


@contextlib.contextmanager
def change(db: sqlite3.Connection) -> Iterator[None]:
    """A transaction that writes: all of it or nothing. Raises :class:`BusyError` where other
    processes hold the file for long.
    """
    _begin(db)
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            with contextlib.suppress(sqlite3.Error):
                db.execute("ROLLBACK")
        raise


@contextlib.contextmanager
def reporting(path: Path) -> Iterator[None]:
    """SQLite's errors as ours."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        raise _meaning(error, path) from error


def _begin(db: sqlite3.Connection) -> None:
    """SQLite's own waiting begins with 1 ms and goes on in steps that grow to 100 ms: too long for
    changes of 0.1 ms.
    """
    deadline = 0.0
    wait = _SHORT
    while True:
        try:
            db.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            name = getattr(error, "sqlite_errorname", "")
            now = time.monotonic()
            deadline = deadline or now + _PATIENCE
            if not name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")) or now > deadline:
                raise
        else:
            return
        time.sleep(random.uniform(0, wait))  # noqa: S311 - so that two do not collide again
        wait = min(2 * wait, _LONG)


def _connect(path: Path, *, is_new: bool) -> sqlite3.Connection:
    db = sqlite3.connect(path, timeout=_PATIENCE, check_same_thread=False, isolation_level=None)
    try:
        # Before anything is written: a file that is none of SQLite's stays as it is.
        version = _checked_version(db, path, is_new=is_new)
        if version == 0:
            # A change writes whole pages to the log: small ones make it a quarter.
            db.execute("PRAGMA page_size = 1024")
        db.execute("PRAGMA journal_mode = WAL")
        # A killed process loses nothing; a power cut may lose the last changes.
        db.execute("PRAGMA synchronous = NORMAL")
        # Checkpoints wait for the disk: the thread that flushes makes them. Should it not keep up,
        # the next one is made here, at 64 MB.
        db.execute("PRAGMA wal_autocheckpoint = 64000")
        if version == 0:
            _make(db)
        db.execute("PRAGMA busy_timeout = 0")
    except UnicodeDecodeError:  # the text of an error that names a garbled table
        db.close()
        raise sqlite3.DatabaseError("garbled") from None
    except BaseException:
        db.close()
        raise
    return db


def _checked_version(db: sqlite3.Connection, path: Path, *, is_new: bool) -> int:
    """The version of the file; 0 for one without tables, which only a new one may be."""
    version: int = db.execute("PRAGMA user_version").fetchone()[0]
    if version == 0 and not is_new:
        raise sqlite3.DatabaseError("it has no tables")
    if version not in (0, _VERSION):
        raise StorageError(
            f"{path} was written by another version of outlast ({version})",
            hint="use that version: what was spent is in this file",
        )
    if db.execute("PRAGMA quick_check(1)").fetchone() != ("ok",):
        raise sqlite3.DatabaseError("the check of its pages failed")
    return version


def _make(db: sqlite3.Connection) -> None:
    with change(db):
        for statement in _SCHEMA:
            db.execute(statement)
        db.execute(f"PRAGMA user_version = {_VERSION}")


def _mark(folder: Path) -> None:
    temp = folder / f"{MADE}.{os.getpid()}"
    disk.remove(temp)
    disk.write_temp(temp, b"usage.sqlite has what was spent\n", disk.PRIVATE)
    disk.publish(temp, folder / MADE)


def _gone(path: Path, what: str) -> CorruptError:
    return CorruptError(
        f"{path} {what}: what was spent is not known, so no budget can be kept",
        hint=f"restore it from a backup; or move it and {path.with_name(MADE)} away, and all "
        "budgets begin anew",
    )


def _meaning(error: sqlite3.DatabaseError, path: Path) -> OutlastError:
    name = getattr(error, "sqlite_errorname", "")
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return BusyError(f"{path}: another process holds it")
    if name.startswith("SQLITE_FULL"):
        return DiskFullError(f"{path}: {error}")
    if is_damage(error):
        return _gone(path, f"is damaged ({error})")
    return StorageError(f"{path}: {error}")
