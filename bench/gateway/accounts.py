"""`python -m bench.gateway.accounts FOLDER`: reservations with their settlements, for so many a
second of CPU time. Prints one line for each repetition: pairs a CPU second, and the median of a
pair in µs.
"""

import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from outlast.features.gateway.accounts.accounts import GatewayAccounts
from outlast.features.gateway.accounts.keys import LimitRow
from outlast.features.gateway.accounts.periods import Period
from outlast.features.gateway.accounts.values import Estimate, Spent

_PAIRS: Final = 3000
_ESTIMATE: Final = Estimate(60, 40, 1_000)
_SPENT: Final = Spent("first", "openai", "gpt", "US", 50, 30, 700, 0.5)


def measured(folder: Path) -> tuple[float, float]:
    """Pairs a second of this process's CPU time, and the median of a pair in seconds of wall time.
    The key has a budget of tokens, money and requests for a day.
    """
    with GatewayAccounts(folder) as accounts:
        limit = LimitRow(period=Period.DAY, tokens=10**11, money=10**14, requests=10**9)
        _, secret = accounts.keys.new("bench", (), (limit,))
        caller = accounts.authenticate(secret)
        took = []
        began = time.process_time()
        for _ in range(_PAIRS):
            at = time.perf_counter()
            accounts.settle(accounts.reserve(caller, "fast", "gpt", _ESTIMATE), _SPENT)
            took.append(time.perf_counter() - at)
        cpu = time.process_time() - began
    return _PAIRS / cpu, statistics.median(took)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(dir=sys.argv[1]) as name:
        rate, middle = measured(Path(name))
    print(f"{rate:.0f} {middle * 1e6:.0f}")
