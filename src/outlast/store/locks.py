"""Advisory locks, and file systems that have none, or on which they hold nothing back.

Some file systems refuse flock(2), some grant it to everybody, and on some network mounts it counts
on one machine only. So the first use of an archive's lock tries it out: while one open file holds
it, another must not get it. Where that fails, `fault` says why, and nothing may be deleted because
"no process holds it". Threads of one process keep each other out all the same.
"""

import contextlib
import errno
import fcntl
import logging
import os
import threading
import time
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Final

_log = logging.getLogger(__name__)

_MISSING: Final = frozenset(
    {errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL}
)
_MOUNTS: Final = Path("/proc/self/mountinfo")
_LOCAL: Final = frozenset({"nolock", "local_lock=all", "local_lock=flock"})


class Locking(Enum):
    """What the locks of a file system are worth; the value says it to a person."""

    WORKING = ""
    MISSING = "the file system has no locks (flock)"
    VOID = "the file system grants a lock (flock) to two processes at once"
    LOCAL = "locks count on this machine only (NFS mounted with nolock or local_lock)"


_found: dict[Path, Locking] = {}
_threads: Final = threading.RLock()
"""In place of the locks of a file system that has none; shared ones exclude each other as well."""


def forget(path: Path) -> None:
    """The next use of the lock at `path` tries it out again: another file system may be mounted."""
    _found.pop(path, None)


def fault(path: Path) -> str:
    """Why a lock on the file `path` does not keep other processes out; empty where it does. The
    file is made where it is not there. Raises :class:`OSError`.
    """
    return _locking(path).value


def _locking(path: Path) -> Locking:
    found = _found.get(path)
    if found is None:
        found = _found[path] = probe(path)
        if found is not Locking.WORKING:
            _log.warning("%s: %s", path, found.value)
    return found


def probe(path: Path) -> Locking:
    """Tries out locks on the file `path`. It never waits. That another process holds the lock at
    the moment shows that locks work. Raises :class:`OSError`.
    """
    with _opened(path) as one, _opened(path) as other:
        try:
            if _try(one, fcntl.LOCK_EX) and _try(other, fcntl.LOCK_SH):
                return Locking.VOID
        except OSError as error:
            if error.errno in _MISSING:
                return Locking.MISSING
            raise
        return Locking.LOCAL if _is_local(os.fstat(one).st_dev) else Locking.WORKING


def has_ranges(path: Path) -> bool:
    """Whether the file system has locks on parts of files (fcntl). SQLite opens no file without
    them: it takes a refusal for another process, and waits for that. `path` is a file for locks
    alone. Raises :class:`OSError`.
    """
    if _locking(path) is not Locking.MISSING:
        return True
    with _opened(path) as fd:
        try:
            fcntl.lockf(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError as error:
            if error.errno in _MISSING:
                return False
            raise
    return True


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[int]:
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        yield fd
    finally:
        os.close(fd)


def _try(fd: int, kind: int) -> bool:
    try:
        fcntl.flock(fd, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_local(device: int) -> bool:
    """Whether this is a network mount whose locks the server does not hear of."""
    number = f"{os.major(device)}:{os.minor(device)}"
    with contextlib.suppress(OSError):  # not Linux
        for line in _MOUNTS.read_text("utf-8", "surrogateescape").splitlines():
            mount, _, rest = line.partition(" - ")
            if mount.split()[2:3] == [number] and rest.startswith("nfs"):
                return not _LOCAL.isdisjoint(rest.split()[-1].split(","))
    return False


@contextlib.contextmanager
def held(fd: int, path: Path, *, exclusive: bool) -> Iterator[None]:
    """Holds the lock of the open file `fd`, which is at `path`, until `fd` is closed; waits for it.
    Where the file system's locks keep no process out, threads of this process wait all the same.
    """
    if _locking(path) in {Locking.MISSING, Locking.VOID}:
        with _threads:
            yield
        return
    kind = fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH
    if not _try(fd, kind):
        started = time.monotonic()
        fcntl.flock(fd, kind)
        waited = time.monotonic() - started
        _log.debug("waited %.3f s for the lock %s, which another held", waited, path)
    yield


def try_lock(fd: int, archive_lock: Path) -> bool:
    """Takes an exclusive lock on `fd`, a file of the archive with this lock; False where another
    holds it. Where locks keep no process out it always succeeds: ask `fault` before you conclude
    that no process has the file.
    """
    if _locking(archive_lock) in {Locking.MISSING, Locking.VOID}:
        return True
    return _try(fd, fcntl.LOCK_EX)


def share(fd: int, archive_lock: Path) -> None:
    """Takes a shared lock on `fd`, a file of the archive with this lock, until `fd` is closed;
    waits while another holds it exclusively. Where there are no locks, nothing is taken.
    """
    if _locking(archive_lock) is not Locking.MISSING:
        fcntl.flock(fd, fcntl.LOCK_SH)


def own_name(path: Path) -> Path:
    """A name beside `path` that no other process uses, with the same suffix: for what a lock would
    keep for one process. What is at `path` is moved there; `give_back` is for the way back.
    """
    own = path.with_name(f"{path.stem}~{os.getpid()}-{os.urandom(6).hex()}{path.suffix}")
    with contextlib.suppress(FileNotFoundError):
        os.rename(path, own)  # of several processes one succeeds
    return own
