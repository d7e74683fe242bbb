"""Durable file operations, and what an operating system's refusals mean to a user.

A write is: temp file, fsync, rename, fsync of the folder. After that, and not before, it is
acknowledged. Every change that the store makes to a disk goes through this module.
"""

import contextlib
import errno
import fcntl
import fnmatch
import functools
import hashlib
import logging
import os
import shutil
import stat
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final, ParamSpec, TypeVar

from outlast.core.descriptors import is_exhausted
from outlast.core.errors import DiskFullError, ExhaustedError, OutlastError, StorageError
from outlast.store import locks

_log = logging.getLogger(__name__)

READ_ONLY = 0o444
PRIVATE = 0o600
_SYNC_EVERY = 256 << 20
_TURN = 0.1
"""Seconds between two looks whether it is our turn."""
WRITE: Final = 64 << 10
"""Bytes of one write of a large file. Linux gives a longer one longer pieces of memory, which a
virtual machine may not have yet: 500 MB took 0.45 to 0.97 s of the system's time in writes of
1 MiB, 0.3 to 0.58 in those of 256 KiB, 0.12 to 0.21 in these."""
P = ParamSpec("P")
T = TypeVar("T")
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
"""What the system says of itself at this moment, and not of a file."""
_NO_FOLDER_SYNC = {
    errno.EINVAL,
    errno.EBADF,
    errno.EACCES,
    errno.ENOSYS,
    errno.EOPNOTSUPP,
    errno.ENOTSUP,
}
_NO_MODES = {errno.EPERM, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP}
NO_LINKS = {errno.EPERM, errno.EMLINK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP}
"""What a file system says that cannot give a file a second name."""


@contextlib.contextmanager
def reporting(path: Path) -> Iterator[None]:
    """Turns an OSError about `path` into an error that says what to do."""
    try:
        yield
    except OSError as error:
        raise storage_error(error, path) from error


def reported(work: Callable[P, T]) -> Callable[P, T]:
    """Decorates a function so that the OSErrors it raises say what to do."""

    @functools.wraps(work)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return work(*args, **kwargs)
        except OSError as error:
            raise storage_error(error, "the archive") from error

    return wrapper


def storage_error(error: OSError, path: Path | str) -> OutlastError:
    """What an error about `path` means: the disk, or that open files or memory are short, which
    says nothing of the file.
    """
    reason = error.strerror or str(error)
    where = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else path
    if error.errno == errno.EXDEV:
        return StorageError(
            f"{where}: {reason}",
            hint="all folders of an archive must be on one file system ('outlast doctor' checks)",
        )
    if error.errno in FULL:
        return DiskFullError(f"no room left while writing {where}: {reason}")
    if is_exhausted(error):
        return ExhaustedError(f"{where}: {reason}")
    return StorageError(f"{where}: {reason}")


def write_all(fd: int, data: bytes | bytearray | memoryview, offset: int) -> None:
    """Writes all of `data` at `offset`, however little the kernel takes at a time."""
    view = memoryview(data)
    while view:
        count = os.pwrite(fd, view[:WRITE], offset)
        offset += count
        view = view[count:]


def append_all(fd: int, data: bytes | memoryview) -> None:
    """Appends all of `data`, a line or another record, in one write where the kernel allows it."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def append_long(fd: int, data: bytes | memoryview) -> None:
    """Appends all of `data`, a stretch of a large file, in writes of `WRITE` bytes."""
    view = memoryview(data)
    for at in range(0, len(view), WRITE):
        append_all(fd, view[at : at + WRITE])


def read_exactly(fd: int, buffer: memoryview, offset: int) -> bool:
    """Fills `buffer` from `offset`; False where the file ends before that."""
    while buffer:
        count = os.preadv(fd, [buffer], offset)
        if count == 0:
            return False
        offset += count
        buffer = buffer[count:]
    return True


def read_plain(path: Path, limit: int) -> bytes | None:
    """The first `limit` bytes of a file; None where there is none, or it is no plain file: a pipe
    would be waited for.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        if error.errno in {errno.ENXIO, errno.ELOOP}:  # a socket, or links in a circle
            return None
        raise
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        return None
    with open(fd, "rb") as file:
        return file.read(limit)


def fsync(fd: int) -> None:
    """Waits until the bytes of `fd` are on the disk itself."""
    full = getattr(fcntl, "F_FULLFSYNC", None)  # macOS: a plain fsync stops at the drive's cache
    if full is not None:
        with contextlib.suppress(OSError):
            fcntl.fcntl(fd, full)
            return
    os.fsync(fd)


def fsync_dir(path: Path) -> None:
    """Waits until the names in a folder are on the disk itself, where its file system can."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    except OSError as error:
        if error.errno not in _NO_FOLDER_SYNC:
            raise
        _log.debug("%s cannot be synced: %s", path, error.strerror)
    finally:
        os.close(fd)


def set_mode(file: int | Path, mode: int) -> None:
    """Changes the mode of a file that this process made; not where the file system has none."""
    try:
        if isinstance(file, int):
            os.fchmod(file, mode)
        else:
            os.chmod(file, mode)
    except OSError as error:
        if error.errno not in _NO_MODES:
            raise
        _log.debug("the mode of %s stays: %s", file, error.strerror)


def link_or_copy(path: Path, new: Path) -> None:
    """A second name for a file; a copy of it, synced, where the file system has no hard links."""
    try:
        os.link(path, new)
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        shutil.copyfile(path, new)
        fd = os.open(new, os.O_RDONLY | os.O_CLOEXEC)
        try:
            fsync(fd)
        finally:
            os.close(fd)


_durable: set[Path] = set()
"""Folders that this process knows to be on the disk itself."""


def make_dir(path: Path) -> None:
    """Creates `path` and its parents durably. A folder that exists may be from a process
    that died before it was synced, so each process syncs its parent once.
    """
    if path in _durable and path.is_dir():
        return
    if not path.is_dir():
        make_dir(path.parent)
        with contextlib.suppress(FileExistsError):
            os.mkdir(path)
    with contextlib.suppress(PermissionError):  # not ours to sync, so not ours to have made
        fsync_dir(path.parent)
    _durable.add(path)


def write_temp(path: Path, data: bytes | bytearray, mode: int, *, sync: bool = True) -> None:
    """A new file with `data`, on the disk but not yet under its final name; without `sync` it is
    on its way there.
    """
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE)
    try:
        write_all(fd, data, 0)
        set_mode(fd, mode)
        if sync:
            fsync(fd)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(path)  # on a full disk its room is needed at once
        raise
    finally:
        os.close(fd)


def write_chunks(path: Path, chunks: Iterable[memoryview]) -> str:
    """A new read-only file with `chunks`, on the disk but not yet under its final name; returns
    its sha256 in hex.
    """
    hasher = hashlib.sha256()
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE)
    try:
        unsynced = 0
        for chunk in chunks:
            append_long(fd, chunk)
            hasher.update(chunk)
            unsynced += len(chunk)
            if unsynced >= _SYNC_EVERY:
                unsynced = 0
                fsync(fd)  # the disk works while we decode
        set_mode(fd, READ_ONLY)
        fsync(fd)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(path)
        raise
    finally:
        os.close(fd)
    return hasher.hexdigest()


def sync_all(paths: Iterable[Path]) -> None:
    """Waits until the bytes of these files are on the disk itself."""
    for path in paths:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            fsync(fd)
        finally:
            os.close(fd)


def publish(temp: Path, final: Path) -> None:
    """Gives a synced temp file its final name. Afterwards the file is acknowledged."""
    _rename(temp, final)
    fsync_dir(final.parent)


def publish_all(files: Iterable[tuple[Path, Path]]) -> None:
    """The same for many, as `(temp, final)`: each folder is synced once."""
    folders = dict[Path, None]()
    for temp, final in files:
        _rename(temp, final)
        folders[final.parent] = None
    for folder in folders:
        fsync_dir(folder)


def _rename(temp: Path, final: Path) -> None:
    for last in (False, False, True):
        make_dir(final.parent)
        try:
            os.rename(temp, final)
            break
        except FileNotFoundError:  # another process tidied the empty folder away
            if last or not temp.exists():
                raise


def publish_new(temp: Path, final: Path) -> bool | None:
    """Like `publish`, but leaves a file alone that is there already; whether it was not. None, and
    nothing is changed, where the file system has no hard links.
    """
    make_dir(final.parent)
    try:
        os.link(temp, final)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        return None
    os.unlink(temp)
    fsync_dir(final.parent)
    return True


def remove(path: Path) -> bool:
    """Deletes a file; False where there was none."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        return False
    return True


def remove_durably(path: Path) -> bool:
    """The same, and no power cut brings it back: for what must be gone before something else is."""
    gone = remove(path)
    if gone:
        with contextlib.suppress(FileNotFoundError):  # another process tidied the folder away
            fsync_dir(path.parent)
    return gone


def move(path: Path, final: Path) -> None:
    """Gives a file another name, which must be free, in a folder that is made if need be."""
    make_dir(final.parent)
    os.rename(path, final)


def is_named(path: Path) -> bool:
    """Whether something is called so, also what cannot be read: a link that leads nowhere, a file
    in a folder that may not be looked into. False only where that is sure.
    """
    try:
        os.lstat(path)
    except FileNotFoundError:
        return path.parent.is_symlink() and not os.path.exists(path.parent)
    except OSError:
        return True
    return True


def listed(folder: Path) -> list[str]:
    """The names in a folder, sorted; none where there is no such folder. What cannot be listed is
    an error: it is not empty.
    """
    with reporting(folder):
        try:
            return sorted(os.listdir(folder))
        except FileNotFoundError:
            return []


def remove_tree(folder: Path) -> None:
    """Deletes a folder and all that is in it; what cannot be deleted is an error."""
    with reporting(folder), contextlib.suppress(FileNotFoundError):
        shutil.rmtree(folder)


def matching(root: Path, *patterns: str) -> list[Path]:
    """What is below `root`, as many levels deep as there are patterns, each for the names of its
    level; sorted. Other processes may delete folders meanwhile: these count as empty.
    """
    found = [root]
    for pattern in patterns:
        found = [path / name for path in found for name in fnmatch.filter(_names(path), pattern)]
    return sorted(found)


def _names(folder: Path) -> list[str]:
    with reporting(folder), contextlib.suppress(FileNotFoundError, NotADirectoryError):
        return os.listdir(folder)
    return []


def stamped(root: Path | str, depth: int = 1) -> Iterator[tuple[str, int]]:
    """The folders that are `depth` levels below `root`, in no order, and when something was put
    into each or removed from it, in nanoseconds since 1970; none where there is no `root`.
    """
    try:
        entries = list(os.scandir(root))
    except (FileNotFoundError, NotADirectoryError):
        return
    for entry in entries:
        if depth > 1:
            yield from stamped(entry.path, depth - 1)
        elif entry.is_dir():
            with contextlib.suppress(FileNotFoundError):
                yield entry.path, entry.stat().st_mtime_ns


def touch(folder: Path) -> None:
    """Gives a folder the time of now, to the nanosecond: who watches it learns that something below
    it changed without looking at all of it. Not durable, and no error where it cannot be done.
    """
    now = time.time_ns()
    with contextlib.suppress(OSError):
        os.utime(folder, ns=(now, now))


def remove_empty_parents(path: Path, stop: Path) -> None:
    """Deletes the empty folders above `path`, up to but not including `stop`."""
    parent = path.parent
    while parent != stop and stop in parent.parents:
        try:
            os.rmdir(parent)
        except OSError:
            return
        parent = parent.parent


def space_of(stat: os.stat_result) -> int:
    """Bytes of the disk that a file takes, as ``du`` counts: whole blocks, and no holes."""
    return stat.st_blocks * 512  # the unit of stat(2), whatever the block of the file system


def space_used(root: Path) -> int:
    """Bytes of the disk that `root` and all below it take, as ``du -s`` counts: folders too, and
    each file once however many names it has. What vanishes meanwhile or may not be read is left
    out.
    """
    total, twins, todo = 0, set[tuple[int, int]](), [os.fspath(root)]
    with contextlib.suppress(OSError):
        total = space_of(os.lstat(root))
    while todo:
        with contextlib.suppress(OSError), os.scandir(todo.pop()) as entries:
            for entry in entries:
                with contextlib.suppress(OSError):
                    stat = entry.stat(follow_symlinks=False)
                    if entry.is_dir(follow_symlinks=False):
                        todo.append(entry.path)
                    elif stat.st_nlink > 1:
                        if (stat.st_dev, stat.st_ino) in twins:
                            continue
                        twins.add((stat.st_dev, stat.st_ino))
                    total += space_of(stat)
    return total


_UNKNOWN: Final = 1 << 60
"""Bytes, in place of what a file system does not know."""


def free_bytes(path: Path) -> int:
    """Bytes that this user can still write on the file system of `path`. Some network mounts say
    that they have no blocks at all, because they do not know: then there is no bound.
    """
    stats = os.statvfs(path)
    return stats.f_bavail * stats.f_frsize if stats.f_blocks else _UNKNOWN


def total_bytes(path: Path) -> int:
    """Bytes of the file system of `path`, for files of this user."""
    stats = os.statvfs(path)
    return (stats.f_blocks - stats.f_bfree + stats.f_bavail) * stats.f_frsize


@contextlib.contextmanager
def turn(path: Path, wait: Callable[[float], object]) -> Iterator[None]:
    """One process after the other: for work that takes long, as what the network does. Holds the
    lock on the file `path`, and no other one. `wait` gets the seconds until the next try, and may
    raise. Where locks keep no process out there are no turns.
    """
    with reporting(path):
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        while not locks.try_lock(fd, path):
            wait(_TURN)
        yield
    finally:
        os.close(fd)


@contextlib.contextmanager
def locked(path: Path, *, exclusive: bool) -> Iterator[None]:
    """Holds an advisory lock on the file `path`, between threads and processes alike."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        with locks.held(fd, path, exclusive=exclusive):
            yield
    finally:
        os.close(fd)
