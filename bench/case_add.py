"""`outlast add` of a large file, against one pass of sha256sum over it, and against a copy that is
synced while openssl hashes the file.
"""

import shutil
from collections.abc import Callable

from bench import profiling
from bench.hub import write_random
from bench.process import timed
from bench.rows import OURS, Row, Target, alternate, paired
from bench.stage import MEGA, Stage, settle, size_text

_COPY = "cp + fsync, openssl sha256 beside"
_COPIER = 'openssl sha256 "$1" >/dev/null & cp "$1" "$2" && sync "$2" && wait'


def add(stage: Stage) -> list[Row]:
    """Copied, hashed three ways and fsynced, against only read and hashed."""
    source = stage.folder / "added.safetensors"
    write_random(source, stage.size)
    home = stage.folder / "added"

    words = ("add", source, "--as", "bench/added", "--home", home, "--quiet")

    def ours() -> float:
        settle()
        try:
            cost = stage.outlast(*words)
        finally:
            shutil.rmtree(home, ignore_errors=True)
        return stage.size / MEGA / cost.wall

    def profile() -> profiling.Profile:
        try:
            return profiling.of_command(stage, *words)
        finally:
            shutil.rmtree(home, ignore_errors=True)

    def hasher(*command: str) -> Callable[[], float]:
        def run() -> float:
            settle()
            return stage.size / MEGA / timed([*command, source], stage.environment()).wall

        return run

    def copier() -> float:
        target = stage.folder / "copied"
        settle()
        try:
            cost = timed(["sh", "-c", _COPIER, "sh", source, target], stage.environment())
        finally:
            target.unlink(missing_ok=True)
        return stage.size / MEGA / cost.wall

    contestants = {OURS: ours, "sha256sum": hasher("sha256sum")}
    if shutil.which("openssl"):
        contestants["openssl sha256"] = hasher("openssl", "sha256")
        contestants[_COPY] = copier
    samples = alternate(contestants, stage.pairs)
    what = f"add, 1 file of {size_text(stage.size)}"
    rows = [paired(what, "MB/s", samples, "sha256sum", target=Target("≥", 0.8))]
    if "openssl sha256" in samples:
        rows.append(paired(what, "MB/s", samples, "openssl sha256", target=None))
        rows.append(paired(what, "MB/s", samples, _COPY, target=Target("≥", 0.85)))
    rows = profiling.explained(rows, profile)
    source.unlink()
    return rows
