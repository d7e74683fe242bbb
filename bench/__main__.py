"""`python -m bench`: ours and the peers side by side, in one run.

Prints a table and, after a full run, writes bench/results/main.json. The exit status says whether
everything could be run, not whether the targets hold.
"""

import argparse
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from bench import case_add, case_hf, case_ls, case_pull, case_serve
from bench.cases import run_cases
from bench.hub import HOW_TO_GET_NGINX, nginx_program
from bench.rows import Row, commit, machine, print_table, write
from bench.stage import GIGA, Stage

ROOT = Path(__file__).parent.parent
RESULT = ROOT / "bench" / "results" / "main.json"
_SIZE = 2 * GIGA
_PAIRS = 5
_ROOM = 6

CASES: dict[str, tuple[str, Callable[[Stage], list[Row]]]] = {
    "start": ("outlast --help", case_ls.start),
    "ls": ("ls of a large archive", case_ls.listing),
    "add": ("add", case_add.add),
    "pull": ("pull, one file", case_pull.one_file),
    "pull-many": ("pull, many files", case_pull.many_files),
    "serve": ("serve to curl", case_serve.plain),
    "through": ("serve --upstream to curl", case_serve.through),
    "hf": ("serve to hf download", case_hf.hf_download),
}
_WITHOUT_NGINX = frozenset({"start", "ls", "add"})
"""The cases that need no hub; nginx is the hub of the others."""


def unmeasured(chosen: Sequence[str]) -> str:
    """What a run of the cases `chosen` cannot measure on this machine; empty if nothing."""
    lost = [CASES[name][0] for name in chosen if name not in _WITHOUT_NGINX]
    if not lost or nginx_program() is not None:
        return ""
    return f"{HOW_TO_GET_NGINX}; not measured without it: {', '.join(lost)}"


def main() -> int:
    """Runs the cases that were asked for."""
    options = _parser().parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # servers are stopped then too
    chosen = options.only or list(CASES)
    if words := unmeasured(chosen):
        print(words, file=sys.stderr)
    size = int((options.size or 2) * GIGA) if not options.quick else _SIZE // 10
    full = set(chosen) == set(CASES) and size == _SIZE and options.pairs >= 3
    output = options.output or (RESULT if full else None)
    load, at = os.getloadavg(), commit(ROOT)
    folder = Path(tempfile.mkdtemp(prefix="outlast-bench-", dir=options.dir))
    if (free := shutil.disk_usage(folder).free) < size * _ROOM:
        print(f"only {free / GIGA:.1f} GB are free in {folder}: --dir or --size", file=sys.stderr)
        folder.rmdir()
        return 1
    stage = Stage(folder, size, options.pairs)
    try:
        rows, broken = run_cases(CASES, stage, chosen)
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
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    add = parser.add_argument
    add("--only", action="append", choices=list(CASES), metavar="NAME", help=", ".join(CASES))
    add("--size", type=float, metavar="GB", help="size of the large file (default 2)")
    add("--pairs", type=int, default=_PAIRS, help="paired runs of each (default 5)")
    add("--quick", action="store_true", help="a tenth of the size: to see that it works")
    add("--dir", type=Path, help="where to work (default: the folder for temporary files)")
    add("--output", type=Path, help="write the result there, whatever was run")
    return parser


if __name__ == "__main__":
    sys.exit(main())
