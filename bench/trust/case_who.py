"""``verify --who``: what it costs, and how many blobs it opens."""

import contextlib
import io
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from outlast.cli.main import main
from outlast.core.claims import Claim
from outlast.features import FEATURES

_BLOBS: Final = ("/blobs/", "/capsules/")


def measure(folder: Path) -> dict[str, float]:
    """The command ``verify --who`` over all that is archived in `folder`; how many files of blobs
    were opened.
    """
    opened = 0

    def count(event: str, given: Sequence[Any]) -> None:
        nonlocal opened
        if event == "open" and any(part in str(given[0]) for part in _BLOBS):
            opened += 1

    sys.addaudithook(count)
    told, began = io.StringIO(), time.process_time()
    words = ["verify", "--who", "--json", "--home", str(folder)]
    with contextlib.redirect_stdout(told), contextlib.suppress(SystemExit):
        main(words, features=FEATURES)
    took = time.process_time() - began
    said = [json.loads(line) for line in told.getvalue().splitlines()]
    whole = [one for one in said if "claims" in one and _all_hold(one["claims"])]
    return {"revisions": len(whole), "seconds": took, "blobs": opened}


def _all_hold(claims: Any) -> bool:
    return len(claims) == len(Claim) and all(one["standing"] == "holds" for one in claims)
