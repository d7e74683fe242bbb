"""Runs a program for as long as a pipe is open: ``python -m … FD PROGRAM ARGUMENT…``.

The other end of the pipe FD belongs to the process that needs the program. When that ends, however
it ends, the kernel closes its end, and the program is told to end, too: killed, where it does not.
"""

import os
import select
import subprocess
import sys
import threading
from typing import Final

GRACE: Final = 10.0
"""Seconds between asking the program to end and killing it."""


def main(fd: int, command: list[str]) -> int:
    """Returns the program's exit status."""
    with subprocess.Popen(command) as program:
        ended = threading.Event()
        watcher = threading.Thread(target=_end_with, args=(fd, program, ended), daemon=True)
        watcher.start()
        status = program.wait()
        ended.set()
    return status


def _end_with(fd: int, program: "subprocess.Popen[bytes]", ended: threading.Event) -> None:
    select.select([fd], [], [])  # nothing is ever written: it is readable once it is closed
    program.terminate()
    if not ended.wait(GRACE):
        program.kill()


if __name__ == "__main__":
    os.set_inheritable(int(sys.argv[1]), False)
    sys.exit(main(int(sys.argv[1]), sys.argv[2:]))
