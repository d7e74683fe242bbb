"""`outlast serve` to curl: a plain blob, and one that is fetched through."""

import shutil
import statistics
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from bench import profiling
from bench.case_pull import MEMORY
from bench.hub import COMMIT, Model
from bench.process import Server
from bench.rows import OURS, Row, Target, absolute, alternate, paired
from bench.stage import MEGA, Stage, settle, size_text

_NGINX = "nginx"
_REFERENCE = 1_600_000_000
"""CPU seconds are given for this many bytes."""
_TIMES = 4
"""Fetches in one sample: a single one takes a fraction of a second."""


def plain(stage: Stage) -> list[Row]:
    """An archived blob: speed, the server's CPU time and its memory."""
    size = stage.serve_size
    home = stage.folder / "served"
    spent: dict[str, list[float]] = {OURS: [], _NGINX: []}
    with stage.model("bench/served", 1, size) as model:
        stage.outlast("pull", model.name, "--from", stage.hub.url, "--home", home, "--quiet")
        with stage.serving(home) as (server, url):
            contestants = {
                OURS: _fetcher(stage, model, url, server, spent[OURS]),
                _NGINX: _fetcher(stage, model, stage.hub.url, stage.hub.server, spent[_NGINX]),
            }
            samples = alternate(contestants, max(stage.pairs, 5))
            peak = server.peak()
    shutil.rmtree(home)
    what = f"serve to curl, plain blob of {size_text(size)}"
    return [
        paired(what, "MB/s", samples, _NGINX, target=Target("≥", 0.7)),
        absolute(
            f"{what}: server CPU per {size_text(_REFERENCE)}",
            "CPU-s",
            spent[OURS],
            target=Target("≤", 1.0, absolute=True),
            peers={_NGINX: statistics.median(spent[_NGINX])},
        ),
        absolute(f"{what}: peak memory", "MB", [peak / MEGA], target=MEMORY),
    ]


def _fetcher(
    stage: Stage, model: Model, url: str, server: Server, spent: list[float]
) -> Callable[[], float]:
    path = f"{url}/{model.name}/resolve/{COMMIT}/{model.files[0].path}"
    stage.fetch(path)  # once unmeasured: caches are warm

    def run() -> float:
        before = server.cpu()
        seconds = stage.fetch(path, _TIMES)
        size = model.size * _TIMES
        spent.append((server.cpu() - before) * _REFERENCE / size)
        return size / MEGA / seconds

    return run


def through(stage: Stage) -> list[Row]:
    """A mirror that has nothing yet: what fetching through costs in memory, and how fast it is."""
    what = f"serve --upstream to curl, fetching {size_text(stage.size)} through"
    peaks: list[int] = []
    spent: list[float] = []
    with stage.model("bench/through", 1, stage.size) as model:
        path = f"/{model.name}/resolve/{COMMIT}/{model.files[0].path}"

        def ours() -> float:
            home = stage.folder / "mirror"
            settle()
            try:
                return _through(stage, home, path, (peaks, spent))
            finally:
                shutil.rmtree(home, ignore_errors=True)

        def profile() -> profiling.Profile:
            home = stage.folder / "mirror"
            with (
                _mirror(stage, home) as (server, url),
                profiling.of_process(stage, server.process.pid) as profiled,
            ):
                stage.fetch(url + path)
            shutil.rmtree(home)
            return profiled()

        samples = alternate({OURS: ours, _NGINX: lambda: stage.fetch(stage.hub.url + path)}, 3)
        rates = {name: [stage.size / MEGA / s for s in times] for name, times in samples.items()}
        rows = [
            paired(what, "MB/s", rates, _NGINX, target=Target("≥", 0.5)),
            absolute(f"{what}: peak memory", "MB", [max(peaks) / MEGA], target=MEMORY),
        ]
        return profiling.explained(rows, profile)


def _mirror(stage: Stage, home: Path) -> AbstractContextManager[tuple[Server, str]]:
    return stage.serving(home, "--upstream", stage.hub.upstream)


def _through(stage: Stage, home: Path, path: str, notes: tuple[list[int], list[float]]) -> float:
    with _mirror(stage, home) as (server, url):
        before = server.cpu()
        seconds = stage.fetch(url + path)
        notes[0].append(server.peak())
        notes[1].append(server.cpu() - before)
        return seconds
