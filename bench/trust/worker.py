"""One thing that trust costs, measured in a process of its own: ``python -m bench.trust.worker CASE
PATH…`` calls `measure` of the module ``bench.trust.case_CASE``, and prints its figures as one JSON
object, with the most memory that the process took.
"""

import importlib
import json
import resource
import sys
from pathlib import Path
from typing import Final

_KIB: Final = 1024


def main() -> None:
    case, *paths = sys.argv[1:]
    figures = importlib.import_module(f"bench.trust.case_{case}").measure(*map(Path, paths))
    rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _KIB
    print(json.dumps({**figures, "rss": rss}))


if __name__ == "__main__":
    main()
