"""sendfile(2) on an event loop: the bytes of a file go to a socket without passing through us.

`loop.sendfile` registers and unregisters the socket for every megabyte; one registration a file
costs half the CPU time (docs/adr/0005-server.md).
"""

import asyncio
import errno
import logging
import os
from collections.abc import Callable
from typing import BinaryIO

from outlast.server.tuning import TUNING

_log = logging.getLogger(__name__)

_UNABLE = frozenset(
    {errno.EINVAL, errno.ENOSYS, errno.EOVERFLOW, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOTSOCK}
)
"""What sendfile(2) says where the file system, the kernel or a filter cannot do it at all."""


async def send_file(
    transport: asyncio.Transport,
    file: BinaryIO,
    span: tuple[int, int],
    *,
    stall: float,
    sent: Callable[[int], None],
    may_go: Callable[[], bool] = lambda: True,
    first: int = TUNING.first_sendfile,
) -> int:
    """Sends the bytes `span` (start, stop) of `file`; how many of them went out.

    Fewer went where the client is gone or closing, took no byte for `stall` seconds, where the file
    is shorter, or `may_go`, which is asked before each part, said no. `sent` gets the size of every
    part. Where the transport still holds bytes, the `first` ones of the file follow them through
    `loop.sendfile`.
    """
    start, stop = span
    if transport.get_write_buffer_size() and may_go():
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
        return count + await send_file(
            transport, file, rest, stall=stall, sent=sent, may_go=may_go, first=first
        )
    run = _FileRun(transport, file.fileno(), span, stall=stall, sent=sent, may_go=may_go)
    return await run.run()


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
        may_go: Callable[[], bool] = lambda: True,
        copied: int = TUNING.copied_slice,
    ) -> None:
        self._copied = copied
        self._transport = transport
        self._file = file
        self._start, self._stop = span
        self._position = self._start
        self._stall = stall
        self._sent = sent
        self._may_go = may_go
        self._loop = asyncio.get_running_loop()
        self._done: asyncio.Future[None] = self._loop.create_future()
        self._progress = self._loop.time()
        self._step = self._send_file

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
            count = self._step() if self._may_go() else 0
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

    def _send_file(self) -> int:
        count = self._stop - self._position
        try:
            return os.sendfile(self._socket, self._file, self._position, count)
        except OSError as error:
            if error.errno not in _UNABLE:
                raise
            _log.info("sendfile: %s; the bytes are copied", error.strerror)
            self._step = self._copy
            return self._copy()

    def _copy(self) -> int:
        """Sends a part as sendfile(2) does, through memory."""
        count = min(self._copied, self._stop - self._position)
        data = os.pread(self._file, count, self._position)
        return os.write(self._socket, data) if data else 0

    def _check(self) -> None:
        """Ends the run where nothing went out for too long."""
        if self._done.done():
            return
        quiet = self._loop.time() - self._progress
        if quiet >= self._stall or self._transport.is_closing():
            self._done.set_result(None)
            return
        self._watch = self._loop.call_later(self._stall - quiet, self._check)
