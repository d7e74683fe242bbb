"""How the demo tells what it does, and stops where a step does not hold."""

import time
from collections.abc import Callable

_DEADLINE = 120.0


class StepFailedError(Exception):
    """A step of the demo did not hold."""


def say(text: str = "") -> None:
    print(text, flush=True)


def require(holds: bool, text: str) -> None:
    if not holds:
        raise StepFailedError(text)
    say(f"    ok: {text}")


def megabytes(count: float) -> str:
    return f"{count / 1e6:.1f} MB"


def wait_until(holds: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + _DEADLINE
    while not holds():
        if time.monotonic() > deadline:
            raise StepFailedError(f"waited in vain: {what}")
        time.sleep(0.01)
