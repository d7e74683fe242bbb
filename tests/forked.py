"""Commands in processes that are forked from one that has imported outlast already: to load our
modules takes longer than most commands. Each is a process of its own, and can be killed.

Run as ``python -m tests.forked FD``, it is the process that forks.
"""

import atexit
import gc
import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any

from tests.cli.call import SECONDS, Call, environment

_ROOT = Path(__file__).parents[1]
_LENGTH = 4
_POLL = 0.005
"""Seconds between two looks at whether a process has ended."""
_running: list["Process"] = []


class Process:
    """A command that runs: what our tests need of `subprocess.Popen`."""

    def __init__(self, pid: int, stdout: IO[bytes], stderr: IO[bytes]) -> None:
        self.pid = pid
        self.stdout = stdout
        self.stderr = stderr
        self.returncode: int | None = None
        _running.append(self)

    def poll(self) -> int | None:
        if self.returncode is None:
            self.returncode = _parent().ask({"status": self.pid})
        return self.returncode

    def wait(self, timeout: float = SECONDS) -> int:
        deadline = time.monotonic() + timeout
        while (status := self.poll()) is None:
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired(f"process {self.pid}", timeout)
            time.sleep(_POLL)
        return status

    def send_signal(self, number: signal.Signals) -> None:
        if self.poll() is None:  # only we wait for it: the number is still its own
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def finish(self, timeout: float = SECONDS) -> Call:
        """Waits for its end, and kills it where that does not come."""
        with self.stdout, self.stderr, ThreadPoolExecutor(2) as pool:
            texts = [pool.submit(pipe.read) for pipe in (self.stdout, self.stderr)]
            try:
                code = self.wait(timeout)
            finally:
                self.kill()
            out, err = (text.result().decode() for text in texts)
        return Call(code, out, err)


def start(
    *arguments: str | Path,
    home: Path,
    env: Mapping[str, str] | None = None,
    doom: Sequence[str] = (),
) -> Process:
    """Starts a command; its archive is `home`/archive. `doom` is what `doomed.arm` takes."""
    order = {
        "arguments": [str(argument) for argument in arguments],
        "env": environment(home, **(env or {})),
        "cwd": os.getcwd(),
        "doom": list(doom),
    }
    ends = [os.pipe(), os.pipe()]
    try:
        pid = _parent().ask(order, [write for _, write in ends])
    finally:
        for _, write in ends:
            os.close(write)
    stdout, stderr = (os.fdopen(read, "rb") for read, _ in ends)
    return Process(pid, stdout, stderr)


def finish(process: Process, seconds: float = SECONDS) -> Call:
    return process.finish(seconds)


def outlast(*arguments: str | Path, home: Path, env: Mapping[str, str] | None = None) -> Call:
    """Runs a command to its end."""
    return start(*arguments, home=home, env=env).finish()


def end_all() -> None:
    """Ends what a test that failed left running."""
    while _running:
        process = _running.pop()
        process.kill()
        process.wait()
        process.stdout.close()
        process.stderr.close()


class _Parent:
    """The process that forks; a process of tests has one, from its first command on."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._socket, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", __name__, str(theirs.fileno())],
                cwd=_ROOT,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
            )
        atexit.register(self._end)

    def ask(self, order: Mapping[str, Any], descriptors: Sequence[int] = ()) -> Any:
        with self._lock:
            _send(self._socket, order, descriptors)
            answer = _receive(self._socket)
        assert answer is not None, "the process that forks has died"
        return answer[0]

    def _end(self) -> None:
        self._socket.close()
        self._process.wait()


_parents: list[_Parent] = []


def _parent() -> _Parent:
    if not _parents:
        _parents.append(_Parent())
    return _parents[0]


def _send(connection: socket.socket, value: Any, descriptors: Sequence[int] = ()) -> None:
    data = json.dumps(value).encode()
    socket.send_fds(connection, [len(data).to_bytes(_LENGTH, "big")], descriptors)
    connection.sendall(data)


def _receive(connection: socket.socket) -> tuple[Any, list[int]] | None:
    """A value and what came with it; None once the other side has closed."""
    head, descriptors, _, _ = socket.recv_fds(connection, _LENGTH, 2)
    if not head:
        return None
    data = b""
    while missing := int.from_bytes(head, "big") - len(data):
        data += connection.recv(missing)
    return json.loads(data), descriptors


# The process that forks


def _load() -> None:
    """Imports what commands need. No thread may run: a child would have its locks without it."""
    from outlast.cli.main import COMMANDS  # noqa: PLC0415 - the tests themselves do without

    for command in COMMANDS.values():
        importlib.import_module(command.target.partition(":")[0])
    assert threading.active_count() == 1
    gc.collect()
    gc.freeze()


def _serve(connection: socket.socket) -> tuple[Mapping[str, Any], list[int]] | None:
    """Forks, and tells who has ended; comes back in each child with its order, and with None
    where the tests have ended.
    """
    while (received := _receive(connection)) is not None:
        order, descriptors = received
        if "status" in order:
            pid, status = os.waitpid(order["status"], os.WNOHANG)
            _send(connection, os.waitstatus_to_exitcode(status) if pid else None)
            continue
        pid = os.fork()
        if pid == 0:
            return order, descriptors
        for descriptor in descriptors:
            os.close(descriptor)
        _send(connection, pid)
    return None


def _become(order: Mapping[str, Any], descriptors: Sequence[int]) -> None:
    """Makes this child what a new interpreter would be, and runs the command."""
    for number, descriptor in enumerate(descriptors, start=1):
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.environ.clear()
    os.environ.update(order["env"])
    os.chdir(order["cwd"])
    tempfile.tempdir = None
    sys.argv = ["outlast", *order["arguments"]]
    run = importlib.import_module("outlast.__main__").run
    if order["doom"]:
        importlib.import_module("tests.crash.doomed").doomed(run, *order["doom"])
    else:
        run()


def _main() -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with socket.socket(fileno=int(sys.argv[1])) as connection:
        _load()
        child = _serve(connection)
    if child is not None:
        _become(*child)


if __name__ == "__main__":
    _main()
