"""The SQLite file of the index: its tables, and what its errors mean."""

import sqlite3
import zlib
from typing import Final

_VERSION: Final = 4
_SCHEMA: Final = """
CREATE TABLE manifests (
    id INTEGER PRIMARY KEY, digest TEXT UNIQUE NOT NULL, kind TEXT NOT NULL, name TEXT NOT NULL,
    revision TEXT NOT NULL, files INTEGER NOT NULL, bytes INTEGER NOT NULL,
    missing INTEGER NOT NULL, unlisted INTEGER NOT NULL
);
CREATE INDEX by_name ON manifests (kind, name, revision);
CREATE TABLE files (
    manifest INTEGER NOT NULL REFERENCES manifests ON DELETE CASCADE,
    sha256 TEXT NOT NULL, size INTEGER NOT NULL, git_sha1 TEXT, merkle_root TEXT,
    proof INTEGER NOT NULL
);
CREATE INDEX by_manifest ON files (manifest);
CREATE INDEX by_sha256 ON files (sha256);
CREATE INDEX by_git ON files (git_sha1) WHERE git_sha1 IS NOT NULL;
CREATE TABLE checked (sha256 TEXT PRIMARY KEY, stamp TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE forms (
    sha256 TEXT PRIMARY KEY, stamp TEXT NOT NULL, form TEXT NOT NULL, size INTEGER NOT NULL,
    stored INTEGER NOT NULL, bases TEXT NOT NULL, proof INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE unpaying (sha256 TEXT PRIMARY KEY, tried TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE trees (
    sha256 TEXT NOT NULL, form TEXT NOT NULL, stamp TEXT NOT NULL, size INTEGER NOT NULL,
    root TEXT NOT NULL, layer BLOB NOT NULL, PRIMARY KEY (sha256, form)
);
CREATE INDEX by_root ON trees (root);
CREATE TABLE state (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
"""

_ADDED: Final = """
CREATE TABLE IF NOT EXISTS sound (
    sha256 TEXT PRIMARY KEY, stamp TEXT NOT NULL, checked REAL NOT NULL, proof INTEGER NOT NULL
) WITHOUT ROWID;
"""
"""What came later, and older versions do not look at: an index that is there keeps the rest."""


class OtherVersionError(sqlite3.DatabaseError):
    """The index is of another version of outlast. Nothing is wrong with it."""


def proof(*columns: object) -> int:
    """The checksum of a row: with it a flipped bit in the file does not become an answer."""
    return zlib.crc32(repr(columns).encode())


def is_damage(error: sqlite3.DatabaseError) -> bool:
    """Whether the file itself is bad, rather than the disk full or another process in the way."""
    return getattr(error, "sqlite_errorname", "SQLITE_CORRUPT").startswith(
        ("SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_ERROR", "SQLITE_SCHEMA")
    )


def is_shortage(error: sqlite3.DatabaseError) -> bool:
    """Whether files or memory are short, which says nothing of the file."""
    return getattr(error, "sqlite_errorname", "").startswith(("SQLITE_CANTOPEN", "SQLITE_NOMEM"))


def connect(path: str) -> sqlite3.Connection:
    """Opens the index at `path`, and makes it where there is none. Raises
    :class:`sqlite3.DatabaseError`, also for one of another version.
    """
    db = sqlite3.connect(path, timeout=60, check_same_thread=False)
    try:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")
        db.execute("PRAGMA foreign_keys = ON")
        with db:
            db.execute("BEGIN IMMEDIATE")
            version = db.execute("PRAGMA user_version").fetchone()[0]
            if version == 0:
                for statement in _SCHEMA.split(";"):
                    db.execute(statement)
                db.execute(f"PRAGMA user_version = {_VERSION}")
            if version in (0, _VERSION):
                db.execute(_ADDED)
    except UnicodeDecodeError as error:  # the text of an error that names a garbled table
        db.close()
        raise sqlite3.DatabaseError("garbled") from error
    except BaseException:
        db.close()
        raise
    if version not in (0, _VERSION):
        db.close()
        raise OtherVersionError(f"index version {version}")
    return db
