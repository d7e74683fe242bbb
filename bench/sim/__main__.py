"""`python -m bench.sim`: the swarm beyond this machine.

Writes bench/results/sim.json and the plots of docs/simulation; the same seeds give the same files.
The exit status says whether everything could be run, not whether the calibration holds.
"""

import argparse
import json
import multiprocessing
import os
import re
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from bench.sim import durability, scenarios
from bench.sim.calibrate import calibrate, read_runs
from bench.sim.durability import Churn
from bench.sim.plots import plots
from bench.sim.tables import page

ROOT = Path(__file__).parent.parent.parent
RESULT = ROOT / "bench" / "results" / "sim.json"
PLOTS = ROOT / "docs" / "simulation"
_LEAVE = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
_REPAIRS = {"never": None, "30 days": 30.0, "7 days": 7.0, "1 day": 1.0}
_PIECES = 953_675
"""Pieces of 1 MiB in 1 TB."""


def main() -> int:
    options = _parser().parse_args()
    if options.redraw:
        return _write(json.loads(RESULT.read_text()))
    chosen = [
        one
        for one in scenarios.scenarios()
        if not options.only or any(word in one.key for word in options.only)
    ]
    jobs: list[tuple[str, Callable[[], Any]]] = [
        (one.key, partial(scenarios.run_named, one.key)) for one in chosen
    ]
    if not options.only:
        jobs[5:5] = [("agreement", scenarios.agreement), ("convergence", scenarios.converge)]
    found = _work(jobs, options.jobs)
    named = {one.key: found[one.key] for one in chosen}
    results = {
        "scenarios": named,
        "agreement": found.get("agreement"),
        "convergence": found.get("convergence"),
        "calibration": [asdict(row) for row in calibrate(read_runs())],
        "holders": holders(),
    }
    if options.only:
        results = _merged(results, chosen)
    print(page(results))
    RESULT.write_text(_compact(results))
    return _write(json.loads(RESULT.read_text()))


def _merged(results: dict[str, Any], chosen: Sequence[scenarios.Scenario]) -> dict[str, Any]:
    """What was run now, in place of the same in the last results."""
    last = json.loads(RESULT.read_text()) if RESULT.exists() else {"scenarios": {}}
    both = {**last["scenarios"], **results["scenarios"]}
    known = [one.key for one in scenarios.scenarios()]
    results["scenarios"] = {key: both[key] for key in known if key in both}
    for name in ("agreement", "convergence"):
        results[name] = last.get(name)
    print(f"run now: {', '.join(one.key for one in chosen)}\n")
    return results


def _write(results: dict[str, Any]) -> int:
    plots(results, PLOTS)
    (PLOTS / "results.md").write_text(page(results))
    print(f"written to {os.path.relpath(RESULT)} and {os.path.relpath(PLOTS)}")
    return 0


def _compact(results: dict[str, Any]) -> str:
    """JSON with the points of a curve on one line."""
    text = json.dumps(results, indent=1, ensure_ascii=False)
    pair = re.compile(r"\[\s+([\d.]+),\s+([\d.]+)\s+\]")
    return re.sub(r"(?<=\]),\s+(?=\[)", ",", pair.sub(r"[\1,\2]", text)) + "\n"


def _work(jobs: list[tuple[str, Callable[[], Any]]], processes: int) -> dict[str, Any]:
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=context) as pool:
        begun = time.monotonic()
        waiting = {name: pool.submit(job) for name, job in jobs}
        found = {}
        for name, job in waiting.items():
            found[name] = job.result()
            print(f"{time.monotonic() - begun:6.0f} s  {name}", flush=True)
        return found


def holders() -> dict[str, Any]:
    """How many holders keep every piece for a year, for several rates of leaving."""
    rows = []
    for leave in _LEAVE:
        whole = {name: durability.whole(Churn(leave, days)) for name, days in _REPAIRS.items()}
        never, week = Churn(leave), Churn(leave, 7.0)
        row = {
            "leave": leave,
            "whole": whole,
            "pieces by chance": {
                f"{share:.0%}": durability.partial(share, _PIECES, never)
                for share in (0.5, 0.2, 0.1)
            },
            "ten parts": {
                "never": durability.spread(10, never),
                "7 days": durability.spread(10, week),
            },
        }
        rows.append(row)
    once = {
        "whole": durability.at_once(0.3),
        "copies of each of 10 parts": durability.at_once(0.3, parts=10),
        "copies of each piece, by chance": durability.at_once(0.3, parts=_PIECES),
    }
    return {"target": durability.TARGET, "table": rows, "30 % at once": once}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.sim", description=__doc__)
    parser.add_argument("--only", action="append", metavar="WORD", help="only scenarios with it")
    parser.add_argument(
        "--redraw", action="store_true", help="only plots and tables, of the last run"
    )
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes")
    return parser


if __name__ == "__main__":
    sys.exit(main())
