"""One thing that trust costs, measured in a process of its own: ``python -m bench.trust.worker CASE
PATH…`` calls `measure` of the module ``bench.trust.case_CASE``, and prints its figures as one JSON
object, with the most memory that the process took.
"""

import importlib
import json
import sys
from pathlib import Path
from typing import Final

_KIB: Final = 1024


def main() -> None:
    case, *paths = sys.argv[1:]
    figures = importlib.import_module(f"bench.trust.case_{case}").measure(*map(Path, paths))
    print(json.dumps({**figures, "rss": _peak()}))


def _peak() -> int:
    """The most memory that was resident, in bytes. `getrusage` would tell that of the process which
    started this one, where that had more.
    """
    lines = Path("/proc/self/status").read_text().splitlines()
    (found,) = (line.split()[1] for line in lines if line.startswith("VmHWM:"))
    return int(found) * _KIB


if __name__ == "__main__":
    main()
