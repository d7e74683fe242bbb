"""An explicit cancel token, passed down to everything that may take long."""

import threading

from outlast.core.errors import Cancelled


class Cancel:
    """Set once, from any thread or a signal handler; observed by workers at their next step."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def set(self) -> None:
        self._event.set()

    @property
    def is_set(self) -> bool:
        return self._event.is_set()

    def check(self) -> None:
        """Raises :class:`Cancelled` once the token is set."""
        if self._event.is_set():
            raise Cancelled("interrupted")

    def wait(self, seconds: float) -> None:
        """Sleeps for `seconds`, or raises :class:`Cancelled` as soon as the token is set."""
        if self._event.wait(seconds):
            raise Cancelled("interrupted")
