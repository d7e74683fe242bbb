"""`python -m bench.lineage`: how long it takes to find a model's base among 1,000 models.

Prints a table and writes bench/results/lineage.json. Seconds are of the clock, on one thread.
"""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

import numpy as np

from bench.rows import Target, absolute, commit, machine, print_table, write
from outlast.core.control import Control
from outlast.core.names import Target as Asked
from outlast.features.lineage.lineage import find_lineage
from outlast.features.lineage.search import near_models
from outlast.features.lineage.weights import Weights
from outlast.store.archive import Archive
from tests.features.lineage.models import Model, Zoo, trained

ROOT: Final = Path(__file__).parent.parent.parent
RESULT: Final = ROOT / "bench" / "results" / "lineage.json"
_WIDTH, _ROWS, _LAYERS = 256, 16, 2
_SEARCH: Final = Target("≤", 2.0, absolute=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=int, default=1000, help="in the archive")
    parser.add_argument("--runs", type=int, default=5, help="repetitions")
    options = parser.parse_args()
    load, at = os.getloadavg(), commit(ROOT)
    with tempfile.TemporaryDirectory() as name:
        zoo = Zoo(Path(name))
        for seed in range(options.models):
            zoo.put(f"m{seed}", small(seed))
        zoo.put("asked", trained(small(options.models // 2), 1_000_000))
        expected = f"me/m{options.models // 2}"
        with Archive(zoo.home / "archive") as archive:
            first = seconds(archive, expected)
            again = [seconds(archive, expected) for _ in range(options.runs)]
            whole = [all_seconds(archive, expected) for _ in range(options.runs)]
        among = f"among {options.models} models"
        rows = [
            absolute(f"base found {among}, by sketches", "s", again, target=_SEARCH),
            absolute(f"base found {among}, and compared in full", "s", whole, target=None),
            absolute(f"the first search {among}: sketches made", "s", [first], target=None),
        ]
        print_table(rows)
        if options.models == 1000:
            write(RESULT, machine(Path(name), load), at, rows)
    return 0


def small(seed: int) -> Model:
    """A model with all places that a sketch has, and little else."""
    random = np.random.default_rng(seed)
    found = {"model.embed_tokens.weight": _matrix(random)}
    for layer in range(_LAYERS):
        for name in ("self_attn.v_proj", "self_attn.o_proj"):
            found[f"model.layers.{layer}.{name}.weight"] = _matrix(random)
        for name in ("gate_proj", "up_proj", "down_proj"):
            found[f"model.layers.{layer}.mlp.{name}.weight"] = _matrix(random)
    return found


def _matrix(random: np.random.Generator) -> "np.ndarray[tuple[int, ...], np.dtype[np.float32]]":
    return random.normal(size=(_ROWS, _WIDTH)).astype(np.float32)


def seconds(archive: Archive, expected: str) -> float:
    """Of one search by sketches."""
    asked = Asked.parse("me/asked")
    started = time.perf_counter()
    revision = archive.revision(asked.repo)
    others = [one for one in archive.summaries() if one.digest != revision.digest]
    with Weights(archive, revision) as weights:
        near = near_models(archive, weights, others, control=Control())
    taken = time.perf_counter() - started
    assert [one.summary.repo.name for one in near] == [expected]
    return taken


def all_seconds(archive: Archive, expected: str) -> float:
    """Of the whole use case."""
    started = time.perf_counter()
    found = find_lineage(archive, Asked.parse("me/asked"), (), control=Control())
    taken = time.perf_counter() - started
    assert [one.repo.name for one in found.relatives] == [expected]
    return taken


if __name__ == "__main__":
    sys.exit(main())
