"""Files in quarantine: programs that open what they get do not get them, archives do."""

import logging
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from outlast.core.errors import OutlastError, QuarantinedError
from outlast.core.manifest import FileEntry
from outlast.intake.formats.beginning import MOST, Beginning
from outlast.intake.formats.quarantine import Quarantine, refusal
from outlast.intake.formats.unsafe import Unsafe
from outlast.mirror.streaming import StreamingFile
from outlast.mirror.views import View
from outlast.server.http.files import StreamingReader
from outlast.sources.hub import FOR_ARCHIVE

_log = logging.getLogger(__name__)


class Withholding:
    """Says whether a file goes to who asks for it."""

    def __init__(self, quarantine: Quarantine, threaded: Callable[..., Awaitable[Any]]) -> None:
        """`threaded` runs what touches a disk in a thread."""
        self._quarantine = quarantine
        self._threaded = threaded

    async def refused(
        self, request: web.Request, view: View, entry: FileEntry
    ) -> QuarantinedError | None:
        """Why a client does not get a file, as far as that is known before the file is here. What
        cannot be read is told when it is sent, where it may be mended.
        """
        try:
            await self.require(request, view, entry)
        except QuarantinedError as error:
            return error
        except OutlastError as error:
            _log.debug("%r cannot be judged yet: %s", entry.path, error)
        return None

    async def require(self, request: web.Request, view: View, entry: FileEntry) -> None:
        """Raises :class:`QuarantinedError`, and what reading the file raises."""
        if not is_for_archive(request) and not self._quarantine.is_known_safe(entry):
            await self._threaded(self._quarantine.require, entry, view.files.values())

    async def require_beginning(
        self, request: web.Request, view: View, streaming: StreamingFile, reader: StreamingReader
    ) -> None:
        """Waits until it is known that a file that arrives is safe: by its first bytes, else when
        it is here. Raises :class:`QuarantinedError`, and the error of the fetch.
        """
        if is_for_archive(request):
            return
        found: Beginning = "undecided"
        while found == "undecided" and not streaming.finished:
            head = await self._threaded(streaming.beginning, MOST)
            found = await self._threaded(self._quarantine.beginning, streaming.entry, head)
            if found == "undecided":
                await reader.wait_beyond(len(head), whole=len(head) >= MOST)
        if isinstance(found, Unsafe):
            raise refusal(streaming.entry, found, view.files.values())
        if found == "undecided":
            await self.require(request, view, streaming.entry)


def is_for_archive(request: web.Request) -> bool:
    """Whether the client says that the bytes go into an archive, which opens none of them."""
    return all(request.headers.get(name) == value for name, value in FOR_ARCHIVE.items())
