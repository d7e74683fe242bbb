"""Commands in processes that are forked from one that has imported outlast already. Each is a
process of its own, as ``python -m outlast`` is; what is saved is the second of work with which an
interpreter loads our modules. Tests of how the program itself starts do not use it.

Run as ``python -m tests.warm FD``, it is the process that forks.
"""

import atexit
import gc
import importlib
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

_TOP = Path(__file__).parents[1]
_KEPT = ("PATH", "LANG", "TMPDIR", "PYTHONPATH", "LD_LIBRARY_PATH")
_LENGTH = struct.Struct("!I")
_POLL = 0.005
"""Seconds between two looks at whether a process has ended."""


class Process:
    """A command that was started: what a test needs of `subprocess.Popen`. `stdout` is a pipe,
    stderr goes to the file that was given.
    """

    def __init__(self, template: "Template", pid: int, stdout: IO[str]) -> None:
        self.pid = pid
        self.stdout = stdout
        self.returncode: int | None = None
        self._template = template

    def poll(self) -> int | None:
        """Its exit status, minus the signal that ended it, or None while it runs."""
        if self.returncode is None:
            self.returncode = self._template.status(self.pid)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """subprocess.TimeoutExpired where it takes longer."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while (status := self.poll()) is None:
            if deadline is not None and time.monotonic() > deadline:
                raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0)
            time.sleep(_POLL)
        return status

    def send_signal(self, number: signal.Signals) -> None:
        if self.poll() is None:  # until its end was seen here, its id is its own
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class Template:
    """The process that forks; one for each process of tests, begun with the first command."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._socket, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.warm", str(theirs.fileno())],
                cwd=_TOP,
                env={name: os.environ[name] for name in _KEPT if name in os.environ},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
            )
        atexit.register(self._end)

    def start(
        self, arguments: Sequence[str], env: Mapping[str, str], stderr: IO[Any], tuned: str = ""
    ) -> Process:
        """Starts `outlast` with the arguments; `tuned` is what `tests.serve.tuned` is given."""
        order = {"arguments": list(arguments), "env": dict(env), "tuned": tuned, "cwd": os.getcwd()}
        read, write = os.pipe()
        try:
            pid = self._ask(order, [write, stderr.fileno()])
        finally:
            os.close(write)
        return Process(self, pid, os.fdopen(read))

    def status(self, pid: int) -> int | None:
        status = self._ask({"status": pid}, [])
        return None if status is None else int(status)

    def _ask(self, order: Mapping[str, Any], descriptors: Sequence[int]) -> Any:
        data = json.dumps(order).encode()
        with self._lock:
            socket.send_fds(self._socket, [_LENGTH.pack(len(data))], descriptors)
            self._socket.sendall(data)
            return json.loads(_exactly(self._socket, *_LENGTH.unpack(_exactly(self._socket, 4))))

    def _end(self) -> None:
        self._socket.close()
        self._process.wait()


_template: Template | None = None


def template() -> Template:
    """The one of this process."""
    global _template  # noqa: PLW0603 - made when it is first needed
    if _template is None:
        _template = Template()
    return _template


def _exactly(connection: socket.socket, count: int) -> bytes:
    data = bytearray()
    while len(data) < count:
        part = connection.recv(count - len(data))
        if not part:
            raise EOFError("the other side has gone")
        data += part
    return bytes(data)


# The process that forks


def _load() -> None:
    """Imports what commands need. No thread may run: a fork would have its locks and not it."""
    from outlast.cli.main import COMMANDS  # noqa: PLC0415 - the tests' own process does without

    for command in COMMANDS.values():
        importlib.import_module(command.target.partition(":")[0])
    importlib.import_module("outlast.__main__")
    importlib.import_module("tests.serve.tuned")
    assert threading.active_count() == 1
    gc.collect()
    gc.freeze()


def _orders(connection: socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    """Forks for each order and tells of those that ended, until the tests close the connection
    (None); in a child, its order and descriptors.
    """
    while True:
        head, descriptors, _, _ = socket.recv_fds(connection, 4, 2)
        if not head:
            return None
        head += _exactly(connection, 4 - len(head))
        order = json.loads(_exactly(connection, *_LENGTH.unpack(head)))
        if "status" in order:
            pid, status = os.waitpid(order["status"], os.WNOHANG)
            answer = os.waitstatus_to_exitcode(status) if pid else None
        else:
            answer = os.fork()
            if answer == 0:
                return order, descriptors
            for descriptor in descriptors:
                os.close(descriptor)
        data = json.dumps(answer).encode()
        connection.sendall(_LENGTH.pack(len(data)) + data)


def _become(order: Mapping[str, Any], descriptors: Sequence[int]) -> None:
    """Makes a child what an interpreter of its own would be, and runs the command."""
    for number, descriptor in enumerate(descriptors, start=1):
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.environ.clear()
    os.environ.update(order["env"])
    os.chdir(order["cwd"])
    tempfile.tempdir = None
    sys.argv = ["outlast", *order["arguments"]]
    if order["tuned"]:
        importlib.import_module("tests.serve.tuned").start(*json.loads(order["tuned"]))
    else:
        importlib.import_module("outlast.__main__").run()


def _main() -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with socket.socket(fileno=int(sys.argv[1])) as connection:
        _load()
        found = _orders(connection)
    if found is not None:
        _become(*found)


if __name__ == "__main__":
    _main()
