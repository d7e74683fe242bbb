"""The program: the command line, with the features that are in the tree."""

import atexit
import contextlib
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

try:
    from outlast.cli.feature import Listed
    from outlast.cli.main import main
    from outlast.features import FEATURES
except KeyboardInterrupt:  # `main` would report it, but is not there yet
    sys.stderr.write("outlast: error[cancelled]: interrupted (hint: run the same command again)\n")
    sys.exit(130)

_status = 1
"""The exit status so far: that of a traceback, until the command says another."""


def run(features: Sequence[Listed] = FEATURES) -> NoReturn:
    """Entry point of the ``outlast`` command and of ``python -m outlast``."""
    global _status  # noqa: PLW0603 - the handler has no other way to learn it
    atexit.register(_end_with_daemons)  # the first to be registered is the last to run
    try:
        main(features=features)
    except SystemExit as leaving:
        _status = leaving.code if isinstance(leaving.code, int) else 0 if not leaving.code else 1
        raise


def _end_with_daemons() -> None:
    """Ends the process here if daemon threads are left. The interpreter would go on to end a thread
    that comes back to it from native code, and unwinding that code aborts the process.
    """
    threading = sys.modules.get("threading")
    if threading is None or threading.active_count() == 1:
        return
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):  # a reader that has gone
            stream.flush()
    os._exit(_status)


if __name__ == "__main__":
    run()
