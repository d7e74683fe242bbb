"""Capsules in the product: `outlast add`, `outlast serve` to curl, and a range from the middle."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.codec.lab import Lab
from bench.process import BenchError, Server, timed
from bench.rows import OURS, Row, Target, absolute, alternate, paired
from bench.stage import MEGA, Stage, settle, size_text

_PLAIN, _CAPSULE = "plain", "capsule"
_NAME = "bench/weights"
_FILE = "model.safetensors"
_RANGE = 1 << 20
_RANGES = 200
_STRIDE = 79
"""Ranges follow each other at distances, and begin at odd places."""
_TIMES = 2
"""Fetches in one sample."""


def add(lab: Lab) -> list[Row]:
    """Encoded while it is copied and hashed, on whatever cores there are, beside the plain form."""
    stage = lab.product
    with _weights(lab) as source:
        size = source.stat().st_size

        def run(form: str) -> float:
            settle()
            home = stage.folder / f"added-{form}"
            try:
                return size / MEGA / _added(stage, source, home, form)
            finally:
                shutil.rmtree(home, ignore_errors=True)

        contestants = {OURS: lambda: run(_CAPSULE), _PLAIN: lambda: run(_PLAIN)}
        samples = alternate(contestants, max(lab.pairs, 3))
    what = f"add to a capsule, {size_text(stage.size)} of bf16"
    return [paired(what, "MB/s", samples, _PLAIN, target=Target("≥", 0.7))]


def serve(lab: Lab) -> list[Row]:
    """All of a capsule, and many ranges of it, beside the plain blob."""
    stage = lab.product
    with _weights(lab) as source:
        homes = {form: stage.folder / f"served-{form}" for form in (_CAPSULE, _PLAIN)}
        try:
            for form, home in homes.items():
                _added(stage, source, home, form)
            return _served(lab, homes, source)
        finally:
            for home in homes.values():
                shutil.rmtree(home, ignore_errors=True)


def _added(stage: Stage, source: Path, home: Path, form: str) -> float:
    arguments = ("add", source, "--as", _NAME, "--home", home, "--quiet", "--form", form)
    return stage.outlast(*arguments).wall


@contextmanager
def _weights(lab: Lab) -> Iterator[Path]:
    """A file of bf16 weights of the product's size; random, but spread like weights."""
    with lab.scratch() as folder:
        path = Path(folder) / _FILE
        lab.peers.ask("synthesise", str(path), lab.product.size)
        yield path


def _served(lab: Lab, homes: dict[str, Path], source: Path) -> list[Row]:
    stage, size = lab.product, source.stat().st_size
    what = f"serve to curl, capsule of {size_text(stage.size)}"
    with (
        stage.serving(homes[_CAPSULE]) as (server, url),
        stage.serving(homes[_PLAIN]) as (_, plain_url),
    ):
        _check(stage, _path(url), source)
        contestants = {
            OURS: lambda: size * _TIMES / MEGA / stage.fetch(_path(url), _TIMES),
            _PLAIN: lambda: size * _TIMES / MEGA / stage.fetch(_path(plain_url), _TIMES),
        }
        samples = alternate(contestants, max(lab.pairs, 3))
        spent = [_range_cpu(stage, _path(url), server, size) for _ in range(max(lab.pairs, 3))]
        peak = server.peak()
    ranged = f"CPU of a 1 MiB range of a {size_text(stage.size)} capsule, first byte to last"
    return [
        paired(what, "MB/s", samples, _PLAIN, target=Target("≥", 0.8)),
        absolute(ranged, "ms", spent, target=Target("<", 5.0, absolute=True)),
        absolute(f"{what}: peak memory", "MB", [peak / MEGA], target=None),
    ]


def _path(url: str) -> str:
    return f"{url}/{_NAME}/resolve/main/{_FILE}"


def _check(stage: Stage, url: str, source: Path) -> None:
    """The server gives the very bytes; caches are warm afterwards."""
    got = stage.folder / "got"
    timed(["curl", "-sSf", "--noproxy", "*", "-o", got, url], stage.environment())
    try:
        timed(["cmp", source, got], stage.environment())
    except BenchError as error:
        raise BenchError("a capsule was served with other bytes than were added") from error
    finally:
        got.unlink()


def _range_cpu(stage: Stage, url: str, server: Server, size: int) -> float:
    """Milliseconds of the server's CPU time by range: an upper bound for the first byte's."""
    before = server.cpu()
    for number in range(_RANGES):
        start = (size - _RANGE) // _RANGES * (number * _STRIDE % _RANGES) + number
        span = f"{start}-{start + _RANGE - 1}"
        command = ["curl", "-sSf", "--noproxy", "*", "-r", span, "-o", "/dev/null", url]
        timed(command, stage.environment())
    return (server.cpu() - before) * 1000 / _RANGES
