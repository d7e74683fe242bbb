"""The tool as a child: in the foreground, with the terminal, the signals and its exit status."""

import contextlib
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from types import FrameType
from typing import Final

from outlast.core.errors import NotFoundError, one_line

_FORWARDED: Final = (signal.SIGTERM, signal.SIGHUP)
_KEYBOARD: Final = (signal.SIGINT, signal.SIGQUIT)
"""The terminal sends them to the tool as well: it decides."""
_SIGNALLED: Final = 128
"""And the number of the signal: the exit status of what a signal ended, as shells have it."""


def run_tool(command: Sequence[str], environment: Mapping[str, str]) -> int:
    """Runs a program to its end; returns its exit status. Signals to end go to it. Raises
    :class:`NotFoundError` where it cannot be started.
    """
    try:
        child = subprocess.Popen(list(command), env=dict(environment))
    except OSError as error:
        raise NotFoundError(
            f"{one_line(command[0])} cannot be started: {error.strerror}",
            hint="install it, or put its folder into PATH",
        ) from error
    with _signals_to(child):
        status = child.wait()
    return status if status >= 0 else _SIGNALLED - status


@contextlib.contextmanager
def _signals_to(child: "subprocess.Popen[bytes]") -> Iterator[None]:
    def forward(number: int, frame: FrameType | None) -> None:
        del frame
        child.send_signal(number)

    def leave(number: int, frame: FrameType | None) -> None:
        del number, frame

    handlers = dict.fromkeys(_FORWARDED, forward) | dict.fromkeys(_KEYBOARD, leave)
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
