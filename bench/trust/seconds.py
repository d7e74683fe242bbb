"""What a call costs."""

import time
from collections.abc import Callable


def seconds(act: Callable[[], object]) -> float:
    """CPU time."""
    began = time.process_time()
    act()
    return time.process_time() - began
