"""A process that spends: ``spender.py HOME SECRET THREADS ROUNDS [hold | jump]``.

Prints how many tokens it settled; with `hold` it reserves, says so, and waits to be killed. With
`jump` its clock is at another of :data:`MOMENTS` whenever it is read.
"""

import os
import random
import sys
import threading
import time
from pathlib import Path

from outlast.core.errors import BudgetSpentError
from outlast.features.gateway.accounts.accounts import GatewayAccounts
from outlast.features.gateway.accounts.values import Estimate, Spent
from tests.features.gateway.accounts.kit import DAY_30

MOMENTS = tuple(DAY_30 + days * 86_400 for days in (-20_000, -40, -1, 0, 0, 0, 1))


def main(home: str, secret: str, threads: str, rounds: str, *more: str) -> None:
    chance = random.Random(os.getpid())
    clock = (lambda: chance.choice(MOMENTS)) if more == ("jump",) else time.time
    box = GatewayAccounts(Path(home), clock=clock)
    who = box.authenticate(secret)
    total, lock = [0, 0], threading.Lock()

    def work(seed: int) -> None:
        luck = random.Random(seed)
        for _ in range(int(rounds)):
            try:
                held = box.reserve(who, "fast", "gpt", Estimate(60, 40, 100))
            except BudgetSpentError:
                with lock:
                    total[1] += 1
                continue
            if luck.random() < 0.1:
                box.release(held)
                continue
            used = luck.randrange(100)
            box.settle(held, Spent("t", "p", "m", "US", used // 2, used - used // 2, used, 0.0))
            with lock:
                total[0] += used

    if more == ("hold",):
        for _ in range(5):
            box.reserve(who, "fast", "gpt", Estimate(60, 40, 100))
        print("held", flush=True)
        threading.Event().wait()
    threads_of_it = [
        threading.Thread(target=work, args=(number,)) for number in range(int(threads))
    ]
    for one in threads_of_it:
        one.start()
    print("began", flush=True)
    for one in threads_of_it:
        one.join()
    box.close()
    print(total[0], total[1], flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
