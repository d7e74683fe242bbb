"""Memory that clients make a server take: bodies of requests, long answers; shared between askers.

Requests do not wait for it: one that gets none is told to come again.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Iterator

from outlast.core.asker import ASKER
from outlast.core.errors import ExhaustedError
from outlast.server.tuning import TUNING, ServerTuning


class Memory:
    """So many bytes at once, and of them so many for one asker. The first ones of each asker are
    always there, so that small requests never fail because of others' large ones. Belongs to one
    thread.
    """

    def __init__(self, tuning: ServerTuning = TUNING) -> None:
        self._tuning = tuning
        self._taken = 0
        self._of: dict[str, int] = {}

    @contextlib.contextmanager
    def lease(self) -> Iterator["Lease"]:
        """What a request takes until the block ends."""
        lease = Lease(self, ASKER.get())
        try:
            yield lease
        finally:
            self._give(lease.asker, lease.count)

    def take(self, asker: str, count: int) -> None:
        """Raises :class:`ExhaustedError` where there is not so much left."""
        tuning, mine = self._tuning, self._of.get(asker, 0) + count
        if mine > tuning.memory_always:
            if mine > tuning.memory_each:
                raise ExhaustedError("this client has too many large requests under way")
            if self._taken + count > tuning.memory:
                raise ExhaustedError("the server has too many large requests under way")
        self._of[asker] = mine
        self._taken += count

    def _give(self, asker: str, count: int) -> None:
        self._taken -= count
        left = self._of.get(asker, 0) - count
        if left > 0:
            self._of[asker] = left
        else:
            self._of.pop(asker, None)


class Lease:
    """The bytes that one request has taken."""

    def __init__(self, memory: Memory, asker: str) -> None:
        self._memory = memory
        self.asker = asker
        self.count = 0

    def more(self, count: int) -> None:
        """Takes `count` bytes more. Raises :class:`ExhaustedError`."""
        self._memory.take(self.asker, count)
        self.count += count


class FairTurns:
    """Lets every asker have so many turns at once; further ones wait, in order, for their own."""

    def __init__(self, each: int) -> None:
        self._each = each
        self._of: dict[str, tuple[asyncio.Semaphore, int]] = {}

    @contextlib.asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """A turn of the current asker, while the block runs."""
        asker = ASKER.get()
        gate, users = self._of.get(asker) or (asyncio.Semaphore(self._each), 0)
        self._of[asker] = (gate, users + 1)
        try:
            async with gate:
                yield
        finally:
            gate, users = self._of[asker]
            if users > 1:
                self._of[asker] = (gate, users - 1)
            else:
                del self._of[asker]


class RoundTurns:
    """Gives so many turns in each round of the event loop, in order: for work that would keep it
    from all else if it came at once. Belongs to one event loop.
    """

    def __init__(self, each: int) -> None:
        self._each = self._left = each
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._counts = False

    async def turn(self) -> None:
        """Waits for a turn. It ends by itself, with the round."""
        if self._left:
            self._take()
            return
        waiting = asyncio.get_running_loop().create_future()
        self._waiting.append(waiting)
        await waiting

    def _take(self) -> None:
        self._left -= 1
        if not self._counts:
            self._counts = True
            asyncio.get_running_loop().call_soon(self._next_round)

    def _next_round(self) -> None:
        self._left, self._counts = self._each, False
        while self._waiting and self._left:
            waiting = self._waiting.popleft()
            if not waiting.done():  # the request may have ended meanwhile
                waiting.set_result(None)
                self._take()
