"""The rows of the memory of `watch`: the values that they stand for, and how they are written. All
of it runs within a transaction of :class:`outlast.features.watch.memory.Memory`.
"""

import contextlib
import sqlite3
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from outlast.core.digest import GitOid
from outlast.core.errors import CorruptError
from outlast.core.names import RepoId
from outlast.features.watch.changes import Change, Observation
from outlast.features.watch.changes_json import (
    decode_observation,
    encode_change,
    encode_observation,
)
from outlast.features.watch.follow import Priority

ARCHIVE: Final = "archive"
"""The channel by which the archive learns of what happened, also of what is no alert of its own."""


@dataclass(frozen=True, slots=True)
class ModelState:
    """A followed model at a hub. `seen` is None before the first poll. `hint` is what the last list
    said of it; `refs_due` a time in seconds since 1970; `wanted_by` the key of the follow that it
    is archived for; `version` counts the writes.
    """

    hub: str
    repo: RepoId
    priority: Priority
    seen: Observation | None = None
    hint: str = ""
    etag: str = ""
    refs_etag: str = ""
    refs_due: float = 0.0
    wanted_by: str = ""
    version: int = 0


@dataclass(frozen=True, slots=True)
class Duty:
    """What is due as one: the models of an account, or the members of a pattern. `due` in seconds
    since 1970; `pages` of its list; `failures` in a row; `polled`: whether it ever succeeded.
    """

    hub: str
    name: str
    due: float = 0.0
    pages: int = 1
    failures: int = 0
    polled: bool = False


@dataclass(frozen=True, slots=True)
class Wanted:
    """A commit to archive: the higher `risk`, the sooner. `size` in bytes, 0 if it is not known."""

    hub: str
    repo: RepoId
    ref: str
    commit: GitOid
    risk: float
    size: int = 0
    due: float = 0.0


@dataclass(frozen=True, slots=True)
class Step:
    """From one state of a model to the next: the changes, and what is to be archived for them. With
    `told` false the changes are no alerts of their own.
    """

    before: ModelState
    after: ModelState
    changes: tuple[Change, ...] = ()
    wanted: tuple[Wanted, ...] = ()
    told: bool = True


def account_of(repo: RepoId) -> str:
    """The duty that a model belongs to: that of its account. The oldest models have none."""
    return f"account:{repo.kind.plural}/{repo.name.rpartition('/')[0] or repo.name}"


def add_models(db: sqlite3.Connection, hub: str, models: Mapping[RepoId, Priority]) -> None:
    db.executemany(
        "INSERT INTO models (hub, repo, account, priority) VALUES (?, ?, ?, ?) "
        "ON CONFLICT DO UPDATE SET priority = excluded.priority "
        "WHERE priority != excluded.priority",
        [(hub, str(repo), account_of(repo), one) for repo, one in models.items()],
    )


def drop_duties(db: sqlite3.Connection, hub: str, kind: str, kept: Collection[str]) -> None:
    """All of a kind but those that are kept."""
    for (name,) in db.execute("SELECT duty FROM duties WHERE hub = ?", (hub,)).fetchall():
        if name.startswith(kind) and name not in kept:
            db.execute("DELETE FROM duties WHERE hub = ? AND duty = ?", (hub, name))


def put_state(db: sqlite3.Connection, before: ModelState, after: ModelState) -> bool:
    """False where the state is no longer the one before."""
    seen = None if after.seen is None else encode_observation(after.seen)
    done = db.execute(
        "UPDATE models SET seen = ?, hint = ?, etag = ?, refs_etag = ?, refs_due = ?, "
        "wanted_by = ?, version = version + 1 WHERE hub = ? AND repo = ? AND version = ?",
        (
            seen,
            after.hint,
            after.etag,
            after.refs_etag,
            after.refs_due,
            after.wanted_by,
            before.hub,
            str(before.repo),
            before.version,
        ),
    )
    return done.rowcount == 1


def insert_changes(db: sqlite3.Connection, changes: Iterable[Change], *, told: bool) -> None:
    for change in changes:
        repo = None if change.repo is None else str(change.repo)
        done = db.execute(
            "INSERT INTO changes (repo, happened, document) VALUES (?, ?, ?)",
            (repo, change.when, encode_change(change)),
        )
        db.execute(
            "INSERT INTO outbox SELECT channel, ? FROM channels WHERE ? OR channel = ?",
            (done.lastrowid, told, ARCHIVE),
        )


def put_wanted(db: sqlite3.Connection, one: Wanted) -> None:
    db.execute(
        "INSERT OR REPLACE INTO wanted VALUES (?, ?, ?, ?, ?, ?, ?)",
        (one.hub, str(one.repo), one.ref, one.commit.hex, one.risk, one.size, one.due),
    )


def state_of(hub: str, row: Sequence[Any]) -> ModelState:
    repo, priority, seen, hint, etag, refs_etag, refs_due, wanted_by, version = row
    observation = None
    if seen is not None:
        with contextlib.suppress(CorruptError):  # it is looked at anew
            observation = decode_observation(seen)
    return ModelState(
        hub=hub,
        repo=RepoId.parse(repo),
        priority=Priority(priority),
        seen=observation,
        hint=hint,
        etag=etag if observation else "",
        refs_etag=refs_etag if observation else "",
        refs_due=refs_due,
        wanted_by=wanted_by,
        version=version,
    )
