"""Comparing the pieces of a plain file, ahead of its bytes on their way to a client.

Threads compare; a file whose pieces were compared before costs a look at its inode.
"""

import asyncio
import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from outlast.core.cancel import Cancel
from outlast.core.closing import Closing
from outlast.server.tuning import TUNING, ServerTuning
from outlast.store.reading import BlobReader
from outlast.store.soundness.table import Identity, identity_of

Part = tuple[int, Callable[[], bool]]
"""Where a part ends that was compared, and what says whether the file is still as it was then."""


class Comparisons(Closing):
    """The threads that compare for a server."""

    def __init__(self, tuning: ServerTuning = TUNING) -> None:
        self._part = tuning.compared_part
        self._cancel = Cancel()
        self._pool = ThreadPoolExecutor(tuning.compare_threads, thread_name_prefix="compare")

    def close(self) -> None:
        self._cancel.set()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def ahead(self, blob: BlobReader, stop: int) -> "ComparedAhead":
        """Compares the bytes of a plain blob up to `stop`, as they are asked for."""
        return ComparedAhead(self, blob, stop)

    def end(self, start: int, stop: int) -> int:
        """Where a part ends that begins at `start`."""
        return min(stop, start + self._part)

    def begin(self, blob: BlobReader, start: int, stop: int) -> "asyncio.Future[Identity]":
        """Compares these bytes in a thread, which has the file open for itself: the response may
        end before. Raises :class:`Cancelled` where this is closed.
        """
        own = blob.duplicate()
        try:
            loop = asyncio.get_running_loop()
            return loop.run_in_executor(self._pool, self._require, own, start, stop - start)
        except BaseException:
            own.close()
            raise

    def _require(self, own: BlobReader, start: int, length: int) -> Identity:
        with own:
            return own.require(start, length, lambda _count: self._cancel.check())


class ComparedAhead:
    """One response: a part is compared while the one before it is sent."""

    def __init__(self, comparisons: Comparisons, blob: BlobReader, stop: int) -> None:
        self._comparisons = comparisons
        self._blob = blob
        self._stop = stop
        self._part: tuple[int, int, Identity] | None = None
        self._following: tuple[int, int, asyncio.Future[Identity]] | None = None

    def close(self) -> None:
        """The response is over. What is under way ends by itself."""
        if self._following is not None:
            self._following[2].add_done_callback(_seen)
            self._following = None

    async def next(self, position: int) -> Part:
        """The part at `position` that may be sent. Raises what `BlobReader.require` raises."""
        if self._part is None or not self._part[0] <= position < self._part[1] or not self._holds():
            self._part = await self._compared(position)
            self._look_ahead(self._part[1])
        return self._part[1], functools.partial(self._blob.is_unchanged, self._part[2])

    def _holds(self) -> bool:
        return self._part is not None and self._blob.is_unchanged(self._part[2])

    async def _compared(self, position: int) -> tuple[int, int, Identity]:
        identity = identity_of(self._blob.stat())
        if self._blob.is_compared(position, self._stop - position):  # all of the rest
            self.close()
            return position, self._stop, identity
        following, self._following = self._following, None
        if following is None or following[0] != position:
            end = self._comparisons.end(position, self._stop)
            following = position, end, self._comparisons.begin(self._blob, position, end)
        return following[0], following[1], await following[2]

    def _look_ahead(self, start: int) -> None:
        if start < self._stop and not self._blob.is_compared(start, self._stop - start):
            end = self._comparisons.end(start, self._stop)
            self._following = start, end, self._comparisons.begin(self._blob, start, end)


def _seen(done: "asyncio.Future[Identity]") -> None:
    if not done.cancelled():
        done.exception()
