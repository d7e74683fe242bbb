"""The machines of a run, and how long a crowd on them takes to have a file.

One LAN: an origin, a seed and eight nodes, each in a network namespace of its own.
"""

import contextlib
import itertools
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from bench.process import BenchError
from bench.stage import MissingPeerError, settle
from bench.swarm.payload import Payload, digest
from tests.net import Host, Lan, Net
from tests.net.kernel import why_not
from tests.net.program import Program, until

NODES = 8
PATIENCE = 900.0
_POLL = 0.02
_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Task:
    """What one machine runs to fetch the payload into `folder`: it ends when it has it. `file` is
    where it then lies, None where it is kept in another form.
    """

    command: Sequence[str | Path]
    folder: Path
    file: Path | None
    env: dict[str, str] | None = None


class Engine(Protocol):
    """A way to bring a file from one machine to others."""

    @property
    def name(self) -> str:
        """What the table calls it."""

    def seeding(self, rig: "Rig", payload: Payload) -> contextlib.AbstractContextManager[None]:
        """`rig.seed` hands the payload on meanwhile."""

    def task(self, rig: "Rig", payload: Payload, folder: Path) -> Task:
        """How a machine fetches it into `folder`, which is empty."""


@dataclass(frozen=True, slots=True)
class Result:
    """Seconds until the last had it; bytes that the seed sent and the nodes received, frames with
    their headers; CPU seconds of all fetchers together; seconds until each had it, in a crowd.
    """

    seconds: float
    sent: int
    received: int
    cpu: float
    each: tuple[float, ...] = ()


def _unseen(seconds: float) -> None:
    """Ignores the time: for runs that are not watched."""
    del seconds


@dataclass
class Rig:
    """The lab of a run. `size` is that of the payloads in bytes, `pairs` how often all is run;
    `alone`: only the peers are.
    """

    folder: Path
    size: int
    pairs: int
    alone: bool = False
    payloads: dict[str, Payload] = field(default_factory=dict)
    stack: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)
    net: Net = field(default_factory=Net)
    lan: Lan = field(init=False)
    seed: Host = field(init=False)
    origin: Host = field(init=False)
    nodes: list[Host] = field(init=False)

    def open(self) -> None:
        if why := why_not():
            raise MissingPeerError(why)
        self.stack.enter_context(self.net)
        self.lan = self.net.lan()
        self.seed, self.origin = self.lan.host("seed"), self.lan.host("origin")
        self.nodes = [self.lan.host(f"node{number}") for number in range(1, NODES + 1)]

    def close(self) -> None:
        self.stack.close()

    @contextlib.contextmanager
    def capped(self, host: Host, rate: float) -> Iterator[None]:
        """What `host` sends is capped to `rate` bytes/s meanwhile."""
        host.cap(up=rate)
        try:
            yield
        finally:
            host.cap()

    @contextlib.contextmanager
    def running(
        self, host: Host, name: str, command: Sequence[str | Path], ready: str = "ready"
    ) -> Iterator[Program]:
        """A server on `host`, once it has said `ready` (at once where that is empty)."""
        program = host.start(name, command, dict(os.environ))
        try:
            until(lambda: ready in program.out.read_text() or program.ended, f"{name} starts")
            if program.ended:
                raise BenchError(program.tail())
            yield program
        finally:
            program.stop()

    def crowd(self, engine: Engine, payload: Payload, count: int) -> Result:
        """Has `count` nodes fetch the payload at the same time."""
        with engine.seeding(self, payload):
            return self.fetch(engine, payload, self.nodes[:count])

    def fetch(
        self,
        engine: Engine,
        payload: Payload,
        hosts: Sequence[Host],
        seen: Callable[[float], None] = _unseen,
    ) -> Result:
        """The same, from the nodes that have the payload already. `seen` is called again and
        again meanwhile, with the seconds since the start."""
        work = self.folder / f"fetched-{next(_numbers)}"
        tasks = []
        for host in hosts:
            (work / host.name).mkdir(parents=True)
            tasks.append(engine.task(self, payload, work / host.name))
        settle()
        try:
            return self._run(engine.name, hosts, tasks, payload, seen)
        finally:
            shutil.rmtree(work, ignore_errors=True)

    def _run(
        self,
        name: str,
        hosts: Sequence[Host],
        tasks: Sequence[Task],
        payload: Payload,
        seen: Callable[[float], None],
    ) -> Result:
        before = [host.counters() for host in (self.seed, *hosts)]
        started = time.perf_counter()
        running = [_Running(host, name, task) for host, task in zip(hosts, tasks, strict=True)]
        try:
            _wait(running, lambda: seen(time.perf_counter() - started))
            each = tuple(one.ended - started for one in running)
        finally:
            for one in running:
                one.kill()
        seed, *moved = (
            host.counters() - then for host, then in zip((self.seed, *hosts), before, strict=True)
        )
        for task in tasks:
            if task.file is not None and digest(task.file) != payload.sha256:
                raise BenchError(f"{name} brought other bytes")
        received, cpu = sum(one.received for one in moved), sum(one.cpu for one in running)
        return Result(max(each), seed.sent, received, cpu, each)


class _Running:
    """A fetcher at work."""

    def __init__(self, host: Host, name: str, task: Task) -> None:
        self.name, self.ended, self.cpu = f"{name} on {host.name}", 0.0, 0.0
        self._said = (task.folder / "said").open("w+b")
        with host.inside():
            self._process = subprocess.Popen(
                task.command,
                env=task.env,
                cwd=task.folder,
                stdin=subprocess.DEVNULL,
                stdout=self._said,
                stderr=subprocess.STDOUT,
            )

    def over(self) -> bool:
        if self._process.returncode is not None:
            return True
        pid, status, usage = os.wait4(self._process.pid, os.WNOHANG)
        if not pid:
            return False
        self.ended, self.cpu = time.perf_counter(), usage.ru_utime + usage.ru_stime
        self._process.returncode = os.waitstatus_to_exitcode(status)
        if self._process.returncode:
            raise BenchError(f"{self.name} ended with {self._process.returncode}: {self.tail()}")
        return True

    def tail(self) -> str:
        self._said.seek(0)
        return self._said.read().decode(errors="replace")[-2000:].strip()

    def kill(self) -> None:
        if self._process.returncode is None:
            self._process.kill()
            self._process.wait()
        self._said.close()


def _wait(running: Sequence[_Running], seen: Callable[[], None]) -> None:
    end = time.monotonic() + PATIENCE
    left = list(running)
    while left := [one for one in left if not one.over()]:
        if time.monotonic() > end:
            raise BenchError(f"{left[0].name} was not done in {PATIENCE:.0f} s: {left[0].tail()}")
        seen()
        time.sleep(_POLL)
