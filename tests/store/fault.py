"""A stand-in for the `os` that the store sees: it counts what changes the disk, fails at a chosen
step as a dying process, a full disk or a lost plug would, and knows what was synced.
"""

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator
from enum import Enum
from pathlib import Path
from typing import Any
from unittest.mock import patch

from outlast.store import (
    archive,
    collect,
    disk,
    encoding,
    forms,
    layout,
    partials,
    reading,
    writer,
)
from outlast.store.garbage import census, trash
from outlast.store.records import drafts, records, refs, set_aside

_MODULES = (
    archive,
    census,
    collect,
    disk,
    drafts,
    encoding,
    forms,
    layout,
    partials,
    reading,
    records,
    refs,
    set_aside,
    trash,
    writer,
)
_CHANGES = frozenset(
    [
        "chmod",
        "fchmod",
        "fsync",
        "ftruncate",
        "link",
        "mkdir",
        "pwrite",
        "rename",
        "rmdir",
        "unlink",
        "write",
    ]
)
TEARABLE = frozenset(["write", "pwrite", "rmtree"])
"""Steps of which a part can reach the disk."""


class Crash(BaseException):
    """The process died here."""


class When(Enum):
    """Which part of the last step reached the disk."""

    BEFORE = "before"
    TORN = "torn"
    AFTER = "after"


class FaultyOs:
    """`os`, except that step number `fuse` (from 0) of those that change the disk is the last."""

    def __init__(
        self,
        fuse: int | None = None,
        when: When = When.BEFORE,
        *,
        hook: Callable[[int, str], None] | None = None,
        sync: bool = False,
    ) -> None:
        self.fuse = fuse
        self.when = when
        self.steps: list[str] = []
        self.dead = False
        self.fds: set[int] = set()
        self._hook = hook
        self._sync = sync

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def open(self, path: Any, flags: int, mode: int = 0o777) -> int:
        if flags & os.O_CREAT:
            fd = int(self._step("open", self._open, path, flags, mode))
        else:
            fd = os.open(path, flags, mode)
        self.fds.add(fd)
        return fd

    def _open(self, path: Any, flags: int, mode: int) -> int:
        fd = os.open(path, flags, mode)
        self.fds.add(fd)
        return fd

    def close(self, fd: int) -> None:
        self.fds.discard(fd)
        os.close(fd)

    def rmtree(self, path: Path, *, ignore_errors: bool = False) -> None:
        self._step("rmtree", shutil.rmtree, path, ignore_errors)

    def _step(self, name: str, real: Callable[..., Any], *args: Any) -> Any:
        if self.dead:
            raise Crash
        if self._hook is not None:
            self._hook(len(self.steps), name)
        self.steps.append(name)
        if len(self.steps) - 1 != self.fuse:
            return real(*args)
        self.dead = True
        if self.when is When.AFTER:
            real(*args)
        elif self.when is When.TORN:
            _tear(name, real, args)
        raise Crash


def _tear(name: str, real: Callable[..., Any], args: tuple[Any, ...]) -> None:
    if name != "rmtree" and name in TEARABLE:
        fd, data, *rest = args
        real(fd, data[: len(data) // 2], *rest)
    elif name in TEARABLE:
        for path in sorted(args[0].iterdir())[:1]:
            path.unlink()


def _changing(name: str) -> Callable[..., Any]:
    def step(self: FaultyOs, *args: Any) -> Any:
        real = getattr(os, name)
        if name == "fsync" and not self._sync:
            real = int  # anything that has no effect
        return self._step(name, real, *args)

    return step


for _name in _CHANGES:
    setattr(FaultyOs, _name, _changing(_name))


@contextlib.contextmanager
def seeing(fake: FaultyOs) -> Iterator[FaultyOs]:
    """The store sees `fake` in place of `os` (and of `shutil`)."""
    with contextlib.ExitStack() as stack:
        for module in _MODULES:
            for name in ("os", "shutil"):
                if hasattr(module, name):
                    stack.enter_context(patch.object(module, name, fake))
        yield fake


def die(*writers: writer.WriteSession, seen: FaultyOs | None = None) -> None:
    """What the kernel does for a process that ended: closes its files. Nothing else."""
    fds = {fd for each in writers for fd in (each._leases, each._lock)}
    for fd in fds | (seen.fds if seen is not None else set()):
        with contextlib.suppress(OSError):  # closed already, on the way out
            os.close(fd)
