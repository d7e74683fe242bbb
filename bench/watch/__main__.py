"""`python -m bench.watch`: what watching costs, and how soon it notices; in simulated time.

Prints a table and, after a full run, writes bench/results/watch.json. The exit status says whether
everything could be run, not whether the targets hold.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

from bench.rows import Row, Target, absolute, commit, machine, print_table, write
from bench.watch.days import CHANGED
from bench.watch.hub import Hub

ROOT = Path(__file__).parent.parent.parent
RESULT = ROOT / "bench" / "results" / "watch.json"
COUNTS = (10, 1000, 5000)
_ONE = Target("≤", 1.0, absolute=True)
_RSS = Target("≤", 100.0, absolute=True)
_NONE = Target("=", 0.0, absolute=True)


def main() -> int:
    """Measures each number of follows, as models of one organisation and of as many others."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", type=int, nargs="*", help="so many follows")
    options = parser.parse_args()
    counts = options.only or COUNTS
    load, at = os.getloadavg(), commit(ROOT)
    rows: list[Row] = []
    for count in counts:
        rows += _rows(f"{count} models of one organisation", count, *_organisation(count))
        rows += _rows(f"{count} models of {count} organisations", count, *_alone(count))
        print_table(rows[-10:])
    if not options.only:
        with tempfile.TemporaryDirectory() as folder:
            write(RESULT, machine(Path(folder), load), at, rows)
        print(f"written to {os.path.relpath(RESULT)}")
    return 0


def _organisation(count: int) -> tuple[int, str, list[str]]:
    return count, "acme/*\n", [f"acme/model-{number}" for number in _spread(count)]


def _alone(count: int) -> tuple[int, str, list[str]]:
    follows = "".join(f"org-{number}/model-0\n" for number in range(count))
    return 1, follows, [f"org-{number}/model-0" for number in _spread(count)]


def _spread(count: int) -> range:
    """Ten of the numbers; all but one of ten, so that the account is not gone."""
    step = max(1, count // CHANGED)
    return range(0, count, step)[: CHANGED if count > CHANGED else count - 1]


def _rows(what: str, count: int, models: int, follows: str, changed: list[str]) -> list[Row]:
    found = _measure(models, {"follows": follows, "changed": changed})
    hours = [LATE if hour is None else hour for hour in found["hours"]]
    daily = found["requests_a_day"] / max(count, 100)
    note = "a day without a change; few follows share 100 requests a day"
    return [
        absolute(f"{what}: requests", "per follow and day", [daily], target=_ONE, note=note),
        absolute(f"{what}: bytes", "kB a day", [found["bytes_a_day"] / 1e3], target=None),
        absolute(f"{what}: memory", "MB RSS", [found["rss"] / 1e6], target=_RSS),
        absolute(f"{what}: deletion to alert", "h, median", hours, target=None),
        absolute(f"{what}: alerts that are wrong", "", [_wrong(found, changed)], target=_NONE),
    ]


LATE = float("inf")


def _wrong(found: dict[str, Any], changed: list[str]) -> float:
    """Alerts too many, or too few."""
    other = abs(found["told"] - len(changed)) + found["hours"].count(None)
    return float(found["false_alerts"] + other)


def _measure(models: int, given: dict[str, Any]) -> dict[str, Any]:
    hub = Hub(models)
    threading.Thread(target=hub.serve_forever, daemon=True).start()
    try:
        done = subprocess.run(
            [sys.executable, "-m", "bench.watch.days"],
            input=json.dumps({"url": hub.url, **given}),
            capture_output=True,
            text=True,
            check=True,
            cwd=ROOT,
        )
    finally:
        hub.shutdown()
        hub.server_close()
    found: dict[str, Any] = json.loads(done.stdout)
    return found


if __name__ == "__main__":
    sys.exit(main())
