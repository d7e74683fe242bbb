"""`python -m tests.warm FD PID`: the process that forks. It takes orders from the socket FD until
that closes, or until PID, which has started it, is gone.
"""

import contextlib
import ctypes
import gc
import importlib
import os
import pkgutil
import select
import signal
import socket
import sys
import tempfile
import threading
from pathlib import Path

import outlast
from tests.warm.order import NUMBER, Order

_PR_SET_PDEATHSIG = 1
_ENGINES = (
    "outlast.engines.",
    "outlast.features.audit.",
    "outlast.features.lineage.",
    "outlast.features.tune.work.",
    "outlast.features.tune.handover.train_script",
)
"""They import what runs, trains, compares and audits models, and are left to the commands that do:
numpy starts threads when it is imported.
"""
_TASKS = Path("/proc/self/task")


class Server:
    """Forks for each order, and reports the ends."""

    def __init__(self, orders: socket.socket, parent: int) -> None:
        self._orders = orders
        self._running: dict[int, socket.socket] = {}
        """Where the end of a process is reported."""
        self._wake, self._woken = socket.socketpair()
        self._wake.setblocking(False)
        self._woken.setblocking(False)
        signal.signal(signal.SIGCHLD, lambda *_: None)  # else nothing wakes us
        signal.set_wakeup_fd(self._wake.fileno(), warn_on_full_buffer=False)
        self._parent = _descriptor(parent)

    def serve(self) -> tuple[Order, list[int]] | None:
        """In each process that was forked, its order and files; None where there are no more."""
        watched = [self._orders.fileno(), self._woken.fileno()]
        if self._parent is not None:
            watched.append(self._parent)
        while True:
            ready, _, _ = select.select(watched, [], [])
            if self._parent in ready:
                break
            if self._woken.fileno() in ready:
                self._woken.recv(4096)
                self._report()
            if self._orders.fileno() in ready:
                received = Order.receive(self._orders)
                if received is None:
                    break
                order, (report, *files) = received
                if self._fork(socket.socket(fileno=report), files):
                    return order, files
        self._end()
        return None

    def _fork(self, report: socket.socket, files: list[int]) -> bool:
        """Whether this is the new process."""
        forker = os.getpid()
        try:
            pid = os.fork()
        except OSError:  # who asks sees that no number comes
            pid = -1
        if pid == 0:
            report.close()
            self._forget(forker)
            return True
        for file in files:
            os.close(file)
        if pid < 0:
            report.close()
            return False
        self._running[pid] = report
        descriptor = _descriptor(pid)
        with contextlib.suppress(OSError):  # who asked has gone
            socket.send_fds(report, [NUMBER.pack(pid)], [] if descriptor is None else [descriptor])
        if descriptor is not None:
            os.close(descriptor)
        return False

    def _forget(self, forker: int) -> None:
        """Leaves nothing in a new process of what is the forker's, and lets it die with that."""
        if sys.platform == "linux":
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != forker:
            os._exit(1)
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for connection in (self._orders, self._wake, self._woken, *self._running.values()):
            connection.close()
        if self._parent is not None:
            os.close(self._parent)

    def _report(self) -> None:
        for pid in list(self._running):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                with self._running.pop(pid) as report, contextlib.suppress(OSError):
                    report.sendall(NUMBER.pack(os.waitstatus_to_exitcode(status)))

    def _end(self) -> None:
        for pid in self._running:
            os.kill(pid, signal.SIGKILL)
        for pid in self._running:
            os.waitpid(pid, 0)


def _descriptor(pid: int) -> int | None:
    """Of a process, where the system has such descriptors."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):  # as of an old kernel
            return os.pidfd_open(pid)
    return None


def _load() -> None:
    """Imports what commands need. No thread may run: a fork would have its locks and not it."""
    for module in pkgutil.walk_packages(outlast.__path__, "outlast."):
        if not module.name.startswith(_ENGINES):
            importlib.import_module(module.name)
    threads = len(list(_TASKS.iterdir())) if _TASKS.exists() else threading.active_count()
    assert threads == 1, "a process with threads must not fork"
    gc.collect()
    gc.freeze()


def _become(order: Order, files: list[int]) -> None:
    """Makes a new process what an interpreter of its own would be, and runs the command. The seed
    of `hash` is all that it shares with others.
    """
    for number, file in enumerate(files, start=1):
        os.dup2(file, number)
        os.close(file)
    # The streams that were there know what the descriptors were before: seekable, or not.
    sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115 - open to the end
    sys.stderr = open(  # noqa: SIM115 - open to the end
        2, "w", buffering=1, errors="backslashreplace", closefd=False
    )
    if order.namespace:
        importlib.import_module("tests.net.enter").enter(order.namespace)
    os.chdir(order.folder)
    os.environ.clear()
    os.environ.update(order.env)
    sys.dont_write_bytecode = bool(order.env.get("PYTHONDONTWRITEBYTECODE"))
    tempfile.tempdir = None
    sys.argv = ["outlast", *order.arguments]
    module, _, function = order.run.partition(":")
    getattr(importlib.import_module(module), function)(*order.given)


def _main() -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    parent = int(sys.argv[2])
    with socket.socket(fileno=int(sys.argv[1])) as orders:
        _load()
        if os.getppid() != parent:
            return
        forked = Server(orders, parent).serve()
    if forked is not None:
        _become(*forked)


if __name__ == "__main__":
    _main()
