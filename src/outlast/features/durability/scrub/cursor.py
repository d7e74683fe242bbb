"""Where a scrub is: for each file, after which others it was checked last. A small database beside
the archive; one that is lost or damaged is begun anew, and costs no more than another pass.

What comes next follows from numbers that only grow, and not from a clock. Times are noted for
people and for monitoring.
"""

import contextlib
import hashlib
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Final, NoReturn

from outlast.core.closing import Closing
from outlast.core.errors import BusyError, DiskFullError, StorageError
from outlast.features.durability.scrub.tuning import TUNING, ScrubTuning
from outlast.store import disk, locks
from outlast.store.database import is_damage

_FOLDER: Final = "durability"
_NAME: Final = "scrub.sqlite"
_SCHEMA: Final = (
    """CREATE TABLE IF NOT EXISTS checked (
        name TEXT PRIMARY KEY, quick INTEGER NOT NULL, full INTEGER NOT NULL, at REAL NOT NULL
    ) WITHOUT ROWID""",
    """CREATE TABLE IF NOT EXISTS passes (
        mode TEXT PRIMARY KEY, start INTEGER NOT NULL, began REAL NOT NULL, finished REAL
    ) WITHOUT ROWID""",
    """CREATE TABLE IF NOT EXISTS partway (
        name TEXT PRIMARY KEY, stamp TEXT NOT NULL, done INTEGER NOT NULL, size INTEGER NOT NULL
    ) WITHOUT ROWID""",
)
QUICK: Final = "quick"
FULL: Final = "full"


@dataclass(frozen=True, slots=True)
class Checked:
    """When a file was checked: its place in the order of all checks by checksums and by hashes, and
    the time (seconds since 1970).
    """

    quick: int = 0
    full: int = 0
    at: float = 0.0

    def number(self, mode: str) -> int:
        """To have been hashed is to have been checked in either way."""
        return self.full if mode == FULL else max(self.quick, self.full)


_NEVER: Final = Checked()


@dataclass(frozen=True, slots=True)
class Partway:
    """How far a check of a file came that has not ended: its first `done` parts, of `size` bytes,
    are checked. `stamp` says of which file, and by which check.
    """

    stamp: str
    done: int
    size: int


_NOT_BEGUN: Final = Partway("", 0, 0)


@dataclass(frozen=True, slots=True)
class PassTimes:
    """Of the last pass of a kind: when it began, and when it was through, if it is; since 1970."""

    began: float
    finished: float | None


class ScrubCursor(Closing):
    """The cursor of one archive; one process has it at a time. Not thread-safe."""

    def __init__(
        self,
        home: Path,
        *,
        store: str = "",
        clock: Callable[[], float] = time.time,
        tuning: ScrubTuning = TUNING,
    ) -> None:
        """`store`: the URL of a second home, if the cursor is for that. Raises :class:`BusyError`
        where another process scrubs the same.
        """
        folder = home / _FOLDER
        if store:
            folder /= f"stores/{hashlib.sha256(store.encode()).hexdigest()[:16]}"
        self._clock = clock
        self._tuning = tuning
        self._path = folder / _NAME
        self._stack = contextlib.ExitStack()
        with disk.reporting(folder), contextlib.ExitStack() as stack:
            disk.make_dir(folder)
            stack.enter_context(disk.turn(folder / "scrub.lock", _busy))
            _refuse_without_locks(folder / "scrub.lock")
            self._db = stack.enter_context(contextlib.closing(_open(self._path)))
            with _reporting(self._path):
                self.known = self._read()
                self._partway = self._read_partway()
            self._stack = stack.pop_all()
        self._last = max((max(one.quick, one.full) for one in self.known.values()), default=0)
        self._unwritten: set[str] = set()
        self._written_at = time.monotonic()

    def close(self) -> None:
        try:
            self.write()
        finally:
            self._stack.close()

    def _read(self) -> dict[str, Checked]:
        rows = self._db.execute("SELECT name, quick, full, at FROM checked")
        return {name: Checked(quick, full, at) for name, quick, full, at in rows}

    def _read_partway(self) -> dict[str, Partway]:
        rows = self._db.execute("SELECT name, stamp, done, size FROM partway")
        return {name: Partway(stamp, done, size) for name, stamp, done, size in rows}

    def begin(self, mode: str) -> int:
        """The number after which files count as checked in this pass: that of the pass under way,
        or of a new one.
        """
        now = self._clock()
        with _reporting(self._path):
            row = self._pass(mode)
            if row is not None and row[2] is None and 0 <= now - row[1] < self._tuning.stale:
                return row[0]
            self._db.execute(
                "INSERT OR REPLACE INTO passes VALUES (?, ?, ?, NULL)", (mode, self._last, now)
            )
        return self._last

    def finish(self, mode: str, here: Iterable[str]) -> None:
        """The pass is through; what is not `here` any more is forgotten."""
        for name in self._partway.keys() - (known := set(here)):
            self._partway[name] = _NOT_BEGUN
            self._unwritten.add(name)
        self.write()
        gone = self.known.keys() - known
        with _reporting(self._path):
            self._db.execute("BEGIN IMMEDIATE")
            self._db.executemany("DELETE FROM checked WHERE name = ?", [(name,) for name in gone])
            self._db.execute("UPDATE passes SET finished = ? WHERE mode = ?", (self._clock(), mode))
            self._db.execute("COMMIT")
        for name in gone:
            del self.known[name]

    def times(self, mode: str) -> PassTimes | None:
        """Of the last pass."""
        with _reporting(self._path):
            row = self._pass(mode)
        return None if row is None else PassTimes(row[1], row[2])

    def _pass(self, mode: str) -> tuple[int, float, float | None] | None:
        found: tuple[int, float, float | None] | None = self._db.execute(
            "SELECT start, began, finished FROM passes WHERE mode = ?", (mode,)
        ).fetchone()
        return found

    def checked(self, name: str) -> Checked:
        return self.known.get(name, _NEVER)

    def note(self, name: str, mode: str) -> None:
        """A file was checked just now."""
        self._last += 1
        before, now = self.checked(name), self._clock()
        full = self._last if mode == FULL else before.full
        quick = self._last if mode == QUICK else before.quick
        self.known[name] = Checked(quick, full, now)
        if name in self._partway:
            self._partway[name] = _NOT_BEGUN
        self._changed(name)

    def partway(self, name: str) -> Partway:
        """How far the check of a file came that did not end."""
        return self._partway.get(name, _NOT_BEGUN)

    def note_partway(self, name: str, where: Partway) -> None:
        """The check of a file came so far; without an end it goes on there."""
        self._partway[name] = where
        self._changed(name)

    def _changed(self, name: str) -> None:
        self._unwritten.add(name)
        if time.monotonic() - self._written_at >= self._tuning.noted:
            self.write()

    def write(self) -> None:
        """What was noted survives from now on."""
        rows = [
            (name, one.quick, one.full, one.at)
            for name in self._unwritten
            if (one := self.known.get(name)) is not None
        ]
        partway = {name: self._partway[name] for name in self._unwritten & self._partway.keys()}
        begun = [(name, *astuple(one)) for name, one in partway.items() if one.done]
        ended = [(name,) for name, one in partway.items() if not one.done]
        with _reporting(self._path):
            self._db.execute("BEGIN IMMEDIATE")
            self._db.executemany("INSERT OR REPLACE INTO checked VALUES (?, ?, ?, ?)", rows)
            self._db.executemany("INSERT OR REPLACE INTO partway VALUES (?, ?, ?, ?)", begun)
            self._db.executemany("DELETE FROM partway WHERE name = ?", ended)
            self._db.execute("COMMIT")
        for (name,) in ended:
            del self._partway[name]
        self._unwritten.clear()
        self._written_at = time.monotonic()


def _busy(_seconds: float) -> NoReturn:
    raise BusyError("another scrub of this archive is under way")


def _refuse_without_locks(path: Path) -> None:
    if not locks.has_ranges(path):
        raise StorageError(
            f"{path.parent}: the file system has no locks (fcntl), so no scrub can be noted",
            hint="mount it with locks, or check all of it with 'outlast verify'",
        )


def _open(path: Path) -> sqlite3.Connection:
    for again in (True, False):
        try:
            return _connect(path)
        except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
            damaged = isinstance(error, UnicodeDecodeError) or is_damage(error)
            if not (again and damaged):
                raise StorageError(f"{path}: {error}") from error
        for suffix in ("", "-wal", "-shm"):
            disk.remove(Path(f"{path}{suffix}"))
    raise AssertionError


def _connect(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, timeout=60, check_same_thread=False, isolation_level=None)
    try:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")
        _check_pages(db)
        for statement in _SCHEMA:
            db.execute(statement)
    except BaseException:
        db.close()
        raise
    return db


def _check_pages(db: sqlite3.Connection) -> None:
    if db.execute("PRAGMA quick_check(1)").fetchone() != ("ok",):
        raise sqlite3.DatabaseError("the check of its pages failed")


@contextlib.contextmanager
def _reporting(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.DatabaseError as error:
        full = getattr(error, "sqlite_errorname", "").startswith("SQLITE_FULL")
        raise (DiskFullError if full else StorageError)(f"{path}: {error}") from error
