"""Core dumps: what a process had in memory, in a file that others may find."""

import contextlib
import resource


def forbid() -> None:
    """From now on neither this process nor one that it starts leaves a core dump, where the system
    heeds the limit for it: a program that takes dumps from the kernel (systemd-coredump, apport)
    is told the limit, and has to heed it itself.
    """
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
