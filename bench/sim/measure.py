"""`python -m bench.sim.measure`: real swarms in network namespaces, to calibrate the simulation.

Needs root (ip netns, tc). Each node is a process in a namespace of its own behind a bridge; what
leaves it is held to its rate by a token bucket. Prints and writes the runs as JSON.
"""

import argparse
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bench.sim.calibrate import RUNS, Measured, Run, note_runs
from bench.sim.measure_node import make_torrent

_ROOT = Path(__file__).parent.parent.parent
_LIMIT = 300.0
_MEGA = 1_000_000
_BRIDGE = "olsim0"


@dataclass(frozen=True, slots=True)
class Plan:
    """What to run: sizes in bytes, rates in bytes/s on the wire (0: not limited)."""

    name: str
    leechers: int
    size: int
    seed_up: int
    peer_up: int = 0
    kill_seed: bool = False
    """Ends the seed once the others hold every piece between them."""
    super_seed: bool = False
    settings: Mapping[str, int] = field(default_factory=dict)


PLANS = (
    Plan("1 seed at 10 MB/s, 4 nodes", 4, 200 * _MEGA, 10 * _MEGA),
    Plan("1 seed at 10 MB/s, 8 nodes", 8, 200 * _MEGA, 10 * _MEGA),
    Plan(
        "1 seed at 5 MB/s, 8 nodes at 2.5 MB/s, seed killed when the rest have every piece",
        *(8, 100 * _MEGA, 5 * _MEGA, 2_500_000),
        kill_seed=True,
    ),
)


class _Node:
    def __init__(self, namespace: str, order: dict[str, Any]) -> None:
        command = ["ip", "netns", "exec", namespace, sys.executable, "-m", "bench.sim.measure_node"]
        self._process = subprocess.Popen(
            [*command, json.dumps(order)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=_ROOT,
        )
        assert self._process.stdout is not None
        self.last: dict[str, Any] = {}
        self._out = self._process.stdout
        self._out.readline()
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()

    def _follow(self) -> None:
        for line in self._out:
            self.last = json.loads(line)

    def go(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        self._thread.join()


def measure(plan: Plan) -> Run:
    """One run of `plan`, with everything taken down after it."""
    folder = Path(tempfile.mkdtemp(prefix="outlast-sim-"))
    names = [f"olsim{number}" for number in range(plan.leechers + 1)]
    try:
        data = folder / "seed" / "payload"
        data.parent.mkdir()
        data.write_bytes(os.urandom(plan.size))
        make_torrent(data, folder / "payload.torrent")
        with _network(names, [plan.seed_up] + [plan.peer_up] * plan.leechers):
            return _run(plan, folder, names)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _run(plan: Plan, folder: Path, names: Sequence[str]) -> Run:
    nodes: list[_Node] = []
    try:
        for number, name in enumerate(names):
            home = folder / ("seed" if number == 0 else name)
            home.mkdir(exist_ok=True)
            order = {
                "address": _address(number),
                "torrent": str(folder / "payload.torrent"),
                "folder": str(home),
                "seed": number == 0,
                "super_seed": plan.super_seed,
                "settings": dict(plan.settings),
                "peers": [_address(other) for other in range(number)],
            }
            nodes.append(_Node(name, order))
        for node in nodes:
            node.go()
        origin, killed = _wait(plan, nodes)
        done = [round(node.last["done"], 2) for node in nodes[1:]]
        wasted = sum(node.last["wasted"] for node in nodes[1:])
    finally:
        for node in nodes:
            node.kill()
    return Run(
        name=plan.name,
        nodes=plan.leechers,
        size=plan.size,
        seed_up=plan.seed_up,
        peer_up=plan.peer_up,
        kill_seed=plan.kill_seed,
        killed_at=killed,
        wasted=wasted,
        measured=Measured(tuple(done), origin),
    )


def _wait(plan: Plan, nodes: Sequence[_Node]) -> tuple[int, float | None]:
    begun, killed = time.monotonic(), None
    while not all(node.last.get("done") for node in nodes[1:]):
        if time.monotonic() - begun > _LIMIT:
            raise TimeoutError(f"{plan.name}: not done in {_LIMIT:.0f} s")
        if plan.kill_seed and killed is None and _union(nodes[1:]):
            nodes[0].kill()
            killed = round(time.monotonic() - begun, 2)
        time.sleep(0.05)
    return int(nodes[0].last["sent"]), killed


def _union(nodes: Sequence[_Node]) -> bool:
    bitfields = [int(node.last["have"], 2) for node in nodes if node.last.get("have")]
    together = 0
    for bits in bitfields:
        together |= bits
    pieces = max((len(node.last.get("have", "")) for node in nodes), default=0)
    return pieces > 0 and together == (1 << pieces) - 1


def _address(number: int) -> str:
    return f"10.77.0.{number + 1}"


@contextlib.contextmanager
def _network(names: Sequence[str], rates: Sequence[int]) -> Iterator[None]:
    """A bridge with a namespace for each name, whose sending is held to its rate."""
    try:
        _ip("link", "add", _BRIDGE, "type", "bridge")
        _ip("link", "set", _BRIDGE, "up")
        for number, (name, rate) in enumerate(zip(names, rates, strict=True)):
            _ip("netns", "add", name)
            _ip("link", "add", f"{name}h", "type", "veth", "peer", "name", f"{name}n")
            _ip("link", "set", f"{name}n", "netns", name)
            _ip("-n", name, "link", "set", f"{name}n", "name", "eth0")
            _ip("link", "set", f"{name}h", "master", _BRIDGE, "up")
            _ip("-n", name, "address", "add", f"{_address(number)}/24", "dev", "eth0")
            _ip("-n", name, "link", "set", "lo", "up")
            _ip("-n", name, "link", "set", "eth0", "up")
            if rate:
                bucket = ["burst", "64kb", "latency", "100ms"]
                shape = ["tc", "-n", name, "qdisc", "add", "dev", "eth0", "root", "tbf"]
                subprocess.run([*shape, "rate", f"{rate * 8}bit", *bucket], check=True)
        yield
    finally:
        for name in names:  # the link by itself: a namespace goes some time after its name
            subprocess.run(["ip", "link", "del", f"{name}h"], check=False, capture_output=True)
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)
        subprocess.run(["ip", "link", "del", _BRIDGE], check=False, capture_output=True)


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.sim.measure", description=__doc__)
    parser.add_argument("--times", type=int, default=1, help="runs of each; the median one counts")
    parser.add_argument("--output", type=Path, default=RUNS)
    options = parser.parse_args()
    runs = []
    for plan in PLANS:
        made = [measure(plan) for _ in range(options.times)]
        made.sort(key=lambda run: max(run.measured.done))
        runs.append(made[len(made) // 2])
        print(json.dumps(asdict(runs[-1])), flush=True)
    note_runs(runs, options.output)


if __name__ == "__main__":
    main()
