"""`python -m bench.sim.measure_product`: crowds of `outlast pull`, to calibrate the simulation.

Needs root, as `make bench-swarm` does, whose machines it uses. Adds the runs to
bench/results/sim-calibration.json; how long the programs took to begin is measured, and is what
`settle` says.
"""

import argparse
import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from bench.process import BenchError
from bench.sim.calibrate import RUNS, Measured, Run, read_runs
from bench.stage import MEGA, settle
from bench.swarm.ours import Ours
from bench.swarm.payload import Payload, plain
from bench.swarm.rig import Rig
from tests.net import Host

_RATE = 10 * MEGA
_BEGUN = 1 * MEGA
_POLL = 0.02
_LIMIT = 300.0
PLANS = ((8, 200), (8, 400), (4, 200))
"""Nodes, and megabytes."""


def measure(rig: Rig, nodes: int, payload: Payload) -> Run:
    """One run: a seed whose line is capped, and `nodes` that come at once."""
    with rig.capped(rig.seed, _RATE), Ours().seeding(rig, payload):
        with _pulls(rig, rig.nodes[:nodes], payload) as (running, began):
            before = rig.seed.counters().sent
            first, done = _follow(rig, running, began, before)
        sent = rig.seed.counters().sent - before
    size = payload.size
    return Run(
        name=f"outlast pull, 1 seed at 10 MB/s, {nodes} nodes, {size // MEGA} MB",
        nodes=nodes,
        size=size,
        seed_up=_RATE,
        peer_up=0,
        measured=Measured(tuple(round(at, 2) for at in done), sent),
        policy={"stripes": True, "settle": round(first, 2)},
    )


@contextmanager
def _pulls(
    rig: Rig, hosts: Sequence[Host], payload: Payload
) -> Iterator[tuple[list[subprocess.Popen[bytes]], float]]:
    """The programs, and when they were started."""
    work = Path(tempfile.mkdtemp(dir=rig.folder))
    running: list[subprocess.Popen[bytes]] = []
    settle()
    began = time.monotonic()
    try:
        for host in hosts:
            (work / host.name).mkdir()
            task = Ours().task(rig, payload, work / host.name)
            with host.inside(), (work / host.name / "said").open("wb") as said:
                running.append(
                    subprocess.Popen(task.command, env=task.env, stdout=said, stderr=said)
                )
        yield running, began
    finally:
        for program in running:
            program.kill()
            program.wait()
        shutil.rmtree(work, ignore_errors=True)


def _follow(
    rig: Rig, running: Sequence[subprocess.Popen[bytes]], began: float, before: int
) -> tuple[float, list[float]]:
    """Seconds until bytes flowed, and until each program had ended."""
    first, done = 0.0, dict.fromkeys(range(len(running)), 0.0)
    while not all(done.values()):
        now = time.monotonic() - began
        if now > _LIMIT:
            raise BenchError(f"not done in {_LIMIT:.0f} s")
        if not first and rig.seed.counters().sent - before > _BEGUN:
            first = now - _BEGUN / _RATE
        for number, program in enumerate(running):
            if not done[number] and program.poll() is not None:
                if program.returncode:
                    raise BenchError(f"outlast pull ended with {program.returncode}")
                done[number] = now
        time.sleep(_POLL)
    return first, list(done.values())


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
    kept = [run for run in read_runs(options.output) if run.name not in {r.name for r in runs}]
    document = {"runs": [asdict(run) for run in (*kept, *runs)]}
    options.output.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
