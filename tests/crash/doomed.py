"""Kills this process with SIGKILL at its N-th change of the disk."""

import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from outlast.__main__ import run

_CHANGES = """
    chmod fchmod fsync ftruncate link mkdir pwrite rename replace rmdir symlink unlink write
""".split()  # noqa: SIM905
_WRITES = {"write", "pwrite"}


class Fuse:
    """Counts changes, and ends the process at the one that was chosen."""

    def __init__(self, number: int, moment: str) -> None:
        self.count = 0
        self._number = number
        self._moment = moment
        self._lock = threading.Lock()

    def burn(self) -> bool:
        with self._lock:
            self.count += 1
            return self.count == self._number

    def wrap(self, name: str) -> Callable[..., Any]:
        real = getattr(os, name)

        def change(*args: Any, **more: Any) -> Any:
            if not self.burn():
                return real(*args, **more)
            if self._moment == "after":
                real(*args, **more)
            elif self._moment == "torn" and name in _WRITES:
                fd, data, *rest = args
                real(fd, data[: len(data) // 2], *rest)
            os.kill(os.getpid(), signal.SIGKILL)
            return signal.pause()

        return change

    def wrap_open(self) -> Callable[..., int]:
        real = os.open

        def change(path: Any, flags: int, *args: Any, **more: Any) -> int:
            if flags & os.O_CREAT and self.burn():
                if self._moment == "after":
                    real(path, flags, *args, **more)
                os.kill(os.getpid(), signal.SIGKILL)
            return real(path, flags, *args, **more)

        return change


def outlast(number: str, moment: str, count_file: str) -> None:
    """Runs the command of ``sys.argv``, and dies "before", in the middle of ("torn") or "after"
    change `number`. With 0 it runs to its end; then `count_file` says how many changes there were.
    """
    fuse = Fuse(int(number), moment)
    for name in _CHANGES:
        setattr(os, name, fuse.wrap(name))
    setattr(os, "open", fuse.wrap_open())  # noqa: B010 - mypy forbids the plain form
    try:
        run()
    finally:
        Path(count_file).write_text(str(fuse.count))
