"""Starting programs and reading what they cost: wall time, CPU seconds, peak memory."""

import contextlib
import os
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

_TICK = os.sysconf("SC_CLK_TCK")
_SAMPLE = 0.02
_TAIL = 2000


Command = Sequence[str | Path]


class BenchError(Exception):
    """Something that was to be measured did not work."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Seconds of wall time and of CPU (user and system, children that ended included), and the
    high-water mark of resident memory in bytes (0 where it was not watched).
    """

    wall: float
    cpu: float
    peak: int = 0


def clean_environment(home: Path, **more: str) -> dict[str, str]:
    """An environment in which no setting of the user reaches what is measured."""
    kept = {
        key: os.environ[key]
        for key in ("PATH", "LANG", "TMPDIR", "PYTHONPATH")
        if key in os.environ
    }
    own = {
        "HOME": str(home),
        "XDG_CONFIG_HOME": str(home / "config"),
        "XDG_CACHE_HOME": str(home / "cache"),
        "XDG_DATA_HOME": str(home / "data"),
        "OUTLAST_SWARM": "0",
        "HF_HOME": str(home / "hf"),
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_UPDATE_CHECK": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "NO_PROXY": "*",
    }
    return kept | own | more


def timed(command: Command, environment: Mapping[str, str], *, watch: bool = False) -> Cost:
    """Runs a command to its end. With `watch` its peak memory is sampled too."""
    with tempfile.TemporaryFile() as said:
        started = time.perf_counter()
        child = subprocess.Popen(
            command,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=said,
        )
        try:
            with _watching(child.pid) if watch else contextlib.nullcontext([0]) as peak:
                _, status, usage = os.wait4(child.pid, 0)
                wall = time.perf_counter() - started
        except BaseException:
            child.kill()
            raise
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode:
            raise BenchError(f"{command[0]} ended with {child.returncode}: {_tail(said)}")
    return Cost(wall, usage.ru_utime + usage.ru_stime, peak[0])


def _tail(file: IO[bytes]) -> str:
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - _TAIL))
    return file.read().decode(errors="replace").strip()


@contextlib.contextmanager
def _watching(pid: int) -> Iterator[list[int]]:
    peak, over = [0], threading.Event()

    def sample() -> None:
        while not over.wait(_SAMPLE):
            peak[0] = max(peak[0], peak_memory(pid))

    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    try:
        yield peak
    finally:
        over.set()
        thread.join()


def peak_memory(pid: int) -> int:
    """The high-water mark of a process's resident memory (VmHWM) in bytes; 0 once it is gone."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return 0


def _parents() -> dict[int, int]:
    found = {}
    for name in filter(str.isdecimal, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            found[int(name)] = int(_stat(int(name))[1])
    return found


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the third on, the process's state."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def family(pid: int) -> list[int]:
    """A process and all that descend from it."""
    parents, found = _parents(), [pid]
    for member in found:
        found += [child for child, parent in parents.items() if parent == member]
    return found


class Server:
    """A server process, whose standard output and error go to files."""

    def __init__(self, command: Command, environment: Mapping[str, str], log: Path) -> None:
        self.log = log
        self._name = str(command[0])
        with log.open("wb") as said:
            self.process = subprocess.Popen(
                command,
                env=dict(environment),
                cwd=log.parent,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                start_new_session=True,
            )

    def check(self) -> None:
        """Raises where the server has ended."""
        if self.process.poll() is not None:
            said = self.log.read_text(errors="replace").strip()[-_TAIL:]
            raise BenchError(f"{self._name} ended with {self.process.returncode}: {said}")

    def cpu(self) -> float:
        """CPU seconds so far, of all of its processes."""
        ticks = 0
        for pid in family(self.process.pid):
            with contextlib.suppress(OSError):
                ticks += sum(map(int, _stat(pid)[11:15]))
        return ticks / _TICK

    def peak(self) -> int:
        """The sum of the high-water marks of its processes' resident memory, in bytes."""
        return sum(map(peak_memory, family(self.process.pid)))

    def resident(self) -> int:
        """The sum of its processes' resident memory now, in bytes."""
        pages = 0
        for pid in family(self.process.pid):
            with contextlib.suppress(OSError):
                pages += int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()
