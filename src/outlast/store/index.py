"""The index: a SQLite cache of what the manifests say. It can be deleted at any time.

The folder of manifests is the truth. Whenever its modification time differs from what the index
noted, the index reads the manifests that it does not know and forgets those that are gone.
"""

import contextlib
import itertools
import json
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from outlast.codec.format import VERSION, BaseRef
from outlast.codec.merkle import Tree
from outlast.codec.payload import Form
from outlast.core.descriptors import is_exhausted
from outlast.core.digest import Digest, GitOid
from outlast.core.errors import CorruptError, ExhaustedError, MalformedError, OutlastError
from outlast.core.manifest import FileEntry, Revision
from outlast.core.names import RepoId, RepoKind
from outlast.store import disk, locks
from outlast.store.database import OtherVersionError, connect, is_damage, is_shortage, proof
from outlast.store.forms import StoredForm, stamp_of
from outlast.store.layout import Layout

_CLOCK_TICK_NS = 100_000_000
_FILES: Final = "SELECT sha256, size, git_sha1, merkle_root, proof FROM files"
_CONTENT: Final = (
    """SELECT digest, kind, name, revision, files, bytes, missing, unlisted FROM manifests
    ORDER BY digest""",
    """SELECT digest, sha256, size, git_sha1, merkle_root FROM files JOIN manifests
    ON id = manifest ORDER BY 1, 2, 3, 4, 5""",
)
"""What follows from the manifests alone."""
_FORMS: Final = "SELECT sha256, stamp, form, size, stored, bases, proof FROM forms"
_SOUND: Final = "SELECT sha256, stamp, checked, proof FROM sound"


@dataclass(frozen=True, slots=True)
class Summary:
    """A line of ``outlast ls``: `size` counts the bytes of the files that are here, `missing` the
    files of the commit that are not.
    """

    repo: RepoId
    revision: GitOid
    digest: Digest | None
    files: int
    size: int
    missing: int
    unlisted: bool = False

    @property
    def partial(self) -> bool:
        return self.unlisted or self.missing > 0


@dataclass(frozen=True, slots=True)
class NotedTree:
    """What was noted of the tree of a blob's file: `form` is plain or capsule (which a delta is
    too), `size` in bytes. It counts while a file that holds the blob has this `stamp`.
    """

    blob: Digest
    form: Form
    stamp: str
    size: int
    root: Digest


class Index:
    """Answers questions about manifests without reading them. Thread-safe."""

    def __init__(self, layout: Layout, *, memory: bool = False) -> None:
        """With `memory`, a new one that is read from the manifests and touches no file."""
        self._layout = layout
        self._lock = threading.RLock()
        self.was_damaged = False
        self._db = connect(":memory:") if memory else self._open()

    def close(self) -> None:
        with self._lock:
            self._db.close()

    def _open(self) -> sqlite3.Connection:
        """The index on the disk, made anew where it is damaged. Where the disk is full, read-only,
        failing or without locks, one in memory does: it is only a cache.
        """
        if not self._may_be_locked():
            return connect(":memory:")
        for _ in range(2):
            try:
                return connect(str(self._layout.index))
            except sqlite3.DatabaseError as error:
                if not is_damage(error):
                    break
                self.was_damaged = not isinstance(error, OtherVersionError)
                with disk.reporting(self._layout.index):
                    self._delete()
        return connect(":memory:")

    def _may_be_locked(self) -> bool:
        """Whether SQLite can lock its file; it waits a minute before it says that it cannot."""
        with contextlib.suppress(OSError):
            return not self._layout.lock.exists() or locks.has_ranges(self._layout.lock)
        return True

    def _delete(self) -> None:
        for suffix in ("", "-wal", "-shm"):
            disk.remove(Path(f"{self._layout.index}{suffix}"))

    @contextlib.contextmanager
    def _fresh(self, read: Callable[[int], object] = bool) -> Iterator[sqlite3.Connection]:
        """The database, brought up to date with the folder of manifests; `read` gets the bytes of
        each that is read for it.
        """
        with self._lock:
            try:
                self._sync(read)
            except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
                self._db.close()
                damaged = isinstance(error, UnicodeDecodeError) or is_damage(error)
                if damaged:
                    self.was_damaged = True
                    self._delete()
                self._db = self._open() if damaged else connect(":memory:")
                self._sync()
            try:
                yield self._db
            except sqlite3.DatabaseError as error:
                if is_shortage(error):
                    raise ExhaustedError(f"the index cannot be read now: {error}") from error
                raise _unusable(str(error)) from error
            except (MalformedError, ValueError, TypeError) as error:  # garbled
                raise _unusable(f"it holds what nothing wrote: {error}") from error

    def _sync(self, read: Callable[[int], object] = bool) -> None:
        changed = os.stat(self._layout.manifests).st_mtime_ns
        stamp = str(changed)
        row = self._db.execute("SELECT value FROM state WHERE key = 'manifests'").fetchone()
        if row is not None and row[0] == stamp:
            return
        names = disk.listed(self._layout.manifests)
        present = {name.removesuffix(".json") for name in names if name.endswith(".json")}
        known = {digest for (digest,) in self._db.execute("SELECT digest FROM manifests")}
        with self._db:
            for gone in known - present:
                self._db.execute("DELETE FROM manifests WHERE digest = ?", (gone,))
            unread = False
            for name in sorted(present - known):
                try:
                    self._insert(load_manifest(self._layout, Digest(name)))
                    size = self._layout.manifest(Digest(name)).stat().st_size
                except (OutlastError, FileNotFoundError):  # verify reports them
                    continue
                except OSError as error:
                    if is_exhausted(error):
                        raise disk.storage_error(error, self._layout.manifests) from error
                    unread = True  # the disk cannot read it now; the others are read
                else:
                    read(size)
            # Within one tick of the file system's clock, two changes share a time: trust it later.
            if unread or time.time_ns() - changed < _CLOCK_TICK_NS:
                stamp = "changing"
            self._db.execute("INSERT OR REPLACE INTO state VALUES ('manifests', ?)", (stamp,))

    def _insert(self, revision: Revision) -> None:
        repo = revision.repo
        cursor = self._db.execute(
            "INSERT OR IGNORE INTO manifests (digest, kind, name, revision, files, bytes, missing,"
            " unlisted) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                revision.digest.hex,
                repo.kind.value,
                repo.name,
                revision.id.hex,
                len(revision.files),
                revision.size,
                len(revision.missing),
                revision.unlisted,
            ),
        )
        if cursor.rowcount:
            self._db.executemany(
                "INSERT INTO files VALUES (?, ?, ?, ?, ?, ?)",
                [(cursor.lastrowid, *row, proof(*row)) for row in map(_file, revision.files)],
            )

    def rebuild(self, read: Callable[[int], object] = bool) -> int:
        """Recreates the index from the manifests; returns how many it read. `read` gets the bytes
        of each; if it raises, the index is empty, and the next use fills it.
        """
        with self._lock:
            self._db.close()
            self._delete()
            self._db = self._open()
        with self._fresh(read) as db:
            return int(db.execute("SELECT count(*) FROM manifests").fetchone()[0])

    def differs(self) -> bool:
        """Whether it was damaged when it was opened, or is not what the manifests say: all of them
        are read. Raises :class:`CorruptError` where it cannot be used at all.
        """
        other = Index(self._layout, memory=True)
        try:
            return self.was_damaged or not self._is_sound() or self._content() != other._content()
        finally:
            other.close()

    def _is_sound(self) -> bool:
        with self._fresh() as db:
            rows = itertools.chain(db.execute(_FILES), db.execute(_FORMS), db.execute(_SOUND))
            sound = db.execute("PRAGMA quick_check(1)").fetchone()[0] == "ok"
            return sound and all(row[-1] == proof(*row[:-1]) for row in rows)

    def _content(self) -> list[list[tuple[Any, ...]]]:
        with self._fresh() as db:
            return [db.execute(query).fetchall() for query in _CONTENT]

    def manifests_of(self, repo: RepoId, revision: GitOid) -> list[Digest]:
        """The manifests of a revision, the most complete one first."""
        with self._fresh() as db:
            rows = db.execute(
                "SELECT digest FROM manifests WHERE kind = ? AND name = ? AND revision = ?"
                " ORDER BY unlisted, missing, digest",
                (repo.kind.value, repo.name, revision.hex),
            )
            return [Digest(digest) for (digest,) in rows]

    def revisions(self, repo: RepoId, prefix: str = "") -> list[GitOid]:
        """The archived revisions of `repo` whose id starts with `prefix`."""
        with self._fresh() as db:
            rows = db.execute(
                "SELECT DISTINCT revision FROM manifests WHERE kind = ? AND name = ?"
                " AND substr(revision, 1, ?) = ? ORDER BY revision",
                (repo.kind.value, repo.name, len(prefix), prefix),
            )
            return [GitOid(revision) for (revision,) in rows]

    def summaries(self) -> list[Summary]:
        """Every manifest, by name."""
        with self._fresh() as db:
            rows = db.execute(
                "SELECT kind, name, revision, digest, files, bytes, missing, unlisted != 0"
                " FROM manifests"
                " ORDER BY kind DESC, name, revision"
            )
            return [
                Summary(
                    RepoId(RepoKind(kind), name),
                    GitOid(revision),
                    Digest(digest),
                    files,
                    size,
                    missing,
                    bool(unlisted),
                )
                for kind, name, revision, digest, files, size, missing, unlisted in rows
            ]

    def blobs_of(self, manifests: Iterable[Digest]) -> dict[Digest, list[Digest]]:
        """The blobs of each of these manifests that is known."""
        names = json.dumps([digest.hex for digest in manifests])
        found: dict[str, list[Digest]] = {}
        with self._fresh() as db:
            rows = db.execute(
                "SELECT digest, sha256 FROM manifests JOIN files ON id = manifest"
                " WHERE digest IN (SELECT value FROM json_each(?))",
                (names,),
            )
            for manifest, blob in rows:
                found.setdefault(manifest, []).append(Digest(blob))
            return {Digest(manifest): blobs for manifest, blobs in found.items()}

    def by_git_sha1(self, git: GitOid, size: int) -> tuple[Digest, Digest | None] | None:
        """The sha256 and merkle root of an archived file with this git blob id."""
        with self._fresh() as db:
            rows = db.execute(f"{_FILES} WHERE git_sha1 = ? AND size = ?", (git.hex, size))
            found = next(_proved(rows), None)
        return None if found is None else (Digest(found[0]), Digest(found[3]) if found[3] else None)

    def root_of(self, digest: Digest) -> Digest | None:
        """The merkle root of an archived blob."""
        with self._fresh() as db:
            rows = db.execute(f"{_FILES} WHERE sha256 = ?", (digest.hex,))
            found = next(_proved(rows), None)
        return Digest(found[3]) if found is not None and found[3] else None

    def users(self, digests: Iterable[Digest]) -> dict[str, int]:
        """How many manifests use each blob, by hex digest."""
        with self._fresh() as db:
            return {
                digest.hex: db.execute(
                    "SELECT count(DISTINCT manifest) FROM files WHERE sha256 = ?", (digest.hex,)
                ).fetchone()[0]
                for digest in digests
            }

    def owners(self, digest: Digest) -> set[RepoId]:
        """The models and datasets of which a manifest has this blob."""
        with self._fresh() as db:
            rows = db.execute(
                "SELECT DISTINCT kind, name FROM manifests JOIN files ON id = manifest"
                " WHERE sha256 = ?",
                (digest.hex,),
            ).fetchall()
        return {RepoId(RepoKind(kind), name) for kind, name in rows}

    def is_checked(self, digest: Digest, stat: os.stat_result) -> bool:
        """Whether the blob was hashed and has not changed since, as far as its inode tells."""
        with self._fresh() as db:
            row = db.execute("SELECT stamp FROM checked WHERE sha256 = ?", (digest.hex,)).fetchone()
        return row is not None and row[0] == stamp_of(stat)

    def note_checked(self, digest: Digest, stat: os.stat_result) -> None:
        # On a full disk it is only checked again later.
        with contextlib.suppress(CorruptError, ExhaustedError), self._fresh() as db, db:
            db.execute("INSERT OR REPLACE INTO checked VALUES (?, ?)", (digest.hex, stamp_of(stat)))

    def forget_checked(self, digest: Digest) -> None:
        """The opposite: the blob was hashed, and its file is damaged."""
        with contextlib.suppress(CorruptError, ExhaustedError), self._fresh() as db, db:
            db.execute("DELETE FROM checked WHERE sha256 = ?", (digest.hex,))

    # Soundness

    def checked_at(self, blob: Digest, stamp: str) -> float | None:
        """When all pieces of the plain file of a blob were compared that has this `stamp` now, in
        seconds since 1970; None where they were not.
        """
        with contextlib.suppress(CorruptError), self._fresh() as db:
            rows = db.execute(f"{_SOUND} WHERE sha256 = ? AND stamp = ?", (blob.hex, stamp))
            found = next(_proved(rows), None)
            return None if found is None else float(found[2])
        return None

    def note_sound(self, blob: Digest, stamp: str, when: float) -> None:
        """All pieces of a file were compared, the first of them at `when`."""
        row = (blob.hex, stamp, when)
        with contextlib.suppress(CorruptError, ExhaustedError), self._fresh() as db, db:
            db.execute("INSERT OR REPLACE INTO sound VALUES (?, ?, ?, ?)", (*row, proof(*row)))

    def forget_sound(self, blob: Digest) -> None:
        """The opposite: its file is damaged."""
        with contextlib.suppress(CorruptError, ExhaustedError), self._fresh() as db, db:
            db.execute("DELETE FROM sound WHERE sha256 = ?", (blob.hex,))

    def was_hashed(self, blob: Digest, stamp: str) -> bool:
        """Whether the plain file of a blob had this `stamp` (`forms.stamp_of`) when its bytes were
        hashed.
        """
        with contextlib.suppress(CorruptError):
            found = self.trees_of(blob)
            return any(tree.stamp == stamp and tree.form is Form.PLAIN for tree in found)
        return False

    # Forms

    def cached_form(self, digest: Digest, stamp: str) -> StoredForm | None:
        """The form that was noted for a capsule that has not changed since."""
        with self._fresh() as db:
            rows = db.execute(f"{_FORMS} WHERE sha256 = ? AND stamp = ?", (digest.hex, stamp))
            found = next(_proved(rows), None)
        return None if found is None else _form(*found[2:])

    def cached_forms(self) -> dict[str, tuple[str, StoredForm]]:
        """By sha256, the stamps and forms of all capsules that were noted."""
        with self._fresh() as db:
            rows = _proved(db.execute(_FORMS))
            return {sha256: (stamp, _form(*rest)) for sha256, stamp, *rest in rows}

    def note_form(self, digest: Digest, stamp: str, form: StoredForm) -> None:
        bases = " ".join(f"{base.sha256.hex}:{base.size}" for base in form.bases)
        row = (digest.hex, stamp, form.form.value, form.size, form.stored_bytes, bases)
        with contextlib.suppress(CorruptError, ExhaustedError), self._fresh() as db, db:
            db.execute(
                "INSERT OR REPLACE INTO forms VALUES (?, ?, ?, ?, ?, ?, ?)", (*row, proof(*row))
            )

    def is_unpaying(self, digest: Digest, bases: Iterable[Digest] = ()) -> bool:
        """Whether a capsule was tried for the blob, with these bases, and did not pay."""
        with self._fresh() as db:
            row = db.execute(
                "SELECT tried FROM unpaying WHERE sha256 = ?", (digest.hex,)
            ).fetchone()
        return row is not None and row[0] == _tried(bases)

    def note_unpaying(self, digest: Digest, bases: Iterable[Digest] = ()) -> None:
        with contextlib.suppress(CorruptError, ExhaustedError), self._fresh() as db, db:
            db.execute("INSERT OR REPLACE INTO unpaying VALUES (?, ?)", (digest.hex, _tried(bases)))

    # Trees

    def note_tree(self, digest: Digest, form: Form, stamp: str, tree: Tree) -> None:
        """Notes the tree of the file that holds a blob in a form, in place of what was noted."""
        row = (digest.hex, _kind(form), stamp, tree.size, tree.root.hex, tree.layer)
        with contextlib.suppress(CorruptError, ExhaustedError):
            if self.tree(digest, form, [stamp]) == tree:
                return
            with self._fresh() as db, db:
                db.execute("INSERT OR REPLACE INTO trees VALUES (?, ?, ?, ?, ?, ?)", row)

    def tree(self, digest: Digest, form: Form, stamps: Iterable[str]) -> Tree | None:
        """The tree that was noted with one of the `stamps`, unless the index garbled it."""
        with self._fresh() as db:
            row = db.execute(
                "SELECT stamp, size, root, layer FROM trees WHERE sha256 = ? AND form = ?",
                (digest.hex, _kind(form)),
            ).fetchone()
        if row is None or row[0] not in stamps:
            return None
        try:
            return Tree.checked(row[1], Digest(row[2]), row[3])
        except (MalformedError, TypeError):
            return None

    def trees_of(self, digest: Digest) -> list[NotedTree]:
        """What was noted of a blob's trees, whether or not it counts."""
        return self._trees("sha256 = ?", digest.hex)

    def by_root(self, root: Digest) -> list[NotedTree]:
        """The same of the trees with this root."""
        return self._trees("root = ?", root.hex)

    def _trees(self, where: str, value: str) -> list[NotedTree]:
        query = f"SELECT sha256, form, stamp, size, root FROM trees WHERE {where}"  # noqa: S608
        with self._fresh() as db:
            rows = db.execute(query, (value,)).fetchall()
        return [found for row in rows if (found := _noted(*row)) is not None]

    def forget_trees(self, digests: Iterable[Digest]) -> None:
        """Drops what was noted of blobs that are gone: of a large one it is not small."""
        rows = [(digest.hex,) for digest in digests]
        with contextlib.suppress(CorruptError, ExhaustedError), self._fresh() as db, db:
            db.executemany("DELETE FROM trees WHERE sha256 = ?", rows)

    def uses(self, digests: Iterable[Digest]) -> list[tuple[Digest, Digest]]:
        """Each file of a manifest that is one of these blobs: the manifest, and the blob."""
        names = json.dumps([digest.hex for digest in digests])
        with self._fresh() as db:
            rows = db.execute(
                "SELECT digest, sha256 FROM files JOIN manifests ON id = manifest"
                " WHERE sha256 IN (SELECT value FROM json_each(?))",
                (names,),
            )
            return [(Digest(manifest), Digest(blob)) for manifest, blob in rows]


def _unusable(reason: str) -> CorruptError:
    return CorruptError(
        f"the index cannot be used: {reason}", hint="run 'outlast doctor --rebuild'"
    )


def _file(entry: FileEntry) -> tuple[object, ...]:
    return entry.key, entry.size, _hex(entry.git_sha1), _hex(entry.merkle_root)


def _proved(rows: Iterable[tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
    """The rows whose last column is the checksum of the others, without it."""
    return (row[:-1] for row in rows if row[-1] == proof(*row[:-1]))


def _kind(form: Form) -> str:
    """A delta capsule is a capsule for a caller that looks for the file."""
    return (Form.PLAIN if form is Form.PLAIN else Form.CAPSULE).value


def _noted(blob: str, form: str, stamp: str, size: int, root: str) -> NotedTree | None:
    try:
        return NotedTree(Digest(blob), Form(form), stamp, int(size), Digest(root))
    except (MalformedError, ValueError, TypeError):  # garbled
        return None


def _form(form: str, size: int, stored: int, bases: str) -> StoredForm:
    pairs = (pair.split(":") for pair in bases.split())
    return StoredForm(
        Form(form), size, stored, tuple(BaseRef(Digest(name), int(size)) for name, size in pairs)
    )


def _tried(bases: Iterable[Digest]) -> str:
    """What an attempt depends on: the version of the codec, and the bases it could have."""
    return " ".join([str(VERSION), *(base.hex for base in bases)])


def load_manifest(layout: Layout, digest: Digest) -> Revision:
    """Reads a manifest and checks it against its own name."""
    path = layout.manifest(digest)
    data = path.read_bytes()
    if Digest.of(data) != digest:
        raise CorruptError(f"the manifest {path} is damaged: its sha256 is not its name")
    return Revision.from_bytes(data)


def _hex(value: Digest | GitOid | None) -> str | None:
    return None if value is None else value.hex
