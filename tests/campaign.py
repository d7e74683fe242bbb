"""Campaigns: tests that search at random. `make test` runs them briefly and always alike;
`make torture SEED=7` runs them for long, from another seed. conftest.py tells which seed it was.
"""

import os

SEED = int(os.environ.get("OUTLAST_SEED", "1"))
LONG = bool(os.environ.get("OUTLAST_TORTURE"))


def rounds(short: int, long: int) -> int:
    """How many rounds a campaign has."""
    return long if LONG else short
