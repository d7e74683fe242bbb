"""The kernel's side of a lab: network namespaces and what `ip` and `tc` make in them.

Names carry the id and the start time of the process that made them, so whatever a killed run left
behind can be told from what is in use, and is removed by the next run.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.net.enter import NAMES, enter, move

_PREFIX = "olab"
_PROGRAMS = ("ip", "tc", "setpriv")


class LabError(Exception):
    """The lab could not be made; the message has the program's own words."""


def why_not(*programs: str) -> str:
    """Why there can be no lab here; empty where there can. `programs` are needed besides."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    missing = [name for name in (*_PROGRAMS, *programs) if shutil.which(name) is None]
    if missing:
        return f"not installed: {', '.join(missing)} (see CONTRIBUTING.md)"
    done = subprocess.run(["unshare", "--net", "true"], capture_output=True, check=False)
    return "" if done.returncode == 0 else "this kernel lends no network namespaces"


def needs_lab(*programs: str) -> pytest.MarkDecorator:
    """Skips where there can be no lab, and says why."""
    reason = why_not(*programs)
    return pytest.mark.skipif(bool(reason), reason=reason or "there can be a lab")


def call(command: Sequence[str], given: str | None = None) -> str:
    """What a command printed. Raises :class:`LabError` where it fails."""
    done = subprocess.run(command, input=given, capture_output=True, text=True, check=False)
    if done.returncode:
        raise LabError(f"{' '.join(command)} {given or ''}: {done.stderr.strip()}")
    return done.stdout


def _started(pid: int) -> str:
    """When a process started, in ticks since boot; empty where there is none."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    return ""


def own_prefix() -> str:
    """How the names of this process's namespaces and folders begin."""
    return f"{_PREFIX}-{os.getpid()}-{_started(os.getpid())}-"


def sweep() -> None:
    """Removes what runs that are over have left, with the processes in it."""
    for path in NAMES.glob(f"{_PREFIX}-*"):
        if _is_left(path):
            with contextlib.suppress(LabError):  # another run may be at it
                Namespace(path.name).remove()
    for path in Path(tempfile.gettempdir()).glob(f"{_PREFIX}-*"):
        if _is_left(path):
            shutil.rmtree(path, ignore_errors=True)


def _is_left(path: Path) -> bool:
    _, pid, started, *_ = path.name.split("-")
    return _started(int(pid)) != started


class Namespace:
    """A network namespace by its name."""

    def __init__(self, name: str) -> None:
        self.name = name

    def make(self) -> None:
        """IPv6 addresses are usable at once: no other host could have the same."""
        call(["ip", "netns", "add", self.name])
        self.ip("link set lo up")
        for sort in ("default", "all"):
            self.setting(f"ipv6/conf/{sort}/accept_dad", "0")
            self.setting(f"ipv6/conf/{sort}/accept_ra", "0")

    def remove(self) -> None:
        """Ends what runs in it, then deletes it; its interfaces go with it."""
        for pid in call(["ip", "netns", "pids", self.name]).split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        call(["ip", "netns", "delete", self.name])

    def ip(self, *lines: str) -> None:
        """Runs lines of `ip`, in one process."""
        call(["ip", "-n", self.name, "-batch", "-"], "\n".join(lines) + "\n")

    def ask(self, *arguments: str) -> Any:
        """What `ip` knows, as JSON."""
        return json.loads(call(["ip", "-n", self.name, "-json", *arguments]) or "[]")

    def shape(self, device: str, rate: float | None) -> None:
        """Caps what leaves `device` to `rate` bytes per second, frames with their headers; None
        lifts the cap.
        """
        command = ["tc", "-n", self.name, "qdisc"]
        if rate is None:
            if "tbf" in call([*command, "show", "dev", device]):
                call([*command, "del", "dev", device, "root"])
            return
        burst, queue = max(32 * 1024, int(rate / 200)), max(128 * 1024, int(rate / 10))
        tbf = f"tbf rate {int(rate * 8)}bit burst {burst} limit {queue}"
        call([*command, "replace", "dev", device, "root", *tbf.split()])

    def setting(self, path: str, value: str) -> None:
        """Writes a file below /proc/sys/net."""
        with self.inside():
            Path("/proc/sys/net", path).write_text(value)

    @contextlib.contextmanager
    def inside(self) -> Iterator[None]:
        """This thread is in the namespace meanwhile, and so are the sockets, the processes and the
        threads that it starts. They stay there.
        """
        outside = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            enter(self.name)
            try:
                yield
            finally:
                move(outside)
        finally:
            os.close(outside)
