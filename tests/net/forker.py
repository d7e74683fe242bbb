"""`python -m tests.net.forker SOCKET`: a process that has imported `outlast`, and forks for each
command that it is told to run. What it is told is in `warm.py`.

Most of what a short command takes is the imports: a second of a processor, of which a test with ten
nodes would spend twenty.
"""

import array
import contextlib
import ctypes
import gc
import importlib
import json
import os
import pkgutil
import select
import signal
import socket
import sys
from dataclasses import dataclass
from typing import Any

import outlast
from tests.net.kernel import enter

_LONGEST = 1 << 17
_FILES = 3
_PR_SET_PDEATHSIG = 1
_ENGINES = "outlast.engines."
"""They import what runs models, and no node of a lab does."""
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Order:
    """A command to run: how `warm.start` describes it, and the files that came with it."""

    about: dict[str, Any]
    parent: int
    report: socket.socket
    out: int
    err: int

    def carry_out(self) -> None:
        """What a fresh interpreter would do on that machine, in this process."""
        self.report.close()
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != self.parent:
            os._exit(1)
        enter(self.about["namespace"])
        for number, file in enumerate((self.out, self.err), 1):
            os.dup2(file, number)
            os.close(file)
        os.chdir(self.about["folder"])
        os.environ.clear()
        os.environ.update(self.about["env"])
        sys.argv = self.about["argv"]
        module, _, function = self.about["run"].partition(":")
        getattr(importlib.import_module(module), function)()

    def close(self) -> None:
        self.report.close()
        os.close(self.out)
        os.close(self.err)


class Forker:
    """Carries out orders until its socket is closed."""

    def __init__(self, orders: socket.socket) -> None:
        self._orders = orders
        self._running: dict[int, tuple[int, socket.socket]] = {}
        """The process and where its end is reported, by a descriptor of the process."""

    def serve(self) -> Order | None:
        """Returns an order in the process that has to carry it out; None at the end."""
        while True:
            ready, _, _ = select.select([self._orders.fileno(), *self._running], [], [])
            for one in ready:
                if one in self._running:
                    self._ended(one)
                    continue
                order = self._next()
                if order is None or self._fork(order):
                    return order

    def _next(self) -> Order | None:
        data, more, _, _ = self._orders.recvmsg(_LONGEST, socket.CMSG_SPACE(_FILES * 4))
        if not data:
            return None
        files = array.array("i")
        for _, _, sent in more:
            files.frombytes(sent)
        report, out, err = files
        return Order(json.loads(data), os.getpid(), socket.socket(fileno=report), out, err)

    def _fork(self, order: Order) -> bool:
        """Whether this is the new process."""
        pid = os.fork()
        if pid == 0:
            self._forget_others()
            return True
        descriptor = os.pidfd_open(pid)
        report = order.report.dup()
        order.close()
        self._running[descriptor] = (pid, report)
        with contextlib.suppress(OSError):  # who gave the order has gone
            socket.send_fds(report, [b"%d" % pid], [descriptor])
        return False

    def _forget_others(self) -> None:
        self._orders.close()
        for descriptor, (_, report) in self._running.items():
            os.close(descriptor)
            report.close()
        self._running.clear()

    def _ended(self, descriptor: int) -> None:
        pid, report = self._running.pop(descriptor)
        _, status = os.waitpid(pid, 0)
        os.close(descriptor)
        with report, contextlib.suppress(OSError):
            report.send(b"%d" % os.waitstatus_to_exitcode(status))


def prepare() -> None:
    """Imports all that a command may need."""
    for module in pkgutil.walk_packages(outlast.__path__, "outlast."):
        if not module.name.startswith(_ENGINES):
            importlib.import_module(module.name)
    threads = os.listdir("/proc/self/task")
    assert len(threads) == 1, "a process with threads must not fork"
    gc.collect()
    gc.freeze()


def main() -> None:
    """Forks until it is told no more, and in the processes that it forked, runs the commands."""
    orders = socket.socket(fileno=int(sys.argv[1]))
    prepare()
    order = Forker(orders).serve()
    if order is not None:
        order.carry_out()


if __name__ == "__main__":
    main()
