"""`python -m bench.swarm`: the swarm and its peers side by side, in network namespaces.

Prints a table and, after a full run, writes bench/results/swarm.json. Needs root, iproute2, nginx,
curl, aria2; fetches real weights once (0.6 GB). The exit status says whether everything could be
run, not whether the targets hold.
"""

import argparse
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from bench.cases import run_cases
from bench.rows import Row, commit, machine, print_table, write
from bench.stage import GIGA, MEGA, MissingPeerError
from bench.swarm import cases
from bench.swarm.rig import NODES, Rig

ROOT = Path(__file__).parent.parent.parent
RESULT = ROOT / "bench" / "results" / "swarm.json"
_SIZE = 200
_PAIRS = 3
_ROOM = NODES + 8

CASES: dict[str, tuple[str, Callable[[Rig], list[Row]]]] = {
    "crowd": ("a crowd", cases.crowd),
    "capsules": ("a crowd, capsules", cases.capsules),
    "origin": ("bytes of the origin", cases.origin),
    "pair": ("1 → 1 by BitTorrent", cases.one_to_one),
    "http": ("1 → 1 with an HTTP source", cases.by_http),
    "dark": ("the hub is dark", cases.dark),
}


def main() -> int:
    """Runs the cases that were asked for."""
    options = _parser().parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # servers are stopped then too
    chosen = options.only or list(CASES)
    size = (20 if options.quick else options.size) * MEGA
    pairs = 1 if options.quick else options.pairs
    full = set(chosen) == set(CASES) and size >= _SIZE * MEGA and pairs >= 3
    full = full and not options.peers_only
    output = options.output or (RESULT if full else None)
    load, at = os.getloadavg(), commit(ROOT)
    folder = Path(tempfile.mkdtemp(prefix="outlast-bench-", dir=options.dir))
    if (free := shutil.disk_usage(folder).free) < size * _ROOM:
        print(f"only {free / GIGA:.1f} GB are free in {folder}: --dir or --size", file=sys.stderr)
        folder.rmdir()
        return 1
    rig = Rig(folder, size, pairs, options.peers_only)
    try:
        rig.open()
        rows, broken = run_cases(CASES, rig, chosen)
        about = machine(folder, load)
    except MissingPeerError as error:
        print(f"no lab here: {error}", file=sys.stderr)
        return 1
    finally:
        rig.close()
        shutil.rmtree(folder, ignore_errors=True)
    print_table(rows)
    if output is not None:
        write(output, about, at, rows)
        print(f"written to {os.path.relpath(output)}")
    return 1 if broken else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.swarm", description=__doc__)
    add = parser.add_argument
    add("--only", action="append", choices=list(CASES), metavar="NAME", help=", ".join(CASES))
    add("--size", type=int, default=_SIZE, metavar="MB", help="size of the file (default 200)")
    add("--pairs", type=int, default=_PAIRS, help="paired runs of each (default 3)")
    add("--peers-only", action="store_true", help="leave ours out")
    add("--quick", action="store_true", help="20 MB, once: to see that it works")
    add("--dir", type=Path, help="where to work (default: the folder for temporary files)")
    add("--output", type=Path, help="write the result there, whatever was run")
    return parser


if __name__ == "__main__":
    sys.exit(main())
