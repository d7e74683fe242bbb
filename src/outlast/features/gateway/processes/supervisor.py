"""Starts the processes of a gateway, starts those anew that end, and ends them all.

They are forked off one that does nothing else: it has no thread, no event loop and no open archive.
Each has a listening socket of its own at the same port (SO_REUSEPORT), among which the kernel
divides connections. Signals for the gateway go to that one process, which passes them on.
"""

import contextlib
import gc
import os
import select
import signal
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import FrameType
from typing import Final

from outlast.core.cancel import Cancel
from outlast.core.errors import EngineError, UsageError
from outlast.features.gateway.processes.board import BreakerBoard
from outlast.server.http.log import log_line
from outlast.server.model.server import bind, url_of

MOST: Final = 64
_LOOK: Final = 0.1
"""Seconds between two looks at the processes. Guess."""
_YOUNG: Final = 5.0
"""A process that ends within so many seconds of its start has failed to start. Guess."""
_MOST_FAILED: Final = 5
"""Starts in a row that fail before the gateway ends."""


@dataclass(frozen=True, slots=True)
class Seat:
    """One process of several. Number 0 probes targets and has the engines of the archive's models.
    `group` is the process that started it. When the pipe `tether` can be read, that has ended.
    """

    number: int
    group: int
    board: BreakerBoard
    tether: int = -1
    told: int = -1

    def ready(self) -> None:
        """Tells the process that started this one that requests are answered."""
        with contextlib.suppress(OSError):
            os.write(self.told, b"1")


def shared_port(host: str, port: int) -> tuple[int, str]:
    """The port that :func:`bind_shared` takes, a free one for 0, and its URL. Raises what
    :func:`~outlast.server.model.server.bind` does, also where another gateway has the address.
    """
    if not hasattr(socket, "SO_REUSEPORT"):
        raise UsageError("this system cannot have several processes behind one port")
    with bind(host, port) as taken:
        return int(taken.getsockname()[1]), url_of(taken)


def bind_shared(host: str, port: int) -> socket.socket:
    """A socket of one process at the address that all of them have. Raises
    :class:`~outlast.core.errors.EngineError`.
    """
    try:
        family, kind, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        sock = socket.socket(family, kind)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            sock.bind(address)
        except BaseException:
            sock.close()
            raise
    except OSError as error:
        raise EngineError(f"cannot listen on {host} port {port}: {error.strerror}") from error
    return sock


@dataclass(slots=True)
class _Child:
    """A process that was started: its number, the pipe that hangs it on us, the one it tells."""

    pid: int
    tether: int
    told: int
    began: float = field(default_factory=time.monotonic)

    def close(self) -> None:
        for fd in (self.tether, self.told):
            os.close(fd)


class Supervisor:
    """Runs `count` processes."""

    def __init__(self, count: int, cancel: Cancel) -> None:
        self._cancel: Final = cancel
        self._board: Final = BreakerBoard(count)
        self._children: Final[dict[int, _Child]] = {}
        self._failed = 0

    def run(self, ready: Callable[[], None]) -> Seat | int:
        """Returns in each process that it starts, with its seat; in this one at the end, with the
        exit status. `ready` is called once all answer. The first one starts alone: what hinders
        it would hinder all.
        """
        gc.freeze()  # what is here stays in memory that the processes share
        with self._signals():
            for number in range(self._board.places):
                seat = self._start(number)
                if seat is not None:
                    return seat
                if number == 0 and (status := self._awaited(0)) is not None:
                    return status
            for number in range(1, self._board.places):
                self._wait(self._children[number])  # one that ended is started anew below
            if not self._cancel.is_set:
                ready()
            return self._watched()

    def _start(self, number: int) -> Seat | None:
        """Forks: the seat in the process that is new, None in this one."""
        tether, ours = os.pipe()
        heard, told = os.pipe()
        group = os.getpid()
        pid = os.fork()
        if pid:
            os.close(tether)
            os.close(told)
            self._children[number] = _Child(pid, ours, heard)
            return None
        os.close(ours)
        os.close(heard)
        for other in self._children.values():
            other.close()
        self._children.clear()
        # The terminal sends Ctrl-C to all of them: only the first one passes it on.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        return Seat(number, group, self._board, tether, told)

    def _awaited(self, number: int) -> int | None:
        """Waits until a process answers; its exit status where it ended before."""
        child = self._children[number]
        if self._wait(child) or self._cancel.is_set:
            return None
        del self._children[number]
        child.close()
        _, status = os.waitpid(child.pid, 0)
        return abs(os.waitstatus_to_exitcode(status))

    def _wait(self, child: _Child) -> bool:
        """Until it says that it answers (true), or has ended, or all is to end."""
        while not self._cancel.is_set:
            if select.select([child.told], [], [], _LOOK)[0]:
                return bool(os.read(child.told, 1))
        return False

    def _watched(self) -> Seat | int:
        while not self._cancel.is_set:
            time.sleep(_LOOK)
            for number, child in list(self._children.items()):
                if os.waitpid(child.pid, os.WNOHANG) == (0, 0):
                    continue
                self._children.pop(number).close()
                if (seat := self._again(number, child)) is not None:
                    return seat
        self._end()
        return 0

    def _again(self, number: int, child: _Child) -> Seat | None:
        """Starts a process anew. Raises :class:`EngineError` where that fails again and again."""
        if self._cancel.is_set:
            return None
        young = time.monotonic() - child.began < _YOUNG
        self._failed = self._failed + 1 if young else 0
        log_line({"level": "error", "what": "gateway", "process": number, "state": "ended"})
        if self._failed >= _MOST_FAILED:
            self._end()
            raise EngineError(
                f"process {number} of the gateway ends as soon as it starts",
                hint="its errors are above; --processes 1 runs it alone",
            )
        return self._start(number)

    def _end(self) -> None:
        """Ends all, and waits: each drains its streams."""
        self._pass_on(signal.SIGTERM)
        try:
            for number, child in list(self._children.items()):
                os.waitpid(child.pid, 0)
                self._children.pop(number).close()
        except BaseException:  # a second Ctrl-C
            self._pass_on(signal.SIGTERM)
            raise

    def _pass_on(self, number: int) -> None:
        for child in list(self._children.values()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(child.pid, number)

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """SIGHUP goes to all. One that is forked off hears it once it answers."""

        def hang_up(number: int, frame: FrameType | None) -> None:
            del frame
            self._pass_on(number)

        before = signal.signal(signal.SIGHUP, hang_up)
        group = os.getpid()
        try:
            yield
        finally:
            forked_off = os.getpid() != group
            signal.signal(signal.SIGHUP, signal.SIG_IGN if forked_off else before)
