"""`python -m bench.codec`: capsules and the peers' codecs side by side, in one run.

Speeds are MB of the uncompressed form by CPU-second of one thread; ratios are original ÷ packed.
Prints a table and, after a full run, writes bench/results/codec.json. The exit status says whether
everything could be run, not whether the targets hold.
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
from bench.codec import case_floats, case_gguf, case_product, case_thin
from bench.codec.lab import Lab
from bench.rows import Row, commit, machine, print_table, write
from bench.stage import GIGA, Stage

ROOT = Path(__file__).parent.parent.parent
RESULT = ROOT / "bench" / "results" / "codec.json"
_OURS = "bench.codec.ours"
_SIZE = GIGA
_PAIRS = 5
_ROOM = 6

CASES: dict[str, tuple[str, Callable[[Lab], list[Row]]]] = {
    "bf16": ("bf16 weights", case_floats.bf16),
    "fp16": ("fp16 weights", case_floats.fp16),
    "fp32": ("fp32 weights", case_floats.fp32),
    "gguf": ("GGUF", case_gguf.gguf),
    "thin": ("fine-tunes", case_thin.thin),
    "dedup": ("five edits", case_thin.dedup),
    "add": ("add to a capsule", case_product.add),
    "serve": ("serve of a capsule", case_product.serve),
}


def main() -> int:
    """Runs the cases that were asked for."""
    options = _parser().parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # workers are stopped then too
    chosen = options.only or list(CASES)
    size = _SIZE // 10 if options.quick else _SIZE
    pairs = 1 if options.quick else options.pairs
    whole = set(chosen) == set(CASES) and size == _SIZE and pairs >= 3 and options.ours == _OURS
    output = options.output or (RESULT if whole else None)
    load, at = os.getloadavg(), commit(ROOT)
    folder = Path(tempfile.mkdtemp(prefix="outlast-bench-", dir=options.dir))
    if (free := shutil.disk_usage(folder).free) < size * _ROOM:
        print(f"only {free / GIGA:.1f} GB are free in {folder}: --dir", file=sys.stderr)
        folder.rmdir()
        return 1
    lab = Lab(folder, pairs, options.ours, Stage(folder, size, pairs))
    try:
        rows, broken = run_cases(CASES, lab, chosen, lab.restart)
        about = machine(folder, load)
    finally:
        lab.close()
        shutil.rmtree(folder, ignore_errors=True)
    print(f"on {about['cpu']}, {about['cores']} cores")
    print_table(rows)
    if output is not None:
        write(output, about, at, rows)
        print(f"written to {os.path.relpath(output)}")
    return 1 if broken else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.codec", description=__doc__)
    add = parser.add_argument
    add("--only", action="append", choices=list(CASES), metavar="NAME", help=", ".join(CASES))
    add("--pairs", type=int, default=_PAIRS, help="paired samples of each (default 5)")
    add("--quick", action="store_true", help="one sample of each: to see that it works")
    add("--dir", type=Path, help="where to work (default: the folder for temporary files)")
    add("--ours", default=_OURS, metavar="MODULE", help="our codec, or a module with its functions")
    add("--output", type=Path, help="write the result there, whatever was run")
    return parser


if __name__ == "__main__":
    sys.exit(main())
