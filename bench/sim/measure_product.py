"""`python -m bench.sim.measure_product`: crowds of `outlast pull`, to calibrate the simulation.

Needs root, as `make bench-swarm` does, whose machines it uses. Adds the runs to
bench/results/sim-calibration.json; how long the programs took to begin is measured, and is what
`settle` says.
"""

import argparse
import json
import shutil
import tempfile
from dataclasses import asdict
from pathlib import Path

from bench.sim.calibrate import RUNS, Measured, Run, note_runs
from bench.stage import MEGA
from bench.swarm.ours import Ours
from bench.swarm.payload import Payload, plain
from bench.swarm.rig import Rig

_RATE = 10 * MEGA
_BEGUN = 1 * MEGA
PLANS = ((8, 200), (8, 400), (4, 200))
"""Nodes, and megabytes."""


def measure(rig: Rig, nodes: int, payload: Payload) -> Run:
    """One run: a seed whose line is capped, and `nodes` that come at once."""
    first: list[float] = []
    with rig.capped(rig.seed, _RATE), Ours().seeding(rig, payload):
        before = rig.seed.counters().sent

        def seen(seconds: float) -> None:
            if not first and rig.seed.counters().sent - before > _BEGUN:
                first.append(seconds - _BEGUN / _RATE)

        result = rig.fetch(Ours(), payload, rig.nodes[:nodes], seen)
    size = payload.size
    return Run(
        name=f"outlast pull, 1 seed at 10 MB/s, {nodes} nodes, {size // MEGA} MB",
        nodes=nodes,
        size=size,
        seed_up=_RATE,
        peer_up=0,
        measured=Measured(tuple(round(at, 2) for at in result.each), result.sent),
        policy={"stripes": True, "settle": round(first[0], 2)},
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench.sim.measure_product", description=__doc__
    )
    parser.add_argument("--output", type=Path, default=RUNS)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="outlast-sim-"))
    rig = Rig(folder, 0, 1)
    try:
        rig.open()
        runs = []
        for number, (nodes, megabytes) in enumerate(PLANS):
            payload = plain(folder / f"payload-{number}", megabytes * MEGA)
            runs.append(measure(rig, nodes, payload))
            print(json.dumps(asdict(runs[-1])), flush=True)
    finally:
        rig.close()
        shutil.rmtree(folder, ignore_errors=True)
    note_runs(runs, options.output)


if __name__ == "__main__":
    main()
