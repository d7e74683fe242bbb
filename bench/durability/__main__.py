"""`python -m bench.durability`: bundles, scrubs, mending and checked reading, beside the peers.

Prints a table and, after a full run, writes bench/results/durability.json. CPU seconds stand beside
wall clock: on a busy machine they are the steadier figure. The exit status says whether everything
could be run, not whether the targets hold.
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
from bench.durability import case_bundle, case_disk, case_serve
from bench.durability.rig import Rig
from bench.rows import Row, commit, machine, print_table, write
from bench.stage import GIGA, Stage

ROOT = Path(__file__).parent.parent.parent
RESULT = ROOT / "bench" / "results" / "durability.json"
_SIZE = GIGA // 2
_PAIRS = 3
_ROOM = 16

CASES: dict[str, tuple[str, Callable[[Rig], list[Row]]]] = {
    "export": ("export", case_bundle.export),
    "import": ("import", case_bundle.import_),
    "parity": ("parity of a bundle", case_bundle.parity),
    "since": ("export --since", case_bundle.since),
    "scrub": ("scrub", case_disk.scrub),
    "mending": ("parity in place", case_disk.mending),
    "serve": ("checked serving", case_serve.serve),
}


def main() -> int:
    """Runs the cases that were asked for."""
    options = _parser().parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # servers are stopped then too
    chosen = options.only or list(CASES)
    size = _SIZE // 5 if options.quick else int(options.size * GIGA)
    pairs = 1 if options.quick else options.pairs
    full = set(chosen) == set(CASES) and size >= _SIZE and pairs >= _PAIRS
    output = options.output or (RESULT if full else None)
    load, at = os.getloadavg(), commit(ROOT)
    folder = Path(tempfile.mkdtemp(prefix="outlast-bench-", dir=options.dir))
    if (free := shutil.disk_usage(folder).free) < size * _ROOM:
        print(f"only {free / GIGA:.1f} GB are free in {folder}: --dir or --size", file=sys.stderr)
        folder.rmdir()
        return 1
    stage = Stage(folder, size, pairs)
    try:
        rows, broken = run_cases(CASES, Rig(stage), chosen)
        about = machine(folder, load)
    finally:
        stage.close()
        shutil.rmtree(folder, ignore_errors=True)
    print_table(rows)
    if output is not None:
        write(output, about, at, rows)
        print(f"written to {os.path.relpath(output)}")
    return 1 if broken else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.durability", description=__doc__)
    add = parser.add_argument
    add("--only", action="append", choices=list(CASES), metavar="NAME", help=", ".join(CASES))
    add("--size", type=float, default=_SIZE / GIGA, metavar="GB", help="of the model (default 0.5)")
    add("--pairs", type=int, default=_PAIRS, help="paired runs of each (default 3)")
    add("--quick", action="store_true", help="a fifth of the size, once: to see that it works")
    add("--dir", type=Path, help="where to work (default: the folder for temporary files)")
    add("--output", type=Path, help="write the result there, whatever was run")
    return parser


if __name__ == "__main__":
    sys.exit(main())
