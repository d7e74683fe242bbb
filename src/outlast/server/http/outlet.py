"""What a server needs to send blobs: threads for the disk, open capsules, decoded blocks."""

import asyncio
import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any, TypeVar

from aiohttp import web

from outlast.core.closing import Closing
from outlast.core.digest import Digest
from outlast.core.errors import IntegrityError, StorageError
from outlast.server.http.blocks import Blocks
from outlast.server.http.compared import Comparisons
from outlast.server.http.files import Delivery
from outlast.server.http.log import log_line
from outlast.server.http.memory import FairTurns
from outlast.server.http.metrics import Metrics
from outlast.server.http.opened import OpenBlobs
from outlast.server.http.queries import Bodies
from outlast.server.tuning import TUNING, ServerTuning
from outlast.store.archive import Archive
from outlast.store.reading import BlobReader

T = TypeVar("T")


class Outlet(Closing):
    """The blobs of an archive on their way out. It belongs to one event loop."""

    def __init__(
        self, archive: Archive, metrics: Metrics, threads: int, tuning: ServerTuning = TUNING
    ) -> None:
        self._tidy_every = tuning.tidy_every
        self._metrics = metrics
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="answer")
        self._turns = FairTurns(max(1, threads // 2))
        self.bodies = Bodies(tuning)
        self._blocks = Blocks(tuning)
        self._opened = OpenBlobs(archive, tuning.open_capsules)
        self._comparisons = Comparisons(tuning)

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._blocks.close()
        self._comparisons.close()
        self.bodies.close()

    async def tidy(self) -> None:
        """Frees from time to time what is kept for requests that did not come."""
        while True:
            await asyncio.sleep(self._tidy_every)
            await self.threaded(self._opened.tidy)
            self._blocks.tidy()

    async def threaded(self, work: Callable[..., T], *args: Any) -> T:
        """What `work` returns, done where it may block. One asker has half of the threads at most,
        so that its requests do not hold up all others.
        """
        async with self._turns.turn():
            run = functools.partial(copy_context().run, work, *args)  # the asker goes with it
            return await asyncio.get_running_loop().run_in_executor(self._pool, run)

    def take(self, digest: Digest) -> BlobReader | None:
        """A blob for `send`, open until it is given back; None where it does not open, which `send`
        says. For threads that have just found it.
        """
        try:
            return self._opened.take(digest)
        except (IntegrityError, StorageError):
            return None

    def give_back(self, blob: BlobReader) -> None:
        """Ends the use of a blob that was taken."""
        self._opened.give_back(blob)

    async def send(
        self, delivery: Delivery, digest: Digest, path: str, blob: BlobReader | None = None
    ) -> web.StreamResponse:
        """Sends a blob of any form, which may have been taken; `path` names it in the log where it
        proves damaged. Raises what opening and reading it raises.
        """
        try:
            if blob is not None:
                return await delivery.send_blob(blob, self._blocks, self._comparisons)
            own = await self.threaded(self._opened.take, digest)
            try:
                return await delivery.send_blob(own, self._blocks, self._comparisons)
            finally:
                self._opened.give_back(own)
        except (IntegrityError, StorageError) as error:
            self._metrics.damaged.inc()
            line = {"level": "error", "what": "damage", "path": path, "error": str(error)}
            log_line({**line, "sha256": digest.hex})
            raise  # what is on its way is cut short
