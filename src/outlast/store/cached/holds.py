"""Who reads or fetches a cached revision now: a shared lock on its mark, which dies with its
process. Who drops one takes the same lock exclusively, and does not wait for it.
"""

import contextlib
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from outlast.core.closing import Closing
from outlast.core.digest import GitOid
from outlast.core.names import RepoId
from outlast.store import disk, locks
from outlast.store.cached.marks import CachedMarks, Key


@dataclass(slots=True)
class _SharedMark:
    fd: int
    users: int = 0


class Holds:
    """The revisions that this process holds, each with one descriptor. Thread-safe."""

    def __init__(self, marks: CachedMarks, lock: Path) -> None:
        """`lock` is that of the archive."""
        self._marks = marks
        self._archive_lock = lock
        self._mutex = threading.Lock()
        self._open: dict[Key, _SharedMark] = {}

    def use(self) -> "HeldRevisions":
        """For one request or fetch; close it at its end."""
        return HeldRevisions(self)

    @disk.reported
    def take(self, key: Key) -> bool:
        """Keeps a revision from being dropped; False, and nothing is held, where it has no mark."""
        with self._mutex:
            known = self._open.get(key)
            if known is None:
                fd = self._shared(self._marks.path(*key))
                if fd is None:
                    return False
                known = self._open[key] = _SharedMark(fd)
            known.users += 1
            return True

    def give_back(self, key: Key) -> None:
        with self._mutex:
            known = self._open[key]
            known.users -= 1
            if not known.users:
                os.close(self._open.pop(key).fd)

    def _shared(self, path: Path) -> int | None:
        """The mark at `path`, open and locked; None where there is none, or it just went."""
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        try:
            locks.share(fd, self._archive_lock)
            if os.path.samestat(os.fstat(fd), os.stat(path)):
                return fd
        except FileNotFoundError:
            pass
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)
        return None

    @contextlib.contextmanager
    def alone(self, key: Key) -> Iterator[bool]:
        """While the block runs no other takes the revision; False where another has it, here or in
        another process, or it has no mark.
        """
        path = self._marks.path(*key)
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            yield False
            return
        except OSError as error:
            raise disk.storage_error(error, path) from error
        try:
            yield locks.try_lock(fd, self._archive_lock)
        finally:
            os.close(fd)


class HeldRevisions(Closing):
    """What one request or fetch holds. It may be closed while a thread still adds to it: then that
    is given back at once.
    """

    def __init__(self, holds: Holds) -> None:
        self._holds = holds
        self._mutex = threading.Lock()
        self._keys: set[Key] = set()
        self._closed = False

    def add(self, repo: RepoId, commit: GitOid) -> bool:
        """Whether the revision is held; False where it has no mark."""
        key = repo, commit
        with self._mutex:
            if key in self._keys:
                return True
            if self._closed or not self._holds.take(key):
                return False
            self._keys.add(key)
            return True

    def close(self) -> None:
        with self._mutex:
            self._closed = True
            for key in self._keys:
                self._holds.give_back(key)
            self._keys.clear()
