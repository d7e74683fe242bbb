"""Where the time of ours went: what a row that misses its target comes with.

A sampling profiler (py-spy) looks 200 times a second at the stacks of all threads that run, those
of native code included. Samples are counted by the innermost function of outlast on the stack, and
by the library in which the thread was. It takes some threads that wait for a lock for running ones:
their samples are left out.
"""

import contextlib
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePath
from typing import Protocol

from bench import peers
from bench.rows import Row
from bench.stage import Stage

_RATE = "200"
_SHOWN = 10
_SECONDS = 60.0
_WAITS = ("PyThread_acquire_lock_timed", "pthread_cond_timedwait", "pthread_cond_wait")
"""Functions in which a thread waits: for a lock, or for its turn in the interpreter."""
Profile = Mapping[str, float]
"""By place, the share of the samples."""


class Place(Protocol):
    """What has a folder for the profiler's output."""

    @property
    def folder(self) -> Path: ...


def explained(rows: Sequence[Row], take: Callable[[], Profile]) -> list[Row]:
    """The rows, with the profile that `take` makes in those that miss their target. It runs once,
    and only if one does.
    """
    if all(row.holds is not False for row in rows):
        return list(rows)
    try:
        profile = take()
    except peers.PeerUnavailableError as error:
        print(f"not profiled: {error}", file=sys.stderr)
        profile = {}
    return [replace(row, profile=profile) if row.holds is False else row for row in rows]


def of_command(stage: Stage, *arguments: str | Path) -> Profile:
    """Of one of our commands, run to its end."""
    output = stage.folder / "profile.raw"
    ours: list[str | Path] = [sys.executable, "-m", "outlast", *arguments]
    subprocess.run(
        [*_profiler(output), "--", *ours],
        env=stage.environment(),
        check=True,
        capture_output=True,
    )
    return _read(output)


@contextlib.contextmanager
def of_process(stage: Place, pid: int) -> Iterator[Callable[[], Profile]]:
    """Of a process of ours while the block runs; what it yields gives the profile afterwards."""
    output = stage.folder / "profile.raw"
    command = [*_profiler(output), "--pid", str(pid), "--duration", "unlimited"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as child:
        assert child.stdout is not None
        child.stdout.readline()  # it has begun
        yield lambda: _read(output)
        child.send_signal(signal.SIGINT)
        child.communicate(timeout=_SECONDS)


def _profiler(output: Path) -> list[str | Path]:
    program = peers.profiler() / "py-spy"
    return [program, "record", "--native", "--format", "raw", "--rate", _RATE, "--output", output]


def _read(output: Path) -> Profile:
    """Of lines ``frame;frame;frame COUNT``, the outermost frame first."""
    counts: Counter[str] = Counter()
    for line in output.read_text(errors="replace").splitlines():
        stack, _, count = line.rpartition(" ")
        if any(name in stack for name in _WAITS):
            continue
        counts[_place(stack.split(";"))] += int(count)
    output.unlink()
    total = counts.total()
    return {place: round(count / total, 3) for place, count in counts.most_common(_SHOWN)}


def _place(frames: Sequence[str]) -> str:
    library = PurePath(_file(frames[-1])).name
    own = [frame for frame in frames if "outlast/" in frame]
    if not own:
        return library
    function, file = own[-1].partition(" (")[0], PurePath(_file(own[-1])).name
    return f"{function} ({file})" + ("" if library == file else f" in {library}")


def _file(frame: str) -> str:
    """The file of ``function (path/of/file.py:12)``."""
    return frame.rpartition("(")[2].rstrip(")").partition(":")[0]
