"""Programs on a machine of a lab: started there, ended with it."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

SECONDS = 120.0
"""The longest that a test waits for something that has to happen."""
_TAIL = 3000
_REST = 0.05


def until(holds: Callable[[], object], what: str, seconds: float = SECONDS) -> None:
    """Polls until `holds` is true; fails where it does not come true in time. It rests three times
    as long as the question took, so that what is waited for has most of the processor.
    """
    deadline = time.monotonic() + seconds
    asked = time.monotonic()
    while not holds():
        now = time.monotonic()
        assert now < deadline, f"waited in vain: {what}"
        time.sleep(max(_REST, 3 * (now - asked)))
        asked = time.monotonic()


def environment(home: Path, more: Mapping[str, str] | None = None) -> dict[str, str]:
    """A clean environment: a home folder of its own, no proxies, nothing of the user's settings."""
    names = ("PATH", "LANG", "TMPDIR", "PYTHONPATH", "VIRTUAL_ENV")
    kept = {name: os.environ[name] for name in names if name in os.environ}
    own = {
        "HOME": str(home),
        "XDG_CONFIG_HOME": str(home / "config"),
        "XDG_DATA_HOME": str(home / "data"),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    return kept | own | dict(more or {})


class Process(Protocol):
    """What a program needs of a `subprocess.Popen`."""

    pid: int

    def poll(self) -> int | None: ...

    def wait(self, timeout: float | None = None) -> int: ...

    def send_signal(self, number: int, /) -> None: ...

    def kill(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Start:
    """A command to start in a folder, and the files for its output and errors."""

    command: Sequence[str | Path]
    folder: Path
    env: Mapping[str, str]
    out: IO[bytes]
    err: IO[bytes]


def spawn(start: Start) -> Process:
    """Starts a program that does not outlive the thread that starts it."""
    return subprocess.Popen(
        ["setpriv", "--pdeathsig", "KILL", "--", *start.command],
        env=dict(start.env),
        cwd=start.folder,
        stdin=subprocess.DEVNULL,
        stdout=start.out,
        stderr=start.err,
    )


class Program:
    """A process whose standard output and error go to files: `out` and `err`."""

    def __init__(
        self,
        command: Sequence[str | Path],
        folder: Path,
        name: str,
        env: Mapping[str, str] | None = None,
        launch: Callable[[Start], Process] = spawn,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.name = name
        self.out, self.err = folder / f"{name}.out", folder / f"{name}.err"
        with self.out.open("ab") as out, self.err.open("ab") as err:
            own = environment(folder) if env is None else env
            self.process = launch(Start(command, folder, own, out, err))

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def ended(self) -> bool:
        return self.process.poll() is not None

    def tail(self) -> str:
        """The end of what it said."""
        said = [path.read_text(errors="replace")[-_TAIL:] for path in (self.out, self.err)]
        return f"{self.name} ({self.process.poll()}): " + "\n".join(said)

    def check(self) -> None:
        """Fails where it has ended."""
        assert not self.ended, self.tail()

    def wait(self, seconds: float = SECONDS) -> int:
        """Its exit status, once it has ended by itself."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running: {self.tail()}") from None

    def ok(self, seconds: float = SECONDS) -> "Program":
        """This program, which must end well."""
        assert self.wait(seconds) == 0, self.tail()
        return self

    def stop(self, number: signal.Signals = signal.SIGTERM, seconds: float = SECONDS) -> int:
        """Ends it in good order; fails where it does not."""
        if not self.ended:
            self.process.send_signal(number)
        return self.wait(seconds)

    def kill(self) -> None:
        """SIGKILL, if it still runs."""
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        self.process.wait()

    def read_bytes(self) -> int:
        """Bytes that it has read by now, from whatever: files, sockets, pipes."""
        return _io(self.pid, "rchar")

    def cpu(self) -> float:
        """Seconds of CPU by now."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")

    def memory(self) -> int:
        """The high-water mark of its resident memory, in bytes."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
        return 0


def _io(pid: int, key: str) -> int:
    for line in Path(f"/proc/{pid}/io").read_text().splitlines():
        name, _, value = line.partition(": ")
        if name == key:
            return int(value)
    raise KeyError(key)
