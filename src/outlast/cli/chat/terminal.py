"""The terminal of a chat: who hears Ctrl-C, and what becomes of keys that are pressed meanwhile."""

import contextlib
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Iterator
from types import FrameType
from typing import Self

from outlast.core.cancel import Cancel
from outlast.core.errors import Cancelled

_PASTE_SECONDS = 0.03
"""Until a line that was read counts as the last of a paste. A guess: terminals write a paste at
once, and a person does not notice the wait."""
_POKE = signal.SIGURG
"""Does nothing but interrupt what waits: the system sends it for sockets that were
set up for it, and ignores it by default."""
_POKES = 3
_POKE_SECONDS = 0.05
"""How often, and after which time each. A guess: from the prompt to the wait for a key it takes
less than a millisecond."""
_ENDS = (signal.SIGTERM, signal.SIGQUIT, signal.SIGHUP)
"""What ends the chat, and would leave the terminal without echo if it ended the process itself."""


class Interrupts:
    """Directs signals while it is entered: SIGINT ends the answer that streams, or raises
    KeyboardInterrupt at the prompt; SIGTERM and its like end both, and set `whole`.
    """

    def __init__(self, whole: Cancel) -> None:
        self._whole = whole
        self._answer: Cancel | None = None

    def __enter__(self) -> Self:
        # What the caller ignores, as nohup does, stays ignored.
        ends = [number for number in _ENDS if signal.getsignal(number) is not signal.SIG_IGN]
        handlers = dict.fromkeys((signal.SIGINT, *ends), self._hear) | {_POKE: _ignore}
        self._before = {number: signal.signal(number, to) for number, to in handlers.items()}
        caught, self._caught = os.pipe()
        os.set_blocking(self._caught, False)
        self._wakeup = signal.set_wakeup_fd(self._caught, warn_on_full_buffer=False)
        threading.Thread(target=_poke, args=(caught,), name="poke", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        signal.set_wakeup_fd(self._wakeup)
        os.close(self._caught)  # the thread ends with it
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
        ends = number != signal.SIGINT
        if ends and self._whole.is_set:
            return  # heard already, and on the way out
        if ends:
            self._whole.set()
        if self._answer is not None:
            self._answer.set()  # the engine needs a moment to stop
        elif ends:
            raise Cancelled("interrupted")
        else:
            raise KeyboardInterrupt


def _ignore(number: int, frame: FrameType | None) -> None:
    del number, frame


def _poke(caught: int) -> None:
    """Wakes the main thread after each signal in the pipe `caught`: one that comes between the
    prompt and the wait for a key would not be heard until a key is pressed.
    """
    main = threading.main_thread().ident
    assert main is not None
    with open(caught, "rb", buffering=0) as numbers:
        while number := numbers.read(1):
            for _ in range(_POKES if number[0] != _POKE else 0):
                time.sleep(_POKE_SECONDS)
                signal.pthread_kill(main, _POKE)


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
