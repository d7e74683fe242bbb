"""Open files of this process: how many there may be, and how to tell that there are too many."""

import contextlib
import errno
import resource
from typing import Final

_ENOUGH: Final = 65_536
"""Files: more than all connections of a server take, and few enough for tables of them."""
EXHAUSTED: Final = frozenset(
    {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.EAGAIN}
)
"""Errors that say nothing of a file but that this machine or process has no more to give now."""


def raise_limit(wanted: int = _ENOUGH) -> int:
    """Raises the soft limit of open files as far as the hard one lets it, up to `wanted`; how many
    may be open now.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return wanted
    aim = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft < aim:
        with contextlib.suppress(ValueError, OSError):  # macOS has a bound below its hard limit
            resource.setrlimit(resource.RLIMIT_NOFILE, (aim, hard))
            return aim
    return soft


def is_exhausted(error: BaseException) -> bool:
    """Whether an error only means that files or memory are short."""
    if isinstance(error, MemoryError):
        return True
    return isinstance(error, OSError) and error.errno in EXHAUSTED
