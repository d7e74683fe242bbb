"""`python -m bench.trust`: what trust costs. Seconds are of CPU time, of one core.

Prints a table and, after a full run, writes bench/results/trust.json. The exit status says whether
everything could be run, not whether the targets hold.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from bench.rows import (
    OURS,
    Row,
    Target,
    absolute,
    alternate,
    commit,
    machine,
    paired,
    print_table,
    write,
)
from bench.trust.build import build
from bench.trust.catalogue import Stand
from tests.features.trust.screening.listed_parties import PUBLIC, made_up
from tests.features.trust.screening.write_lists import us_csv

ROOT: Final = Path(__file__).parent.parent.parent
RESULT: Final = ROOT / "bench" / "results" / "trust.json"
PEER: Final = "python-tuf"
REVISIONS, LISTED, PARTIES = 1000, 20_000, 30_000
_WHO: Final = Target("≥", 200, absolute=True)
_NONE: Final = Target("=", 0, absolute=True)
_SYNC: Final = Target("≤", 3.0)
_BYTES: Final = Target("≤", 100_000, absolute=True)
_SCREEN: Final = Target("≤", 50.0, absolute=True)
_MEGA: Final = 1e6


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=sorted(_CASES), nargs="*", help="these alone")
    parser.add_argument("--pairs", type=int, default=3, help="repetitions of each")
    options = parser.parse_args()
    load, at = os.getloadavg(), commit(ROOT)
    with tempfile.TemporaryDirectory() as name:
        folder, rows = Path(name), list[Row]()
        for case in options.only or _CASES:
            (folder / case).mkdir()
            rows += _CASES[case](folder / case, options.pairs)
        print_table(rows)
        if not options.only:
            write(RESULT, machine(folder, load), at, rows)
            print(f"written to {os.path.relpath(RESULT)}")
    return 0


def who(folder: Path, pairs: int) -> list[Row]:
    """``verify --who`` on revisions of which all four claims hold."""
    home = folder / "home"
    build(home, REVISIONS)
    found = [_worker("who", home) for _ in range(pairs)]
    assert all(one["revisions"] == REVISIONS for one in found), found
    what = f"verify --who, {REVISIONS:,} revisions"
    note = "each signed, observed by two and listed"
    rates = [REVISIONS / one["seconds"] for one in found]
    unit, first = "a core and second", f"{what}: the first look, which writes what it saw"
    return [
        absolute(first, unit, rates[:1], target=_WHO),
        absolute(what, unit, rates[1:] or rates, target=_WHO, note=note),
        absolute(f"{what}: blobs opened", "", [one["blobs"] for one in found], target=_NONE),
        _memory(what, found),
    ]


def catalogue(folder: Path, pairs: int) -> list[Row]:
    """A catalogue, followed by ours and by python-tuf's client, side by side."""
    stand, costs = Stand(folder, LISTED), dict[str, list[dict[str, Any]]]()

    def measured(name: str, case: str) -> Callable[[], float]:
        def measure() -> float:
            done = costs.setdefault(name, [])
            done.append(_worker(case, stand.folder, folder / f"{case}-{len(done)}"))
            return float(done[-1]["seconds"])

        return measure

    contestants = {OURS: measured(OURS, "ours"), PEER: measured(PEER, "theirs")}
    samples = alternate(contestants, pairs)
    what = f"full sync of a catalogue of {LISTED:,}"
    one = float(stand.one_change(folder / "ours-0"))
    return [
        paired(what, "CPU s", samples, PEER, target=_SYNC),
        _memory(what, costs[OURS], costs[PEER]),
        absolute("sync of one change", "bytes", [one], target=_BYTES),
    ]


def screening(folder: Path, pairs: int) -> list[Row]:
    """Models of an archive against a list."""
    home, lists = folder / "home", folder / "list.csv"
    build(home, 100)
    lists.write_bytes(us_csv((*PUBLIC, *made_up(PARTIES - len(PUBLIC)))))
    today = time.strftime("%Y-%m-%d", time.gmtime())
    found = [_worker("screening", home, f"{lists}@{today}") for _ in range(pairs)]
    assert all(one["rows"] == PARTIES for one in found), found
    what = f"screening a model against {PARTIES:,} rows"
    return [
        absolute(what, "CPU ms", [one["median"] * 1e3 for one in found], target=_SCREEN),
        absolute(
            f"{what}: the slowest of 100",
            "CPU ms",
            [one["most"] * 1e3 for one in found],
            target=_SCREEN,
        ),
        absolute(f"reading {PARTIES:,} rows", "CPU s", [one["load"] for one in found], target=None),
        _memory(what, found),
    ]


def rules(folder: Path, pairs: int) -> list[Row]:
    """Judgements by the rules."""
    found = [_worker("rules", folder) for _ in range(pairs)]
    return [
        absolute(
            "judgements not made before",
            "a core and second",
            [one["cold"] for one in found],
            target=None,
        ),
        absolute(
            "judgements made before",
            "a core and second",
            [one["warm"] for one in found],
            target=None,
        ),
        _memory("judgements", found),
    ]


def _memory(
    what: str, ours: list[dict[str, Any]], theirs: list[dict[str, Any]] | None = None
) -> Row:
    peers = {PEER: max(one["rss"] for one in theirs) / _MEGA} if theirs else {}
    most = [one["rss"] / _MEGA for one in ours]
    return absolute(f"{what}: memory", "MB RSS", most, target=None, peers=peers)


def _worker(case: str, *words: object) -> dict[str, Any]:
    """What a process of its own measured."""
    done = subprocess.run(
        [sys.executable, "-m", "bench.trust.worker", case, *map(str, words)],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        cwd=ROOT,
    )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


_CASES: Final = {"who": who, "catalogue": catalogue, "screening": screening, "rules": rules}

if __name__ == "__main__":
    raise SystemExit(main())
