"""Commands whose disk, clock and locks a test has in its hand: `seam.c` has the other side.

Every change that a command makes below one folder is seen, be it made by Python, SQLite or native
code. `start` begins a command, `Controls` are the numbers that rule it, also while it runs.
"""

import atexit
import ctypes
import functools
import mmap
import os
import shutil
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Self

import pytest

from outlast.__main__ import run
from tests.cli.call import environment
from tests.net.program import Start
from tests.warm import Child, Forker, Order

_SOURCE = Path(__file__).with_name("seam.c")
_FIELDS = ("count", "die_at", "moment", "error", "kinds", "begin", "times", "shift", "locks")
_ARMED = "tests.faults.seam:armed"
_NUMBER = struct.Struct("q")
_RECORD = struct.Struct("6q")
SECOND = 1_000_000_000
"""Nanoseconds."""
GRANTED = -1
"""For `Controls.locks`: a lock is granted to everybody."""


class Kind(IntEnum):
    """Of calls, as `seam.c` numbers them."""

    OPEN = 0
    WRITE = 1
    TRUNCATE = 2
    SYNC = 3
    RENAME = 4
    LINK = 5
    SYMLINK = 6
    UNLINK = 7
    MKDIR = 8
    RMDIR = 9
    MODE = 10
    SAID = 11
    READ = 12


class Moment(IntEnum):
    """When a command dies: before the change, half through it (of a write), or after it."""

    BEFORE = 0
    TORN = 1
    AFTER = 2


CHANGES = tuple(kind for kind in Kind if kind not in {Kind.SAID, Kind.READ})
GROWS = (Kind.OPEN, Kind.WRITE, Kind.TRUNCATE, Kind.LINK, Kind.SYMLINK, Kind.MKDIR)
"""What takes room on a disk, or an entry of a quota."""


class Controls:
    """The numbers that rule a command, in a file that both sides have mapped. `count` is how many
    changes there were; `die_at` the one to die at, `moment` when. Calls of `kinds` fail with
    `error` from change `begin` on, `times` of them (-1: all). The clock is `shift` nanoseconds
    ahead. `locks` is the errno that flock fails with, or `GRANTED`.
    """

    def __init__(self, path: Path, *, anew: bool = True) -> None:
        """`anew`: all are 0 at first; else they are what another process has set."""
        self.path = path
        if anew:
            path.write_bytes(bytes(_NUMBER.size * len(_FIELDS)))
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), 0)

    def get(self, name: str) -> int:
        (value,) = _NUMBER.unpack_from(self._map, _NUMBER.size * _FIELDS.index(name))
        return int(value)

    def set(self, **values: int) -> Self:
        for name, value in values.items():
            _NUMBER.pack_into(self._map, _NUMBER.size * _FIELDS.index(name), value)
        return self

    def die(self, number: int, moment: Moment) -> Self:
        """The command dies at this change (from 1)."""
        return self.set(die_at=number, moment=moment)

    def fail(self, error: int, *kinds: Kind, begin: int = 0, times: int = -1) -> Self:
        """Calls of these kinds fail with `error`: `times` of them, from change `begin` on."""
        return self.set(
            error=error, kinds=sum(1 << kind for kind in kinds), begin=begin, times=times
        )

    def mend(self) -> Self:
        """From now on all calls work."""
        return self.set(error=0)

    def forget(self) -> None:
        self._map.close()


@dataclass(frozen=True, slots=True)
class Record:
    """One thing that a command did to the disk, or said on stdout. `inode` is that of an open file,
    `at` an offset, a size, or (of OPEN) whether the file was emptied; `first` and `second` are
    paths, or `first` is bytes.
    """

    kind: Kind
    inode: int
    at: int
    mode: int
    first: bytes
    second: bytes


def read_records(path: Path) -> list[Record]:
    """What `start` had written to a log."""
    data, found, place = path.read_bytes(), [], 0
    while place < len(data):
        kind, inode, at, mode, *sizes = _RECORD.unpack_from(data, place)
        place += _RECORD.size
        parts = []
        for size in sizes:
            parts.append(data[place : place + size])
            place += size
        found.append(Record(Kind(kind), inode, at, mode, *parts))
    return found


@functools.cache
def library() -> Path:
    """The compiled `seam.c`. Skips the test where it cannot be had."""
    compiler = shutil.which("cc")
    if sys.platform != "linux" or compiler is None:
        pytest.skip("needs Linux and a C compiler")
    folder = Path(tempfile.mkdtemp(prefix="outlast-seam-"))
    atexit.register(shutil.rmtree, folder)
    made = folder / "seam.so"
    command = [compiler, "-O1", "-fPIC", "-shared", "-o", str(made), str(_SOURCE), "-ldl"]
    subprocess.run(command, check=True)
    return made


@functools.cache
def _forker() -> Forker:
    forker = Forker({"LD_PRELOAD": str(library())})
    atexit.register(forker.close)
    return forker


def start(
    arguments: Sequence[str | Path],
    home: Path,
    controls: Controls,
    *,
    log: Path | None = None,
    env: Mapping[str, str] | None = None,
) -> Child:
    """Starts a command whose user's home is `home`, and which is ruled below it; `log` gets what it
    does, for `read_records`.
    """
    words = [str(argument) for argument in arguments]
    own = environment(home, **(env or {}))
    return _forker().start(Order(words, own, run=_ARMED, given=_given(home, controls, log)))


def started_by(home: Path, controls: Controls) -> Callable[[str, Start], Child]:
    """How a machine of a lab (`tests.net`) starts commands that are ruled below `home`."""

    def launch(namespace: str, about: Start) -> Child:
        words = [str(word) for word in about.command]
        given = _given(home, controls, None)
        order = Order(words, about.env, str(about.folder), _ARMED, given, namespace)
        return _forker().start(order, about.out, about.err)

    return launch


def _given(home: Path, controls: Controls, log: Path | None) -> list[str]:
    return [str(library()), str(home), str(controls.path), str(log or "")]


def armed(path: str, folder: str, controls: str, log: str) -> None:
    """Runs the command of ``sys.argv`` under its controls: in the process that was forked."""
    given = [os.fsencode(text) for text in (folder, controls, log)]
    failed = ctypes.CDLL(path).seam_arm(*given)
    assert failed == 0, os.strerror(failed)
    run()
