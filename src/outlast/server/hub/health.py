"""Whether the archive's disk still works: what probes are told at ``/healthz``."""

import asyncio
import contextlib
import errno
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from outlast.core.descriptors import is_exhausted
from outlast.core.threads import DaemonPool
from outlast.server.http.log import log_line
from outlast.server.tuning import TUNING, ServerTuning
from outlast.store import disk
from outlast.store.layout import Layout

OK: Final = "ok"
READ_ONLY: Final = "read-only"
FULL: Final = "full"
MISSING: Final = "missing"
BUSY: Final = "busy"
FAILING: Final = "failing"
STUCK: Final = "stuck"

_HARMLESS: Final = frozenset({READ_ONLY, FULL})
"""For a server that only sends what it has."""
_NOT_FOR_US: Final = frozenset({errno.EROFS, errno.EACCES, errno.EPERM})
_WRITTEN: Final = b"outlast\n"


@dataclass(frozen=True, slots=True)
class Tried:
    """What came of a write to the archive: a `word` for probes, and for the log `why`."""

    word: str
    why: str = ""


def try_disk(layout: Layout) -> Tried:
    """Writes a small file to the archive, waits until it is on the disk, and deletes it."""
    try:
        if not os.path.isdir(layout.tmp):
            os.stat(layout.marker)  # a copy of an archive may lack empty folders
    except FileNotFoundError as error:
        return Tried(MISSING, str(error))
    except OSError as error:
        return Tried(BUSY if is_exhausted(error) else FAILING, str(error))
    temp = layout.tmp / f"health-{os.getpid()}"
    try:
        disk.make_dir(layout.tmp)
        disk.remove(temp)
        disk.write_temp(temp, _WRITTEN, disk.PRIVATE)
    except OSError as error:
        return Tried(_word(error), str(error))
    finally:
        with contextlib.suppress(OSError):
            disk.remove(temp)
    return Tried(OK)


def _word(error: OSError) -> str:
    if error.errno in disk.FULL:
        return FULL
    if error.errno in _NOT_FOR_US:
        return READ_ONLY
    return BUSY if is_exhausted(error) else FAILING


class DiskHealth:
    """Answers probes. The disk is tried in a thread of its own, one time after another, and not for
    every probe. It belongs to one event loop.
    """

    def __init__(
        self,
        work: Callable[[], Tried],
        *,
        fetches: bool,
        tuning: ServerTuning = TUNING,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`work` tries the disk. `fetches`: the server has to write what it fetches."""
        self._work = work
        self._fetches = fetches
        self._tuning = tuning
        self._clock = clock
        self._pool = DaemonPool(1, "health")  # a dead disk may hold it for ever
        self._check: asyncio.Future[Tried] | None = None
        self._began = 0.0
        self._known = ""
        """The word of the last check that ended; empty before that."""

    async def reply(self) -> web.Response:
        """200 with ``ok``, or 503 with one word that says why not."""
        word = await self._ask()
        if word == OK:
            return web.Response(text="ok\n")
        if word in _HARMLESS and not self._fetches:
            return web.Response(text=f"ok, {word}\n")
        headers = {"Retry-After": str(round(self._tuning.health_every))}
        return web.Response(status=503, text=f"{word}\n", headers=headers)

    async def _ask(self) -> str:
        check = self._check
        if check is None or (
            check.done() and self._clock() - self._began >= self._tuning.health_every
        ):
            self._began = self._clock()
            check = self._check = asyncio.wrap_future(self._pool.submit(self._try))
        held_up = self._tuning.health_wait if self._known else self._tuning.health_stuck
        if not check.done():
            left = self._began + held_up - self._clock()
            await asyncio.wait({check}, timeout=max(0.0, left))
        if check.done():
            return check.result().word
        if self._known and self._clock() - self._began < self._tuning.health_stuck:
            return self._known
        return STUCK

    def _try(self) -> Tried:
        tried = self._work()
        if tried.word not in {OK, self._known}:
            log_line({"level": "error", "what": "health", "disk": tried.word, "error": tried.why})
        self._known = tried.word
        return tried
