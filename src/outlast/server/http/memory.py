"""Memory that clients make a server take: bodies of requests, long answers; shared between askers.

Requests do not wait for it: one that gets none is told to come again.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import TypeVar

from outlast.core.asker import ASKER
from outlast.core.errors import ExhaustedError
from outlast.server.tuning import TUNING, ServerTuning

T = TypeVar("T")


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


class YieldingTurns:
    """So many pieces of work at once, in the order in which they came. One that has waited for its
    client for `patience` seconds in all gives its turn to others and queues again, so that slow
    clients keep no turn. Belongs to one event loop.
    """

    def __init__(self, count: int, patience: float) -> None:
        self._free = asyncio.Semaphore(count)
        self._patience = patience

    @contextlib.asynccontextmanager
    async def turn(self) -> AsyncIterator["YieldingTurn"]:
        """A turn, while the block runs."""
        turn = YieldingTurn(self._free, self._patience)
        await turn.take()
        try:
            yield turn
        finally:
            turn.leave()


class YieldingTurn:
    """That of one piece of work."""

    def __init__(self, free: asyncio.Semaphore, patience: float) -> None:
        self._free = free
        self._patience = self._left = patience
        self._held = False

    async def take(self) -> None:
        """Waits for it, unless it is held."""
        if not self._held:
            await self._free.acquire()
            self._held = True
            self._left = self._patience

    def leave(self) -> None:
        """It is for others now."""
        if self._held:
            self._held = False
            self._free.release()

    async def waiting(self, come: Callable[[], Awaitable[T]]) -> T:
        """What `come` gives, which may be asked again where it was interrupted. The turn is left
        where that takes longer than there is patience.
        """
        clock = asyncio.get_running_loop().time
        began = clock()
        try:
            async with asyncio.timeout(self._left):
                return await come()
        except TimeoutError:
            self.leave()
        finally:
            self._left = max(0.0, self._left - (clock() - began))
        return await come()
