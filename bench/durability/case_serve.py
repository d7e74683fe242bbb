"""`outlast serve` of plain blobs: as it is, and as it was before it read checked."""

import os
import shutil
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from bench.durability import before
from bench.durability.rig import Rig
from bench.hub import COMMIT, nginx_program, write_random
from bench.process import Server
from bench.rows import OURS, Row, Target, alternate, paired
from bench.stage import MEGA, Stage, size_text

_BEFORE = "before reading was checked"
_NGINX = "nginx"
_NAME, _FILE = "bench/served", "model-00001.safetensors"
_WARM, _FIRST = Target("≥", 0.97), Target("≥", 0.8)
_TIMES = 4
"""Fetches in one warm sample: a single one takes a fraction of a second."""
_LEAST_PAIRS = 9
_SETTLED = 0.3
"""Seconds after which a change of a file is told from the next one."""


def serve(rig: Rig) -> list[Row]:
    """To curl, a blob that was compared, and one that was just changed and so is compared anew."""
    stage = rig.stage
    source = stage.folder / _FILE
    digest = write_random(source, stage.size)
    pythons = {OURS: Path(sys.executable), _BEFORE: before.python()}
    homes = {name: stage.folder / f"served-{i}" for i, name in enumerate(pythons)}
    try:
        for name, python in pythons.items():
            words = ("add", source, "--as", _NAME, "--home", homes[name], "--quiet")
            rig.run(python, "-m", "outlast", *words, "--form", "plain")
        with _serving(stage, pythons, homes) as servers:
            return _rows(rig, servers, homes, (source, digest))
    finally:
        source.unlink()
        for home in homes.values():
            shutil.rmtree(home, ignore_errors=True)


@contextmanager
def _serving(
    stage: Stage, pythons: dict[str, Path], homes: dict[str, Path]
) -> Iterator[dict[str, tuple[Server, str]]]:
    with (
        stage.serving(homes[OURS], python=pythons[OURS]) as ours,
        stage.serving(homes[_BEFORE], python=pythons[_BEFORE]) as theirs,
    ):
        yield {OURS: ours, _BEFORE: theirs}


def _rows(
    rig: Rig,
    servers: dict[str, tuple[Server, str]],
    homes: dict[str, Path],
    source: tuple[Path, str],
) -> list[Row]:
    stage = rig.stage
    urls = {name: f"{url}/{_NAME}/resolve/main/{_FILE}" for name, (_, url) in servers.items()}
    if nginx_program() is not None:
        stage.hub.put(_NAME, *source)
        stage.hub.start()
        urls[_NGINX] = f"{stage.hub.url}/{_NAME}/resolve/{COMMIT}/{_FILE}"
    pairs = max(stage.pairs, _LEAST_PAIRS)
    spent: dict[str, list[float]] = {name: [] for name in servers}

    def fetching(name: str, times: int, homes: Sequence[Path] = ()) -> Callable[[], float]:
        def run() -> float:
            _touch(homes)
            used = servers[name][0].cpu() if name in servers else 0.0
            seconds = stage.fetch(urls[name], times)
            if name in servers:
                spent[name].append((servers[name][0].cpu() - used) / times)
            return stage.size * times / MEGA / seconds

        return run

    for url in urls.values():
        stage.fetch(url)  # once unmeasured: caches are warm, and all of the blob was compared
    what = f"serve to curl, plain blob of {size_text(stage.size)}"
    rows = _compared(what, alternate({n: fetching(n, _TIMES) for n in urls}, pairs), spent, _WARM)
    for values in spent.values():
        values.clear()
    first = {name: fetching(name, 1, [homes[name]]) for name in servers}
    return [*rows, *_compared(f"{what}, first read", alternate(first, pairs), spent, _FIRST)]


def _compared(
    what: str, speeds: dict[str, list[float]], spent: dict[str, list[float]], target: Target
) -> list[Row]:
    rows = [
        paired(what, "MB/s", speeds, peer, target=target if peer == _BEFORE else None)
        for peer in speeds
        if peer != OURS
    ]
    cpu = f"{what}: CPU of the server"
    ours, theirs = (statistics.median(spent[name]) for name in (OURS, _BEFORE))
    ratio = round(ours / theirs, 4) if theirs else None
    return [*rows, Row(cpu, "CPU-s", round(ours, 4), {_BEFORE: round(theirs, 4)}, ratio)]


def _touch(homes: Sequence[Path]) -> None:
    """Gives the blobs another time, as an edit would: what was compared counts no more."""
    for home in homes:
        for path in (home / "blobs").rglob("*"):
            if path.is_file():
                os.utime(path)
    if homes:
        time.sleep(_SETTLED)
