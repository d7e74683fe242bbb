"""What the cases of `make bench-durability` share: a model, archives of it, and figures of several
programs that were measured in turns.
"""

import os
import shutil
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from bench.durability.weights import write_model
from bench.process import Command, Cost, timed
from bench.rows import OURS, Row, Samples, Target, absolute, alternate, paired
from bench.stage import MEGA, Stage, settle, size_text

NAME = "bench/weights"
PLAIN, CAPSULE = "plain", "capsule"
COPY = "cp + sync, sha256 on each core"
# One copy is written and synced while every file is hashed, as many at once as there are cores.
_COPIER = (
    'printf "%s\\0" "$1"/* | xargs -0 -n 1 -P "$(nproc)" openssl sha256 >/dev/null & '
    'cp -r "$1" "$2" && sync -f "$2" && wait'
)
Run = Callable[[], Cost]


@dataclass(frozen=True, slots=True)
class Race:
    """Of each contestant MB/s and CPU seconds, sample by sample."""

    speeds: Samples
    cpu: Samples

    def without(self, *names: str, ours: str = OURS) -> "Race":
        """The same with `ours` in the place of ours, and without `names`."""

        def chosen(samples: Samples) -> Samples:
            left = {key: value for key, value in samples.items() if key not in {*names, ours}}
            return {**left, OURS: samples[ours]}

        return Race(chosen(self.speeds), chosen(self.cpu))

    def rows(self, what: str, peer: str, target: Target | None, note: str = "") -> list[Row]:
        """Ours against one peer, the others beside it; then the CPU seconds of all."""
        row = paired(what, "MB/s", self.speeds, peer, target=target, note=note)
        spent = medians(self.cpu)
        return [
            replace(row, peers={**row.peers, **_others(medians(self.speeds), peer)}),
            absolute(
                f"{what}: CPU",
                "CPU-s",
                self.cpu[OURS],
                target=None,
                peers={name: value for name, value in spent.items() if name != OURS},
            ),
        ]


def medians(samples: Samples) -> dict[str, float]:
    return {name: statistics.median(values) for name, values in samples.items()}


def _others(values: Mapping[str, float], peer: str) -> dict[str, float]:
    return {
        name: float(f"{value:.4g}") for name, value in values.items() if name not in {OURS, peer}
    }


@dataclass(eq=False)
class Rig:
    """The work folder of a run, the model that is measured, and its archives."""

    stage: Stage

    @cached_property
    def files(self) -> list[Path]:
        """The files of the model, of `stage.size` bytes in all."""
        return write_model(self.stage.folder / "weights", self.stage.size)

    @property
    def folder(self) -> Path:
        return self.files[0].parent

    @cached_property
    def size(self) -> int:
        return sum(path.stat().st_size for path in self.files)

    @property
    def text(self) -> str:
        return size_text(round(self.size, -int(MEGA).bit_length() // 3))

    def home(self, form: str) -> Path:
        """An archive that has the model in this form; it stays."""
        home = self.stage.folder / f"home-{form}"
        if not home.exists():
            self.archive(home, self.folder, NAME, "--form", form)
        return home

    def archive(self, home: Path, folder: Path, name: str, *options: str) -> None:
        self.stage.outlast("add", folder, "--as", name, "--home", home, "--quiet", *options)

    def export(self, home: Path, to: Path, *options: str | Path, name: str = NAME) -> Cost:
        return self.stage.outlast("export", name, "--to", to, "--home", home, "--quiet", *options)

    def copy(self) -> Cost:
        """What everything that copies a model is measured by."""
        with Scratch(self.stage, "copied") as target:
            return self.run("sh", "-c", _COPIER, "sh", self.folder, target)

    def run(self, *command: str | Path, **environment: str) -> Cost:
        words: Command = command
        return timed(words, self.stage.environment(**environment))

    def race(self, contestants: Mapping[str, Run], size: int | None = None) -> Race:
        """Measures all of them in turns; `size` is what each handles, by default the model."""
        cpu: dict[str, list[float]] = {name: [] for name in contestants}
        handled = self.size if size is None else size

        def measured(name: str, run: Run) -> Callable[[], float]:
            def once() -> float:
                settle()
                cost = run()
                cpu[name].append(cost.cpu)
                return handled / MEGA / cost.wall

            return once

        turns = {name: measured(name, run) for name, run in contestants.items()}
        return Race(alternate(turns, self.stage.pairs), cpu)


class Scratch:
    """A path below the work folder for what one command writes; removed before and after."""

    def __init__(self, stage: Stage, name: str) -> None:
        self._path = stage.folder / name

    def __enter__(self) -> Path:
        shutil.rmtree(self._path, ignore_errors=True)
        return self._path

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self._path, ignore_errors=True)


def forget_pages(files: Sequence[Path]) -> None:
    """Has the next read of these files come from the disk, as that of a scrub does."""
    for path in files:
        fd = os.open(path, os.O_RDONLY)
        try:
            os.fsync(fd)
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(fd)


def bytes_below(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
