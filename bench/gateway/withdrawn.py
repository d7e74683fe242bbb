"""A model that its provider withdrew overnight: what the first request waits until the weights of
the archive answer it, beyond the time that their engine takes to start by itself.
"""

import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

from bench.gateway import contestants
from bench.gateway.contestants import Route
from bench.gateway.load import Asker
from bench.process import BenchError
from bench.rows import Row, Target, absolute
from outlast.core.cancel import Cancel
from outlast.core.control import Control
from outlast.core.names import Target as Name
from outlast.features.gateway.local.starting import Starter
from outlast.features.gateway.routes.values import LocalModel
from outlast.store.archive import Archive
from tests.features.gateway.upstream import providers
from tests.gguf_cut import small_smollm2
from tests.realweights import WeightsUnavailableError

_MODEL: Final = "me/model"
_WHAT: Final = "withdrawn model: the next request, beyond its engine's own start"
_GONE: Final = {"status": 404, "body": '{"error": {"message": "model not available"}}'}


def withdrawn(folder: Path, pairs: int) -> list[Row]:
    """Raises :class:`BenchError` where the small model cannot be had."""
    home = folder / "home"
    try:
        weights = small_smollm2(folder)
    except WeightsUnavailableError as error:
        raise BenchError(str(error)) from None
    command: list[str | Path] = [sys.executable, "-m", "outlast", "add", weights, "--as", _MODEL]
    command += ["--form", "plain", "--home", home]
    subprocess.run(command, check=True, capture_output=True)
    with Archive(home) as archive:
        waited = [_waited(folder / str(number), home) for number in range(pairs)]
        own = [_own_start(archive) for _ in range(pairs)]
    most = (statistics.median(waited) - statistics.median(own)) * 1e3
    return [absolute(_WHAT, "ms", [most], target=Target("≤", 500, absolute=True))]


def _own_start(archive: Archive) -> float:
    began = time.perf_counter()
    model = LocalModel(Name.parse(_MODEL), context=contestants.CONTEXT, threads=1)
    running = Starter(archive, Control()).start(model, Cancel())
    took = time.perf_counter() - began
    running.close()
    return took


def _waited(folder: Path, home: Path) -> float:
    """Seconds to the first token of the first request after the provider withdrew the model, less
    those of one that the engine answers once it runs.
    """
    with providers("cloud") as (cloud,):
        route = Route("gone", [cloud.url], _MODEL)
        with contestants.outlast(folder, [route], first_token=120, home=home) as running:
            asker = Asker(running.door("gone"))
            asker.first()
            cloud.doing = _GONE
            took = asker.first()
            later = statistics.median(asker.first() for _ in range(3))
            asker.close()
    return took - later
