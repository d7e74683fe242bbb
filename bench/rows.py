"""Rows of the result, how they are printed, and how they are written down."""

import json
import os
import platform
import shutil
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

_BLOCK = os.urandom(4 * 1024 * 1024)
_DISK_TEST_BLOCKS = 128


@dataclass(frozen=True, slots=True)
class Target:
    """A bound on a ratio, or (`absolute`) on our own figure."""

    sign: str
    bound: float
    absolute: bool = False

    def holds(self, value: float) -> bool:
        tests: dict[str, Callable[[float, float], bool]] = {
            "≥": lambda a, b: a >= b,
            "≤": lambda a, b: a <= b,
            "<": lambda a, b: a < b,
            "=": lambda a, b: a == b,
        }
        return tests[self.sign](value, self.bound)

    def __str__(self) -> str:
        return f"{self.sign} {self.bound:g}"


@dataclass(frozen=True, slots=True)
class Row:
    """One line: ours, the peers', and whether the target holds (None where there is none, or
    where it could not be measured; `note` then says why).
    """

    what: str
    unit: str
    ours: float | None
    peers: Mapping[str, float | None] = field(default_factory=dict)
    ratio: float | None = None
    target: str = ""
    holds: bool | None = None
    note: str = ""
    profile: Mapping[str, float] = field(default_factory=dict)
    """Where ours spent its time, as shares, by place: of a row that misses its target."""


Samples = Mapping[str, Sequence[float]]
Contestants = dict[str, Callable[[], float]]
OURS = "outlast"


def alternate(contestants: Contestants, pairs: int) -> dict[str, list[float]]:
    """Measures all contestants `pairs` times, in an order that is turned round every time."""
    samples: dict[str, list[float]] = {name: [] for name in contestants}
    for turn in range(pairs):
        for name in list(contestants) if turn % 2 == 0 else list(contestants)[::-1]:
            samples[name].append(contestants[name]())
    return samples


def paired(
    what: str, unit: str, samples: Samples, peer: str, *, target: Target | None, note: str = ""
) -> Row:
    """Ours against one peer: the median of the ratios of those measured side by side."""
    ours = samples[OURS]
    if peer not in samples:
        return Row(what, unit, _median(ours), {peer: None}, target=_text(target), note=note)
    ratio = _median([a / b for a, b in zip(ours, samples[peer], strict=True)])
    return Row(
        what,
        unit,
        _median(ours),
        {peer: _median(samples[peer])},
        _rounded(ratio),
        _text(target),
        target.holds(ratio) if target else None,
        note,
    )


def absolute(
    what: str,
    unit: str,
    ours: Sequence[float],
    *,
    target: Target | None,
    peers: Mapping[str, float | None] | None = None,
    note: str = "",
) -> Row:
    """Our own figure against a fixed bound; the peers' stand beside it."""
    value = statistics.median(ours)
    beside = {k: None if v is None else _rounded(v) for k, v in (peers or {}).items()}
    holds = target.holds(value) if target else None
    return Row(what, unit, _rounded(value), beside, None, _text(target), holds, note)


def missing(what: str, unit: str, target: Target | None, why: str) -> Row:
    """A row that could not be measured."""
    return Row(what, unit, None, {}, None, _text(target), None, why)


def _text(target: Target | None) -> str:
    return "" if target is None else str(target)


def _median(values: Sequence[float]) -> float:
    return _rounded(statistics.median(values))


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")


def print_table(rows: Sequence[Row]) -> None:
    """The rows as a table of text; notes follow it."""
    head = ("what", "unit", "ours", "peers", "ratio", "target", "holds")
    lines = [head, *map(_cells, rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    for line in lines:
        cells = (
            cell.rjust(width) if i in (2, 4) else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        print("  ".join(cells).rstrip())
    for note in dict.fromkeys(map(_note, rows)):
        if note:
            print(f"  note: {note}")
    for row in rows:
        if row.profile:
            shares = "; ".join(f"{share:.0%} {place}" for place, share in row.profile.items())
            print(f"  profile of {row.what}: {shares}")


def _note(row: Row) -> str:
    return f"{row.what}: {row.note.splitlines()[-1]}" if row.ours is None else row.note


def _cells(row: Row) -> tuple[str, ...]:
    peers = ", ".join(f"{k} {_figure(v) or 'not measured'}" for k, v in row.peers.items())
    unknown = "not measured" if row.target or row.ours is None else "-"
    holds = {True: "yes", False: "NO", None: unknown}[row.holds]
    return (
        *(row.what, row.unit, _figure(row.ours), peers or "-"),
        *(_figure(row.ratio), row.target or "-", holds),
    )


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def machine(folder: Path, load_before: tuple[float, float, float]) -> dict[str, Any]:
    """What the figures were taken on, and how busy it was."""
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "kernel": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "disk": {
            "file_system": _file_system(folder),
            "write_fsync_mb_s": _disk_speed(folder),
            "free_bytes": shutil.disk_usage(folder).free,
        },
        "load_average": {"before": list(load_before), "after": list(os.getloadavg())},
        "when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _file_system(folder: Path) -> str:
    done = subprocess.run(
        ["stat", "-f", "-c", "%T", folder], capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or "unknown"


def _disk_speed(folder: Path) -> float:
    """MB/s of writing 512 MiB and waiting until they are on the disk."""
    path = folder / "disk-test"
    started = time.perf_counter()
    with path.open("wb") as file:
        for _ in range(_DISK_TEST_BLOCKS):
            file.write(_BLOCK)
        file.flush()
        os.fsync(file.fileno())
    seconds = time.perf_counter() - started
    path.unlink()
    return round(len(_BLOCK) * _DISK_TEST_BLOCKS / seconds / 1e6)


def commit(root: Path) -> str:
    """The commit that was measured; ``-dirty`` where the sources differ from it."""
    head = _git(root, "rev-parse", "HEAD")
    changed = _git(root, "status", "--porcelain", "--", "src", "bench")
    return f"{head or 'unknown'}{'-dirty' if changed else ''}"


def _git(root: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", root, *arguments], capture_output=True, text=True, check=False
    )
    return done.stdout.strip() if done.returncode == 0 else ""


def write(path: Path, about: Mapping[str, Any], at: str, rows: Sequence[Row]) -> None:
    """Writes the result, atomically."""
    document = {"machine": about, "commit": at, "rows": [_document(row) for row in rows]}
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    part.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")
    part.replace(path)


def _document(row: Row) -> dict[str, Any]:
    optional = ("note", "profile")
    return {k: v for k, v in asdict(row).items() if v or k not in optional}
