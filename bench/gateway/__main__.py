"""`python -m bench.gateway`: what the gateway adds to a request, beside nginx and LiteLLM.

The same provider stands behind all of them: nginx with canned answers. Prints a table and, after a
full run, writes bench/results/gateway.json. The exit status says whether everything could be run,
not whether the targets hold.
"""

import argparse
import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from bench import peers, profiling
from bench.gateway import contestants
from bench.gateway.contestants import CHATS, Route, Running
from bench.gateway.load import HOW_TO_GET_WRK, Asker, Door, rate, wrk_program
from bench.gateway.provider import MODEL, canned, nginx_proxy, paced
from bench.gateway.withdrawn import withdrawn
from bench.hub import HOW_TO_GET_NGINX, free_port, nginx_program
from bench.process import BenchError
from bench.rows import (
    OURS,
    Contestants,
    Row,
    Target,
    absolute,
    alternate,
    commit,
    machine,
    missing,
    paired,
    print_table,
    write,
)

ROOT: Final = Path(__file__).parent.parent.parent
RESULT: Final = ROOT / "bench" / "results" / "gateway.json"
_LITELLM, _NGINX, _DIRECT, _ONE = "LiteLLM", "nginx", "direct", "one process"
_CONNECTIONS: Final = (1, 16, 128)
_MILLI, _MEGA = 1e3, 1e6
_DEADLINE: Final = 0.5
"""Seconds of patience with a provider that sends nothing."""
_TEN: Final = Target("≥", 10)
_HALF: Final = Target("≥", 0.5)


class Rig:
    """The providers and gateways of a run, in a folder of its own."""

    def __init__(self, folder: Path, pairs: int, seconds: int) -> None:
        program = nginx_program()
        if program is None:
            raise BenchError(HOW_TO_GET_NGINX)
        if wrk_program() is None:
            raise BenchError(HOW_TO_GET_WRK)
        self.folder, self.pairs, self.seconds = folder, pairs, seconds
        self.nginx = program

    @contextlib.contextmanager
    def quick(self, theirs: bool = True) -> Iterator[tuple[int, dict[str, Running], int]]:
        """The port of the quick provider, the gateways before it, and nginx's port as a proxy."""
        with contextlib.ExitStack() as stack:
            provider = stack.enter_context(canned(self.nginx, self.folder / "provider"))
            proxy = stack.enter_context(nginx_proxy(self.nginx, self.folder / "proxy", provider))
            routes = [
                Route(kind, [f"http://127.0.0.1:{provider}/{kind}/v1"])
                for kind in ("plain", "stream")
            ]
            yield provider, self.gateways(stack, routes, theirs=theirs), proxy

    def gateways(
        self,
        stack: contextlib.ExitStack,
        routes: Sequence[Route],
        *,
        first_token: float = 30.0,
        theirs: bool = True,
    ) -> dict[str, Running]:
        """Ours and, where it installs, LiteLLM."""
        name = f"{len(list(self.folder.iterdir()))}"
        ours = contestants.outlast(self.folder / f"ours-{name}", routes, first_token=first_token)
        found = {OURS: stack.enter_context(ours)}
        if theirs:
            with contextlib.suppress(peers.PeerUnavailableError):
                peers.litellm()
                peer = contestants.litellm(
                    self.folder / f"litellm-{name}", routes, first_token=first_token
                )
                found[_LITELLM] = stack.enter_context(peer)
        return found


def throughput(rig: Rig) -> list[Row]:
    """Answers a second, whole and in chunks."""
    rows = list[Row]()
    with rig.quick() as (_, gateways, proxy):
        ours = gateways[OURS]

        def profile() -> profiling.Profile:
            with profiling.of_process(rig, ours.server.process.pid) as profiled:
                rate(ours.door("stream"), rig.folder, 16, rig.seconds, stream=True)
            return profiled()

        for kind in ("plain", "stream"):
            doors = {name: running.door(kind) for name, running in gateways.items()}
            doors[_NGINX] = Door(proxy, f"/{kind}{CHATS}", MODEL)
            for connections in _CONNECTIONS:
                samples = alternate(_rates(rig, doors, connections, kind), rig.pairs)
                what = f"{kind}, {connections} connections"
                rows.append(paired(what, "requests/s", samples, _LITELLM, target=_TEN))
                rows.append(paired(what, "requests/s", samples, _NGINX, target=_HALF))
        return profiling.explained(rows, profile)


def _rates(rig: Rig, doors: dict[str, Door], connections: int, kind: str) -> Contestants:
    def of(name: str, door: Door) -> Callable[[], float]:
        # LiteLLM closes some of many connections, and answers on others after a minute.
        return lambda: rate(
            door,
            rig.folder,
            connections,
            rig.seconds,
            stream=kind == "stream",
            lenient=name == _LITELLM,
        )

    return {name: of(name, door) for name, door in doors.items()}


def latency(rig: Rig) -> list[Row]:
    """What one connection waits longer than without a gateway, in ms."""
    count = 200 * rig.seconds
    with rig.quick() as (provider, gateways, _):
        askers = {name: Asker(running.door("plain")) for name, running in gateways.items()}
        askers[_DIRECT] = Asker(Door(provider, f"/plain{CHATS}", MODEL))
        times: dict[str, list[float]] = {name: [] for name in askers}
        for _ in range(count):
            for name, asker in askers.items():
                if name != _LITELLM or len(times[name]) < count // 10:
                    times[name].append(asker.whole())
        for asker in askers.values():
            asker.close()
    rows = []
    for part, share, bound in (("p50", 50, 1.5), ("p99", 99, 5.0)):
        base = _percentile(times[_DIRECT], share)
        added = {n: (_percentile(t, share) - base) * _MILLI for n, t in times.items()}
        theirs = {_LITELLM: added.get(_LITELLM)}
        target = Target("≤", bound, absolute=True)
        what = f"added latency, 1 connection, {part}"
        rows.append(absolute(what, "ms", [added[OURS]], target=target, peers=theirs))
    return rows


def chunks(rig: Rig) -> list[Row]:
    """What a chunk waits longer than without a gateway, in ms."""
    with contextlib.ExitStack() as stack:
        provider = stack.enter_context(paced(rig.folder))
        url = f"http://127.0.0.1:{provider}/v1"
        gateways = rig.gateways(stack, [Route("slow", [url])])
        askers = {name: Asker(running.door("slow")) for name, running in gateways.items()}
        askers[_DIRECT] = Asker(Door(provider, CHATS, MODEL))
        times: dict[str, list[float]] = {name: [] for name in askers}
        for _ in range(10 * rig.pairs):
            for name, asker in askers.items():
                times[name] += asker.chunks()
        for asker in askers.values():
            asker.close()
    middle = {name: statistics.median(found) for name, found in times.items()}
    added = {name: (value - middle[_DIRECT]) * _MILLI for name, value in middle.items()}
    return [
        absolute(
            "added latency of a chunk, p50",
            "ms",
            [added[OURS]],
            target=Target("≤", 1.0, absolute=True),
            peers={_LITELLM: added.get(_LITELLM)},
        )
    ]


def dead(rig: Rig) -> list[Row]:
    """What a request waits longer where the first provider is dead, once that is known."""
    count = 100 * rig.seconds
    with contextlib.ExitStack() as stack:
        provider = stack.enter_context(canned(rig.nginx, rig.folder / "standing"))
        good = f"http://127.0.0.1:{provider}/plain/v1"
        gone = f"http://127.0.0.1:{free_port()}/v1"
        gateways = rig.gateways(stack, [Route("good", [good]), Route("dead", [gone, good])])
        found: dict[str, float | None] = {_LITELLM: None}
        for name, running in gateways.items():
            most = count if name == OURS else count // 10
            good_times, dead_times = list[float](), list[float]()
            one, other = Asker(running.door("good")), Asker(running.door("dead"))
            for _ in range(10):  # then it is known
                other.whole()
            for _ in range(most):
                good_times.append(one.whole())
                dead_times.append(other.whole())
            found[name] = (_percentile(dead_times, 99) - _percentile(good_times, 50)) * _MILLI
    ours = found.pop(OURS)
    assert ours is not None
    target = Target("≤", 10, absolute=True)
    return [absolute("dead primary, p99", "ms", [ours], target=target, peers=found)]


def stall(rig: Rig) -> list[Row]:
    """From a provider that sends nothing to the first token of the fallback, less the deadline."""
    with contextlib.ExitStack() as stack:
        mute = stack.enter_context(paced(rig.folder, mute=True))
        good = stack.enter_context(paced(rig.folder))
        found: dict[str, list[float]] = {}
        urls = [f"http://127.0.0.1:{port}/v1" for port in (mute, good)]
        direct = Asker(Door(good, CHATS, MODEL))
        base = statistics.median(direct.first() for _ in range(5))
        for _ in range(rig.pairs):  # anew: a provider that stalls is passed over once it is known
            with contextlib.ExitStack() as once:
                gateways = rig.gateways(once, [Route("mute", urls)], first_token=_DEADLINE)
                for name, running in gateways.items():
                    try:
                        took = Asker(running.door("mute")).first()
                    except BenchError:
                        continue
                    found.setdefault(name, []).append((took - _DEADLINE - base) * _MILLI)
    theirs = statistics.median(found[_LITELLM]) if _LITELLM in found else None
    return [
        absolute(
            f"stall: first token of the fallback after {_DEADLINE} s of patience",
            "ms",
            found[OURS],
            target=Target("≤", 100, absolute=True),
            peers={_LITELLM: theirs},
        )
    ]


def weight(rig: Rig) -> list[Row]:
    """Memory at rest, and what is installed."""
    with rig.quick() as (_, gateways, _proxy):
        time.sleep(2)
        memory = {name: running.resident() / _MEGA for name, running in gateways.items()}
    sizes: dict[str, float | None] = {_LITELLM: None}
    with contextlib.suppress(peers.PeerUnavailableError):
        sizes[_LITELLM] = _installed(peers.litellm().parent)
    return [
        absolute(
            "memory at rest",
            "MB",
            [memory[OURS]],
            target=Target("≤", 120, absolute=True),
            peers={_LITELLM: memory.get(_LITELLM)},
        ),
        absolute("installed", "MB", [_own_size(rig.folder)], target=None, peers=sizes),
    ]


def accounts(rig: Rig) -> list[Row]:
    """Reservations with their settlements, for a key with three budgets, on one core."""
    found = []
    for _ in range(rig.pairs):
        command = [sys.executable, "-m", "bench.gateway.accounts", str(rig.folder)]
        said = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
        found.append(float(said.stdout.split()[0]))
    target = Target("≥", 5000, absolute=True)
    what = "reserve and settle a budgeted request"
    return [absolute(what, "pairs/CPU-s", found, target=target)]


def processes(rig: Rig) -> list[Row]:
    """Two processes behind one port, beside one."""
    with contextlib.ExitStack() as stack:
        provider = stack.enter_context(canned(rig.nginx, rig.folder / "provider"))
        route = [Route("plain", [f"http://127.0.0.1:{provider}/plain/v1"])]
        doors = {}
        for name, workers in ((OURS, 2), (_ONE, 1)):
            ours = contestants.outlast(rig.folder / name, route, workers=workers)
            doors[name] = stack.enter_context(ours).door("plain")
        samples = alternate(_rates(rig, doors, 16, "plain"), rig.pairs)
    return [
        paired("two processes, plain, 16 connections", "requests/s", samples, _ONE, target=None)
    ]


def _own_size(folder: Path) -> float:
    """A new environment with outlast and its extra `gateway`, in MB."""
    place = folder / "installed"
    subprocess.run([sys.executable, "-m", "venv", place], check=True)
    pip: list[str | Path] = [place / "bin" / "python", "-m", "pip", "install", "--quiet"]
    done = subprocess.run([*pip, f"{ROOT}[gateway]"], capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchError(done.stderr.strip()[-300:])
    return _installed(place)


def _installed(place: Path) -> float:
    return (
        sum(
            os.lstat(os.path.join(folder, name)).st_size
            for folder, _, names in os.walk(place)
            for name in names
        )
        / _MEGA
    )


def _percentile(values: Sequence[float], share: int) -> float:
    return statistics.quantiles(values, n=100, method="inclusive")[share - 1]


_CASES: Final[dict[str, Callable[[Rig], list[Row]]]] = {
    "throughput": throughput,
    "latency": latency,
    "chunks": chunks,
    "dead": dead,
    "stall": stall,
    "withdrawn": lambda rig: withdrawn(rig.folder, rig.pairs),
    "weight": weight,
    "accounts": accounts,
    "processes": processes,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=sorted(_CASES), nargs="*", help="these alone")
    parser.add_argument("--pairs", type=int, default=3, help="repetitions of each")
    parser.add_argument("--seconds", type=int, default=5, help="of load in each cell")
    options = parser.parse_args()
    load, at = os.getloadavg(), commit(ROOT)
    rows, failed = list[Row](), False
    with tempfile.TemporaryDirectory() as name:
        for case in options.only or _CASES:
            folder = Path(name) / case
            folder.mkdir()
            try:
                rows += _CASES[case](Rig(folder, options.pairs, options.seconds))
            except BenchError as error:
                failed = True
                rows.append(missing(case, "", None, str(error)))
        print_table(rows)
        if not options.only:
            write(RESULT, machine(Path(name), load), at, rows)
            print(f"written to {os.path.relpath(RESULT)}")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
