"""Running the cases of a bench: what fails is a row that says so."""

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from bench.process import BenchError
from bench.rows import Row, missing
from bench.stage import MissingPeerError

T = TypeVar("T")


def run_cases(
    cases: Mapping[str, tuple[str, Callable[[T], list[Row]]]],
    place: T,
    chosen: Sequence[str],
    mend: Callable[[], None] = lambda: None,
) -> tuple[list[Row], bool]:
    """The rows of the cases, run in `place`, and whether one was broken; after that `mend` runs."""
    rows: list[Row] = []
    broken = False
    for name in chosen:
        title, case = cases[name]
        started = time.monotonic()
        print(f"{title} …", end="", flush=True, file=sys.stderr)
        try:
            rows += case(place)
        except MissingPeerError as error:
            rows.append(missing(title, "", None, str(error)))
        except (BenchError, OSError) as error:
            broken = True
            rows.append(missing(title, "", None, f"failed: {error}"))
            mend()
        print(f" {time.monotonic() - started:.0f} s", file=sys.stderr)
    return rows, broken
