"""The side of the tests: starts the process that forks, gives it orders, and hears of the ends."""

import atexit
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from tests.warm.order import NUMBER, Order, exactly

_TOP = Path(__file__).resolve().parents[2]
_KEPT = ("PATH", "LANG", "TMPDIR", "PYTHONPATH", "LD_LIBRARY_PATH", "VIRTUAL_ENV")


class Child:
    """A command that was started, as a `subprocess.Popen` with as many pipes as were asked for:
    `stdout` and `stderr` are to be closed by the test. Threads may share it.
    """

    def __init__(
        self, name: str, report: socket.socket, stdout: IO[bytes] | None, stderr: IO[bytes] | None
    ) -> None:
        self.returncode: int | None = None
        """The exit status, minus the signal that ended it, once its end was seen here."""
        self._name = name
        self._report = report
        self._pipes = (stdout, stderr)
        self._lock = threading.Lock()
        data, descriptors, _, _ = socket.recv_fds(report, NUMBER.size, 1)
        if not data:
            report.close()
            raise RuntimeError(f"nothing could be forked for {name}")
        (self.pid,) = NUMBER.unpack(data + exactly(report, NUMBER.size - len(data)))
        self._descriptor = descriptors[0] if descriptors else None
        """Of the process, on systems that have such descriptors."""

    @property
    def stdout(self) -> IO[bytes]:
        return _pipe(self._pipes[0])

    @property
    def stderr(self) -> IO[bytes]:
        return _pipe(self._pipes[1])

    def poll(self) -> int | None:
        """Its exit status if it has ended."""
        self._look(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Its exit status. Raises `subprocess.TimeoutExpired`."""
        self._look(timeout)
        if self.returncode is None:
            raise subprocess.TimeoutExpired(self._name, timeout or 0.0)
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Sends nothing where it has ended."""
        with self._lock:
            self._take()
            if self.returncode is not None:
                return
            try:
                if self._descriptor is None:
                    os.kill(self.pid, number)
                else:
                    signal.pidfd_send_signal(self._descriptor, number)
            except ProcessLookupError:
                return  # it ended meanwhile

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def close(self) -> None:
        """Kills it if it still runs, and closes its pipes."""
        self.kill()
        self.wait()
        for pipe in self._pipes:
            if pipe is not None:
                pipe.close()

    def _look(self, timeout: float | None) -> None:
        if self.returncode is None and _readable(self._report, timeout):
            with self._lock:
                self._take()

    def _take(self) -> None:
        if self.returncode is not None or not _readable(self._report, 0):
            return
        try:
            (self.returncode,) = NUMBER.unpack(exactly(self._report, NUMBER.size))
        except (EOFError, ConnectionResetError):  # it died with the process that forked it
            self.returncode = -signal.SIGKILL
        self._report.close()
        if self._descriptor is not None:
            os.close(self._descriptor)


class Forker:
    """The process that forks, with `env` beside its own environment. Its children do not outlive
    it, nor it this process.
    """

    def __init__(self, env: Mapping[str, str] | None = None) -> None:
        self._lock = threading.Lock()
        self._orders, theirs = socket.socketpair()
        with theirs:
            command = [sys.executable, "-m", "tests.warm", str(theirs.fileno()), str(os.getpid())]
            self._process = subprocess.Popen(
                command,
                cwd=_TOP,
                env={name: os.environ[name] for name in _KEPT if name in os.environ}
                | dict(env or {}),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
            )

    def start(
        self, order: Order, stdout: IO[Any] | None = None, stderr: IO[Any] | None = None
    ) -> Child:
        """Starts a command whose stdout and stderr go to these files, each to a pipe if None."""
        pipes: list[IO[bytes] | None] = []
        theirs: list[int] = []
        ours, report = socket.socketpair()
        try:
            for file in (stdout, stderr):
                read, write = (-1, os.dup(file.fileno())) if file is not None else os.pipe()
                theirs.append(write)
                pipes.append(os.fdopen(read, "rb") if file is None else None)
            with self._lock:
                order.send(self._orders, [report.fileno(), *theirs])
        finally:
            report.close()
            for descriptor in theirs:
                os.close(descriptor)
        return Child(" ".join(order.arguments[:1]), ours, *pipes)

    def close(self) -> None:
        self._orders.close()
        self._process.wait()


_forkers: list[Forker] = []
_lock = threading.Lock()


def start(order: Order, stdout: IO[Any] | None = None, stderr: IO[Any] | None = None) -> Child:
    """Starts a command as `Forker.start` does. A process of tests has one forker, from its first
    command on and in its network.
    """
    with _lock:
        if not _forkers:
            _forkers.append(Forker())
            atexit.register(_forkers[0].close)
    return _forkers[0].start(order, stdout, stderr)


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    assert pipe is not None, "it goes to a file"
    return pipe


def _readable(connection: socket.socket, timeout: float | None) -> bool:
    """Whether it is closed or has something to read, at the latest after `timeout` seconds."""
    if connection.fileno() < 0:  # another thread has taken what came
        return True
    waiting = select.poll()  # unlike `select`, it takes any descriptor
    waiting.register(connection, select.POLLIN)
    return bool(waiting.poll(None if timeout is None else timeout * 1000))
