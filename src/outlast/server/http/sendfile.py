"""sendfile(2) on an event loop: the bytes of a file go to a socket without passing through us.

`loop.sendfile` registers and unregisters the socket for every megabyte; one registration a file
costs half the CPU time (docs/adr/0005-server.md).
"""

import asyncio
import os
from collections.abc import Callable
from typing import BinaryIO

from outlast.server.tuning import TUNING


async def send_file(
    transport: asyncio.Transport,
    file: BinaryIO,
    span: tuple[int, int],
    *,
    stall: float,
    sent: Callable[[int], None],
    first: int = TUNING.first_sendfile,
) -> int:
    """Sends the bytes `span` (start, stop) of `file`; how many of them went out.

    Fewer went where the client is gone or closing, took no byte for `stall` seconds, or where the
    file is shorter. `sent` gets the size of every part. Where the transport still holds bytes, the
    `first` ones of the file follow them through `loop.sendfile`.
    """
    start, stop = span
    if transport.get_write_buffer_size():
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(stall):
                count = await loop.sendfile(transport, file, start, min(first, stop - start))
        except TimeoutError:
            return 0
        sent(count)
        start += count
        if start == stop or count < first:
            return start - span[0]
        rest = (start, stop)
        return count + await send_file(transport, file, rest, stall=stall, sent=sent, first=first)
    return await _FileRun(transport, file.fileno(), span, stall=stall, sent=sent).run()


class _FileRun:
    """One run; level-triggered, one system call a wake-up, so that clients share the loop."""

    def __init__(
        self,
        transport: asyncio.Transport,
        file: int,
        span: tuple[int, int],
        *,
        stall: float,
        sent: Callable[[int], None],
    ) -> None:
        self._transport = transport
        self._file = file
        self._start, self._stop = span
        self._position = self._start
        self._stall = stall
        self._sent = sent
        self._loop = asyncio.get_running_loop()
        self._done: asyncio.Future[None] = self._loop.create_future()
        self._progress = self._loop.time()

    async def run(self) -> int:
        # A descriptor of our own: the loop refuses those that belong to a transport.
        self._socket = os.dup(self._transport.get_extra_info("socket").fileno())
        self._watch = self._loop.call_later(self._stall, self._check)
        self._loop.add_writer(self._socket, self._ready)
        try:
            await self._done
        finally:
            self._watch.cancel()
            self._loop.remove_writer(self._socket)
            os.close(self._socket)
        return self._position - self._start

    def _ready(self) -> None:
        if self._done.done():
            return
        try:
            count = os.sendfile(
                self._socket, self._file, self._position, self._stop - self._position
            )
        except (BlockingIOError, InterruptedError):
            return
        except ConnectionError:
            count = 0
        except OSError as error:  # the disk cannot read it
            self._done.set_exception(error)
            return
        self._position += count
        self._progress = self._loop.time()
        if count:
            self._sent(count)
        if count == 0 or self._position >= self._stop or self._transport.is_closing():
            self._done.set_result(None)

    def _check(self) -> None:
        """Ends the run where nothing went out for too long."""
        if self._done.done():
            return
        quiet = self._loop.time() - self._progress
        if quiet >= self._stall or self._transport.is_closing():
            self._done.set_result(None)
            return
        self._watch = self._loop.call_later(self._stall - quiet, self._check)
