"""Reading in the background: other work on the processor and the disk comes first."""

import contextlib
import ctypes
import os
import sys
import threading
from typing import Final

from outlast.features.durability.scrub.tuning import TUNING

_IOPRIO_SET: Final = {"x86_64": 251, "aarch64": 30, "riscv64": 30, "ppc64le": 273, "s390x": 282}
"""The number of the system call, which the C library has no function for."""
_THREAD: Final = 1
_IDLE: Final = 3 << 13
"""The class of work that waits for all other work."""


def lower_priority() -> None:
    """Gives the calling thread the lowest priority, for the processor and the disk, as far as the
    platform has priorities of threads: on Linux. Elsewhere nothing is changed.
    """
    if not sys.platform.startswith("linux"):
        return
    thread = threading.get_native_id()
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, thread, TUNING.niceness)
    number = _IOPRIO_SET.get(os.uname().machine)
    if number is not None:
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).syscall(number, _THREAD, thread, _IDLE)
