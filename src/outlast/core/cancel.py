"""An explicit cancel token, passed down to everything that may take long."""

import threading
from typing import Final

from outlast.core.errors import Cancelled

_LOOK: Final = 0.1
"""Between two looks at the token above (s)."""


class Cancel:
    """Set once, from any thread or a signal handler; observed by workers at their next step. One
    that is `below` another is set with it too.
    """

    def __init__(self, below: "Cancel | None" = None) -> None:
        self._event = threading.Event()
        self._below = below

    def set(self) -> None:
        self._event.set()

    @property
    def is_set(self) -> bool:
        return self._event.is_set() or (self._below is not None and self._below.is_set)

    def check(self) -> None:
        """Raises :class:`Cancelled` once the token is set."""
        if self.is_set:
            raise Cancelled("interrupted")

    def wait(self, seconds: float) -> None:
        """Sleeps for `seconds`, or raises :class:`Cancelled` as soon as the token is set."""
        left = seconds
        while self._below is not None and left > _LOOK:
            self._event.wait(_LOOK)
            self.check()
            left -= _LOOK
        self._event.wait(left)
        self.check()
