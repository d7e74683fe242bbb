"""Measured runs, and the simulation of the same: do they agree?

`bench.sim.measure` measures runs in network namespaces, and other benches may note theirs in
bench/results/sim-calibration.json. `calibrate` simulates each with the documented policies of
libtorrent.
"""

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from math import inf
from pathlib import Path
from typing import Any

from bench.sim.engine import simulate
from bench.sim.world import Event, Hub, Node, Payload, Policy, Site, World

RUNS = Path(__file__).parent.parent / "results" / "sim-calibration.json"
WITHIN = 0.15
_PIECE = 1024 * 1024
_SEEDS = 9
_MACHINE = 120e6
"""Bytes/s that a node of a namespace run reaches where nothing limits it: all share two cores."""

REAL = Policy(queue=3.0, step=0.1, settle=0.5, endgame=True, quiet=False, hub_flows=8)
"""libtorrent as it is: `request_queue_time` 3 s, `initial_picker_threshold` 4, pieces of 1 MiB."""


@dataclass(frozen=True, slots=True)
class Measured:
    """Seconds until each node had the whole payload, and bytes of payload that the origin sent."""

    done: tuple[float, ...]
    origin: int


@dataclass(frozen=True, slots=True)
class Run:
    """A measured run. Sizes in bytes; rates in bytes/s on the wire, 0 where nothing limits."""

    name: str
    nodes: int
    size: int
    seed_up: int
    peer_up: int
    measured: Measured
    kill_seed: bool = False
    """The seed was ended once the others had every piece between them."""
    killed_at: float | None = None
    wasted: int = 0
    hub: bool = False
    """The origin is a hub (HTTP, one elected holder), and not a BitTorrent seed."""
    policy: Mapping[str, Any] = field(default_factory=dict)
    """Settings of the nodes that differ from `REAL`, by the names of `Policy`."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """A run beside its simulation: seconds until the last and the middle node had everything, and
    copies of the payload that the origin sent. `off`: the simulated time of the last one, less the
    measured, by the measured.
    """

    name: str
    measured: float
    simulated: float
    off: float
    measured_median: float
    simulated_median: float
    measured_copies: float
    simulated_copies: float
    holds: bool


def calibrate(runs: Sequence[Run]) -> list[Agreement]:
    """Simulates every run some times, with different seeds, and compares the medians."""
    return [_compare(run) for run in runs]


def _compare(run: Run) -> Agreement:
    world = world_of(run)
    last, middle, copies = [], [], []
    for seed in range(1, _SEEDS + 1):
        outcome = simulate(replace(world, seed=seed))
        weighed = zip(outcome.done, outcome.weights, strict=True)
        done = [inf if at is None else at for at, weight in weighed if weight]
        last.append(max(done))
        middle.append(statistics.median(done))
        copies.append(outcome.origin / run.size)
    simulated, measured = statistics.median(last), max(run.measured.done)
    off = simulated / measured - 1
    return Agreement(
        run.name,
        measured,
        round(simulated, 2),
        round(off, 3),
        statistics.median(run.measured.done),
        round(statistics.median(middle), 2),
        round(run.measured.origin / run.size, 2),
        round(statistics.median(copies), 2),
        abs(off) <= WITHIN,
    )


def world_of(run: Run) -> World:
    """The run as a world: one LAN, whose first node is the seed where there is no hub."""
    count = max(1, round(run.size / _PIECE))
    policy = replace(REAL, **run.policy)
    peers = [Node(0, run.peer_up or _MACHINE, _MACHINE)] * run.nodes
    payload = Payload(1, count, run.size / count)
    if run.hub:
        return World(tuple(peers), (Site(),), payload, Hub(run.seed_up or _MACHINE), policy)
    events = (Event("leave", union=True, nodes=(0,)),) if run.kill_seed else ()
    seed = Node(0, run.seed_up or _MACHINE, inf, seed=True)
    return World((seed, *peers), (Site(),), payload, None, policy, events)


def read_runs(path: Path = RUNS) -> list[Run]:
    """The runs that were noted; none where there is no such file."""
    if not path.exists():
        return []
    rows = json.loads(path.read_text())["runs"]
    return [Run(**{**row, "measured": _measured(row["measured"])}) for row in rows]


def note_runs(runs: Sequence[Run], path: Path = RUNS) -> None:
    """Writes runs down, in place of those with the same names."""
    names = {run.name for run in runs}
    kept = [run for run in read_runs(path) if run.name not in names]
    document = {"runs": [asdict(run) for run in (*kept, *runs)]}
    path.write_text(json.dumps(document, indent=1) + "\n")


def _measured(row: Mapping[str, Any]) -> Measured:
    return Measured(tuple(row["done"]), int(row["origin"]))
