"""The terminal of a chat: who hears Ctrl-C, and what becomes of keys that are pressed meanwhile."""

import contextlib
import select
import signal
import sys
from collections.abc import Iterator
from types import FrameType
from typing import Self

from outlast.core.cancel import Cancel
from outlast.core.errors import Cancelled

_PASTE_SECONDS = 0.03
"""Until a line that was read counts as the last of a paste. A guess: terminals write a paste at
once, and a person does not notice the wait."""


class Interrupts:
    """Directs signals while it is entered: SIGINT ends the answer that streams, or raises
    KeyboardInterrupt at the prompt; SIGTERM ends both, and sets `whole`.
    """

    def __init__(self, whole: Cancel) -> None:
        self._whole = whole
        self._answer: Cancel | None = None

    def __enter__(self) -> Self:
        self._before = {
            number: signal.signal(number, self._hear) for number in (signal.SIGINT, signal.SIGTERM)
        }
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @contextlib.contextmanager
    def answering(self) -> Iterator[Cancel]:
        """An answer streams within the block; gives the token that ends it."""
        self._whole.check()
        answer = self._answer = Cancel()
        try:
            yield answer
        finally:
            self._answer = None

    def _hear(self, number: int, frame: FrameType | None) -> None:
        del frame
        if number == signal.SIGTERM:
            self._whole.set()
        if self._answer is not None and not self._answer.is_set:
            self._answer.set()
        elif number == signal.SIGTERM:
            raise Cancelled("interrupted")
        else:
            raise KeyboardInterrupt


@contextlib.contextmanager
def unseen_input() -> Iterator[None]:
    """What is typed within the block is not shown, so that it does not run into what is printed;
    it is kept for the next prompt. The terminal is as it was afterwards, however the block ends.
    """
    try:
        import termios  # noqa: PLC0415 - not on every platform

        descriptor = sys.stdin.fileno()
        before = termios.tcgetattr(descriptor)
    except (ImportError, OSError, ValueError, termios.error):
        yield
        return
    silent = termios.tcgetattr(descriptor)
    silent[3] &= ~(termios.ECHO | termios.ECHONL)
    try:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, silent)
        yield
    finally:
        with contextlib.suppress(termios.error):  # the terminal is gone
            termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


def more_is_typed() -> bool:
    """Whether another line has come already, as it has within a paste."""
    try:
        return bool(select.select([sys.stdin], [], [], _PASTE_SECONDS)[0])
    except (OSError, ValueError):
        return False


def read_line(prompt: str) -> str:
    """One line from the terminal. Raises EOFError at the end of the input."""
    if not sys.stdout.isatty():  # the prompt is no part of the answers
        sys.stderr.write(prompt)
        sys.stderr.flush()
        prompt = ""
    return input(prompt)


def edit_lines() -> None:
    """Lets lines be edited and repeated, where the platform has it."""
    with contextlib.suppress(ImportError):
        import readline  # noqa: F401, PLC0415 - it changes input()
