"""Which process a reservation belongs to, and whether it still runs.

A process holds a lock (flock) on a file of its own: the kernel drops that when the process ends,
however it ends, also in another container, and a number that another process gets later deceives
nothing. Where the file system has no locks, the boot, the number of the process and its start
decide.
"""

import contextlib
import fcntl
import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from outlast.store import disk, locks

FOLDER: Final = "running"
_BOOT: Final = Path("/proc/sys/kernel/random/boot_id")
_START: Final = 19
"""Where the start stands in ``/proc/PID/stat``, after the name: in ticks since the boot."""


@dataclass(frozen=True, slots=True)
class ProcessMark:
    """What tells a process from all others. `started`: in ticks since the boot; "" where the system
    does not say it.
    """

    token: str
    boot: str
    pid: int
    started: str


class OwnerLock:
    """The lock of this process in the accounts' folder. A process that is forked off does not keep
    it. Close it when nothing is reserved any more.
    """

    def __init__(self, folder: Path) -> None:
        self._folder: Final = folder / FOLDER
        self.mark: Final = ProcessMark(
            secrets.token_hex(16), boot_id(), os.getpid(), _started(os.getpid())
        )
        self._path: Final = self._folder / self.mark.token
        with disk.reporting(self._path):
            disk.make_dir(self._folder)
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            self._fd: int | None = os.open(self._path, flags, disk.PRIVATE)
        with contextlib.suppress(OSError):  # no locks here: the mark decides
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.register_at_fork(after_in_child=self._drop)

    def close(self) -> None:
        """Removes the lock, once."""
        if self._fd is not None:
            disk.remove(self._path)
            self._drop()

    def _drop(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def is_gone(folder: Path, mark: ProcessMark) -> bool:
    """Whether the process of `mark` has ended. False wherever that is not sure."""
    path = folder / FOLDER / mark.token
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return True  # it is made before, and removed after, all that it covers
    except OSError:
        return False
    try:
        if locks.fault(folder / FOLDER / ".probe"):
            return _is_gone_by_number(mark)
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(fd)
    return True


def forget(folder: Path, mark: ProcessMark) -> None:
    """Removes what a process that is gone left."""
    with contextlib.suppress(OSError):
        disk.remove(folder / FOLDER / mark.token)


def boot_id() -> str:
    """Which start of the system this is; "" where it does not say."""
    with contextlib.suppress(OSError):
        return _BOOT.read_text("ascii", "replace").strip()
    return ""


def _is_gone_by_number(mark: ProcessMark) -> bool:
    if mark.boot and mark.boot != boot_id():
        return True
    try:
        os.kill(mark.pid, 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return bool(mark.started) and _started(mark.pid) != mark.started


def _started(pid: int) -> str:
    with contextlib.suppress(OSError, IndexError):
        text = Path(f"/proc/{pid}/stat").read_text("ascii", "replace")
        return text.rpartition(")")[2].split()[_START]
    return ""
