"""How a thread changes its network namespace; a forked process does it before its command."""

import ctypes
import os
from pathlib import Path

NAMES = Path("/run/netns")
_CLONE_NEWNET = 0x40000000


def enter(name: str) -> None:
    """Moves this thread into a namespace."""
    descriptor = os.open(NAMES / name, os.O_RDONLY | os.O_CLOEXEC)
    try:
        move(descriptor)
    finally:
        os.close(descriptor)


def move(descriptor: int) -> None:
    """Moves this thread into the namespace that is open as `descriptor`."""
    if ctypes.CDLL(None, use_errno=True).setns(descriptor, _CLONE_NEWNET):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
