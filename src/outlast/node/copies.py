"""What a node says of the copies of models, to its static peers and to ``status``."""

import time
from dataclasses import replace

from outlast.core.status import CopiesStatus
from outlast.sources.peer_documents import CopiesSaid


class CopiesBoard:
    """Holds the last word of what looks after copies; `said` is None where nothing does. Any thread
    may read it.
    """

    def __init__(self) -> None:
        self._last: tuple[CopiesSaid, tuple[CopiesStatus, ...], float] | None = None

    def put(self, said: CopiesSaid, status: tuple[CopiesStatus, ...]) -> None:
        """Replaces the last word."""
        self._last = said, status, time.monotonic()

    @property
    def said(self) -> CopiesSaid | None:
        """The last word, with its age."""
        last = self._last
        return None if last is None else replace(last[0], age=int(time.monotonic() - last[2]))

    @property
    def status(self) -> tuple[CopiesStatus, ...]:
        return () if self._last is None else self._last[1]
