"""What `watch` remembers: what each hub said last, when each model is due, and all that happened.

One SQLite file, ``watch/watch.sqlite`` below the archive's folder. No byte of the archive depends
on it. A change, the new state that it led to, and a row of the outbox for each channel are written
in one transaction: a process that is killed loses no alert, and none comes twice. (One exception: a
process that is killed after an alert was sent, and before that was written down, sends it again.)
"""

import contextlib
import json
import sqlite3
import threading
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Self

from outlast.core.closing import Closing
from outlast.core.digest import GitOid
from outlast.core.names import RepoId
from outlast.features.watch.changes import Change
from outlast.features.watch.changes_json import (
    decode_change,
)
from outlast.features.watch.follow import Priority
from outlast.features.watch.follows import FOLDER
from outlast.features.watch.memory_file import open_file, reporting
from outlast.features.watch.memory_rows import (
    Duty,
    ModelState,
    Step,
    Wanted,
    account_of,
    add_models,
    drop_duties,
    insert_changes,
    put_state,
    put_wanted,
    state_of,
)

_READ: Final = 500
"""Changes that are read at once: each has up to 64 kB of texts."""
_MODEL: Final = """SELECT repo, priority, seen, hint, etag, refs_etag, refs_due, wanted_by, version
    FROM models WHERE hub = ?"""


class Memory(Closing):
    """Thread-safe; several processes may have it open."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.RLock()
        opened = open_file(path)
        self._db = opened.db
        self.note = opened.note
        """What became of a file that was damaged; empty if all was well."""

    @classmethod
    def open(cls, home: Path) -> Self:
        """That of the archive in `home`."""
        return cls(home / FOLDER / "watch.sqlite")

    def close(self) -> None:
        with self._lock:
            self._db.close()

    # What happened

    def history(self, repo: RepoId | None, since: str | None) -> Iterator[Change]:
        """All that happened, oldest first: to `repo`, or to all; from `since` on (ISO 8601)."""
        found = self._changes(
            "SELECT id, document FROM changes WHERE (? IS NULL OR repo = ?) AND happened >= ? "
            "AND id > ? ORDER BY id LIMIT ?",
            *[None if repo is None else str(repo)] * 2,
            since or "",
        )
        return (change for _, change in found)

    def begin(self, channel: str) -> None:
        """From now on each change waits for this channel until it is :meth:`sent`."""
        with self._writing(lasting=False) as db:
            db.execute("INSERT OR IGNORE INTO channels VALUES (?)", (channel,))

    def pending(self, channel: str) -> Iterator[tuple[int, Change]]:
        """What `channel` has not sent, oldest first. A channel that is new has nothing to send."""
        self.begin(channel)
        return self._changes(
            "SELECT id, document FROM outbox JOIN changes USING (id) WHERE channel = ? "
            "AND id > ? ORDER BY id LIMIT ?",
            channel,
        )

    def sent(self, channel: str, number: int) -> None:
        """`channel` has told the change of this number."""
        with self._writing() as db:
            db.execute("DELETE FROM outbox WHERE channel = ? AND id = ?", (channel, number))

    def tell(self, changes: Iterable[Change]) -> None:
        """Writes down changes that belong to no state of a model."""
        with self._writing() as db:
            insert_changes(db, changes, told=True)

    # Models

    def follow(
        self, hub: str, models: Mapping[RepoId, Priority], accounts: Sequence[str] = ()
    ) -> None:
        """From now on these models are polled, with all of these accounts, and no others. Accounts
        of models that are new are due.
        """
        known = {RepoId.parse(name) for (name,) in self._all(_NAMES, hub)}
        with self._writing() as db:
            for repo in known - models.keys():
                db.execute("DELETE FROM models WHERE hub = ? AND repo = ?", (hub, str(repo)))
            add_models(db, hub, models)
            needed = {*accounts, *map(account_of, models)}
            drop_duties(db, hub, "account:", needed)
            db.executemany(
                "INSERT OR IGNORE INTO duties (hub, duty) VALUES (?, ?)",
                [(hub, account) for account in needed],
            )
            db.executemany(
                "UPDATE duties SET due = 0 WHERE hub = ? AND duty = ? AND failures = 0",
                [(hub, account_of(repo)) for repo in models.keys() - known],
            )

    def add_models(self, hub: str, models: Mapping[RepoId, Priority]) -> None:
        """From now on these are polled too; their accounts are already."""
        with self._writing() as db:
            add_models(db, hub, models)

    def models(self, hub: str, account: str) -> list[ModelState]:
        """The followed models of an account."""
        rows = self._all(f"{_MODEL} AND account = ? ORDER BY repo", hub, account)
        return [state_of(hub, row) for row in rows]

    def model(self, hub: str, repo: RepoId) -> ModelState | None:
        rows = self._all(f"{_MODEL} AND repo = ?", hub, str(repo))
        return state_of(hub, rows[0]) if rows else None

    def refs_due(self, hub: str, now: float, most: int) -> list[RepoId]:
        """Those whose refs are to be asked for, the longest due first."""
        rows = self._all(
            "SELECT repo FROM models WHERE hub = ? AND refs_due <= ? AND seen IS NOT NULL "
            "ORDER BY refs_due, repo LIMIT ?",
            hub,
            now,
            most,
        )
        return [RepoId.parse(name) for (name,) in rows]

    def record(self, steps: Sequence[Step], summary: Sequence[Change] = ()) -> bool:
        """Writes down new states with the changes that led to them, and a `summary` of all. Nothing
        is written, and False returned, where another process was quicker with one of them.
        """
        lasting = bool(summary) or any(step.changes or step.wanted for step in steps)
        with self._writing(lasting=lasting) as db:
            if not all(put_state(db, step.before, step.after) for step in steps):
                db.execute("ROLLBACK")
                db.execute("BEGIN")
                return False
            for step in steps:
                insert_changes(db, step.changes, told=step.told)
                for one in step.wanted:
                    put_wanted(db, one)
            insert_changes(db, summary, told=True)
        return True

    def wanted_by(self, hub: str) -> dict[RepoId, str]:
        """The models that were seen, with the keys of the follows that they are archived for."""
        rows = self._all(
            "SELECT repo, wanted_by FROM models WHERE hub = ? AND seen IS NOT NULL", hub
        )
        return {RepoId.parse(name): key for name, key in rows}

    # Duties

    def duties(self, hub: str) -> Iterator[Duty]:
        """All duties of a hub, the longest due first."""
        rows = self._all(
            "SELECT duty, due, pages, failures, polled FROM duties WHERE hub = ? "
            "ORDER BY due, duty",
            hub,
        )
        return (
            Duty(hub, name, due, pages, failures, bool(polled))
            for name, due, pages, failures, polled in rows
        )

    def put_duty(self, duty: Duty) -> None:
        with self._writing(lasting=False) as db:
            db.execute(
                "INSERT OR REPLACE INTO duties VALUES (?, ?, ?, ?, ?, ?)",
                (duty.hub, duty.name, duty.due, duty.pages, duty.failures, duty.polled),
            )

    def hasten(self, hub: str) -> None:
        """Makes all that there is to do at a hub due, and all that is to be archived."""
        with self._writing() as db:
            db.execute("UPDATE duties SET due = 0 WHERE hub = ?", (hub,))
            db.execute("UPDATE models SET refs_due = 0 WHERE hub = ?", (hub,))
            db.execute("UPDATE wanted SET due = 0 WHERE hub = ?", (hub,))

    def bring_forward(self, hub: str, latest: float) -> None:
        """Makes due what would be due after `latest` only: the clock was ahead when that was noted,
        and has been set back.
        """
        with self._writing(lasting=False) as db:
            for table, due in (("duties", "due"), ("models", "refs_due"), ("wanted", "due")):
                db.execute(
                    f"UPDATE {table} SET {due} = 0 WHERE hub = ? AND {due} > ?",  # noqa: S608
                    (hub, latest),
                )

    def load(self, hub: str) -> list[tuple[Priority, int, int]]:
        """Of each account: its most urgent priority, its models, and the pages of its list."""
        rows = self._all(
            "SELECT MIN(CASE priority WHEN 'high' THEN 0 WHEN 'normal' THEN 1 ELSE 2 END), "
            "COUNT(*), MAX(pages) FROM models JOIN duties ON duties.hub = models.hub "
            "AND duties.duty = account WHERE models.hub = ? GROUP BY account",
            hub,
        )
        return [([*Priority][rank], count, pages) for rank, count, pages in rows]

    # Members of patterns

    def members(self, hub: str, pattern: str) -> set[RepoId]:
        """The models that were found by a pattern, ever since it is followed."""
        rows = self._all("SELECT repo FROM members WHERE hub = ? AND pattern = ?", hub, pattern)
        return {RepoId.parse(name) for (name,) in rows}

    def add_members(
        self, hub: str, pattern: str, repos: Iterable[RepoId], changes: Iterable[Change] = ()
    ) -> None:
        with self._writing() as db:
            db.executemany(
                "INSERT OR IGNORE INTO members VALUES (?, ?, ?)",
                [(hub, pattern, str(repo)) for repo in repos],
            )
            insert_changes(db, changes, told=True)

    def forget_patterns(self, hub: str, keys: Collection[str], duties: Collection[str]) -> None:
        """Drops the members of all patterns but these, and all duties of patterns but these."""
        with self._writing() as db:
            known = db.execute("SELECT DISTINCT pattern FROM members WHERE hub = ?", (hub,))
            for name in {name for (name,) in known} - {*keys}:
                db.execute("DELETE FROM members WHERE hub = ? AND pattern = ?", (hub, name))
            drop_duties(db, hub, "pattern:", duties)

    # Hubs

    def hub_state(self, hub: str) -> dict[str, object]:
        """What was noted of a hub; empty before the first poll."""
        rows = self._all("SELECT state FROM hubs WHERE hub = ?", hub)
        found = json.loads(rows[0][0]) if rows else {}
        return found if isinstance(found, dict) else {}

    def put_hub_state(
        self,
        hub: str,
        before: Mapping[str, object],
        after: Mapping[str, object],
        changes: Sequence[Change] = (),
    ) -> bool:
        """Writes down a new state, with the changes that led to it. False, and nothing is written,
        where another process was quicker.
        """
        with self._writing(lasting=bool(changes)) as db:
            row = db.execute("SELECT state FROM hubs WHERE hub = ?", (hub,)).fetchone()
            if row is not None and row[0] != _sorted(before):
                return False
            db.execute("INSERT OR REPLACE INTO hubs VALUES (?, ?)", (hub, _sorted(after)))
            insert_changes(db, changes, told=True)
        return True

    def spent(self, hub: str, day: str) -> int:
        """The requests to a hub on a day (as 2030-01-31)."""
        rows = self._all("SELECT requests FROM spent WHERE hub = ? AND day = ?", hub, day)
        return int(rows[0][0]) if rows else 0

    def spend(self, hub: str, day: str, requests: int) -> None:
        with self._writing(lasting=False) as db:
            db.execute("DELETE FROM spent WHERE hub = ? AND day < ?", (hub, day))
            db.execute(
                "INSERT INTO spent VALUES (?, ?, ?) ON CONFLICT DO UPDATE "
                "SET requests = requests + excluded.requests",
                (hub, day, requests),
            )

    # What is to be archived

    def want(self, wanted: Wanted) -> None:
        """Notes a commit to archive, in place of another one that the same ref named."""
        with self._writing() as db:
            put_wanted(db, wanted)

    def wanted(self) -> list[Wanted]:
        """The commits that are to be archived."""
        rows = self._all("SELECT hub, repo, ref, head, risk, size, due FROM wanted")
        return [
            Wanted(hub, RepoId.parse(repo), ref, GitOid(head), risk, size, due)
            for hub, repo, ref, head, risk, size, due in rows
        ]

    def unwant(self, wanted: Wanted) -> None:
        """That commit is archived, or no longer wanted."""
        with self._writing() as db:
            db.execute(
                "DELETE FROM wanted WHERE repo = ? AND ref = ? AND head = ?",
                (str(wanted.repo), wanted.ref, wanted.commit.hex),
            )

    def put_off(self, wanted: Wanted) -> None:
        """It is due later; a commit that took its place is not."""
        with self._writing() as db:
            db.execute(
                "UPDATE wanted SET due = ? WHERE repo = ? AND ref = ? AND head = ?",
                (wanted.due, str(wanted.repo), wanted.ref, wanted.commit.hex),
            )

    def fetched(self, pattern: str) -> int:
        """Bytes that were fetched for a follow, or are being."""
        rows = self._all("SELECT SUM(bytes) FROM fetched WHERE pattern = ?", pattern)
        return int(rows[0][0] or 0)

    def fetched_of(self, pattern: str, repo: RepoId, commit: GitOid) -> int:
        """Those of one revision."""
        rows = self._all(
            "SELECT bytes FROM fetched WHERE pattern = ? AND repo = ? AND head = ?",
            pattern,
            str(repo),
            commit.hex,
        )
        return int(rows[0][0]) if rows else 0

    def put_fetched(self, pattern: str, repo: RepoId, commit: GitOid, count: int) -> None:
        with self._writing() as db:
            db.execute(
                "INSERT OR REPLACE INTO fetched VALUES (?, ?, ?, ?)",
                (pattern, str(repo), commit.hex, count),
            )

    # SQLite

    @contextlib.contextmanager
    def _writing(self, *, lasting: bool = True) -> Iterator[sqlite3.Connection]:
        """All of it is written, or nothing. What need not be `lasting` may be lost, last things
        first, where the machine itself goes down: it is looked up again.
        """
        with self._lock, reporting(self.path):
            self._db.execute(f"PRAGMA synchronous = {'FULL' if lasting else 'NORMAL'}")
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:  # SQLite itself rolls back where the disk is full
                    self._db.execute("ROLLBACK")
                raise

    def _changes(self, question: str, *values: object) -> Iterator[tuple[int, Change]]:
        """Changes with their numbers; `question` is asked for a few at a time, as they are many."""
        last = 0
        while rows := self._all(question, *values, last, _READ):
            for last, text in rows:
                yield last, decode_change(text)

    def _all(self, question: str, *values: object) -> list[tuple[Any, ...]]:
        with self._lock, reporting(self.path):
            return self._db.execute(question, values).fetchall()


_NAMES: Final = "SELECT repo FROM models WHERE hub = ?"


def _sorted(document: Mapping[str, object]) -> str:
    return json.dumps(dict(document), sort_keys=True)
