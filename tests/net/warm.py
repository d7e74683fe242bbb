"""Processes of `outlast` that need not import it first: `forker.py` has, and forks."""

import atexit
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path

from tests.net.program import Start

_TOP = Path(__file__).resolve().parents[2]
_OUTLAST = "outlast.__main__:run"
_NO_BYTECODE = "PYTHONDONTWRITEBYTECODE"
"""It may keep what it compiles: it works for no machine of its own."""
_forker: "Forker | None" = None
_lock = threading.Lock()


class Child:
    """A process of a forker: what tests use of a `subprocess.Popen`."""

    def __init__(self, reports: socket.socket, name: str) -> None:
        self._reports = reports
        self._name = name
        self._status: int | None = None
        data, files, _, _ = socket.recv_fds(reports, 100, 1)
        if not files:
            raise RuntimeError(f"nothing could be forked for {name}")
        self.pid = int(data)
        (self._descriptor,) = files

    def poll(self) -> int | None:
        """Its exit status (a signal's number, negated), if it has ended."""
        if self._status is None and select.select([self._reports], [], [], 0)[0]:
            self._take()
        return self._status

    def wait(self, timeout: float | None = None) -> int:
        """Its exit status. Raises `subprocess.TimeoutExpired`."""
        if self._status is None and not select.select([self._reports], [], [], timeout)[0]:
            raise subprocess.TimeoutExpired(self._name, timeout or 0.0)
        status = self.poll()
        assert status is not None
        return status

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            signal.pidfd_send_signal(self._descriptor, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def _take(self) -> None:
        data = self._reports.recv(100)
        self._status = int(data) if data else -signal.SIGKILL  # it died with the forker
        self._reports.close()
        os.close(self._descriptor)


class Forker:
    """The process that forks. Its children do not outlive it, nor it this process."""

    def __init__(self, env: Mapping[str, str]) -> None:
        env = {name: value for name, value in env.items() if name != _NO_BYTECODE}
        self._orders, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            command = [sys.executable, "-m", "tests.net.forker", str(theirs.fileno())]
            self._process = subprocess.Popen(
                command,
                env=env,
                cwd=_TOP,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
            )

    def start(self, namespace: str, start: Start) -> Child:
        order = {
            "run": _OUTLAST,
            "argv": ["outlast", *map(str, start.command)],
            "namespace": namespace,
            "folder": str(start.folder),
            "env": dict(start.env),
        }
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            files = [theirs.fileno(), start.out.fileno(), start.err.fileno()]
            socket.send_fds(self._orders, [json.dumps(order).encode()], files)
        return Child(ours, f"outlast {start.command[0]}")

    def close(self) -> None:
        self._orders.close()
        self._process.wait()


def fork(namespace: str, start: Start) -> Child:
    """Runs `outlast` in a network namespace, with the command's words as its arguments. The first
    call of a process starts its forker, in the network of that process.
    """
    global _forker  # noqa: PLW0603 - there is one for each process of the tests
    with _lock:
        if _forker is None:
            _forker = Forker(start.env)
            atexit.register(_forker.close)
        return _forker.start(namespace, start)
