"""Serving the bytes of files: from a blob by sendfile(2), from a capsule as it is decoded, or from
a download that is under way.

A verified blob leaves without a copy through user space; what a capsule holds is decoded on the
way. A download is sent as far as it is readable, and its last piece only once the whole
file is verified. When it proves wrong the connection is closed short, so that no
client can complete it.
"""

import asyncio
import contextlib
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import BinaryIO, Self

from aiohttp import web

from outlast.codec.reader import CapsuleReader
from outlast.core.errors import OutlastError, TransientError
from outlast.core.manifest import FileEntry
from outlast.mirror.streaming import StreamingFile
from outlast.server.http.blocks import Blocks
from outlast.server.http.compared import ComparedAhead, Comparisons
from outlast.server.http.decoded import send_decoded
from outlast.server.http.pace import Pace
from outlast.server.http.ranges import parse_range
from outlast.server.http.replies import failure
from outlast.server.http.sendfile import send_file
from outlast.server.tuning import TUNING, ServerTuning
from outlast.store.reading import BlobReader

_TAGS = re.compile(r'(?:W/)?("[^"]*")')
_UNQUOTED = str.maketrans('"\\', "__")
"""What would end or escape inside the quotes of a header."""
_PROBE = 1
"""A range of one byte is a look at the headers (Rust's hf-hub), not a part of a download."""


@dataclass(frozen=True, slots=True)
class Limits:
    """`stall` is the longest that a client may take no byte, in seconds."""

    stall: float = 120.0
    tuning: ServerTuning = TUNING


Count = Callable[[int], None]


def file_headers(entry: FileEntry, commit: str) -> dict[str, str]:
    """The headers that clients read; the same for HEAD and GET."""
    name = entry.path.rsplit("/", 1)[-1].encode("ascii", "replace").decode().translate(_UNQUOTED)
    return {
        "ETag": f'"{entry.etag}"',
        "X-Repo-Commit": commit,
        "X-Linked-Size": str(entry.size),
        "X-Linked-Etag": f'"{entry.etag}"',
        "Accept-Ranges": "bytes",
        "Content-Disposition": f'inline; filename="{name}"',
        "Content-Type": "application/octet-stream",
        "Cache-Control": "no-transform",
    }


def not_modified(request: web.Request, headers: Mapping[str, str]) -> web.Response | None:
    """The 304 for a GET or HEAD whose client has what `headers` describe (If-None-Match, RFC 9110);
    else None. Any range is ignored then, and no byte is read or fetched.
    """
    tag = headers.get("ETag", "").removeprefix("W/")
    given = request.headers.getall("If-None-Match", ())
    same = any(one.strip() == "*" or tag in _TAGS.findall(one) for one in given)
    if not tag or not same:
        return None
    about = ("content-", "x-linked-", "accept-ranges")
    kept = {k: text for k, text in headers.items() if not k.lower().startswith(about)}
    return web.Response(status=304, headers=kept)


@dataclass(frozen=True, slots=True)
class ByteSpan:
    """The bytes of a file that one response carries."""

    start: int
    stop: int
    partial: bool

    def resumes(self, size: int) -> bool:
        """Whether this continues a file to its end, from a beginning that the client has."""
        return self.start > 0 and self.stop == size

    def headers(self, size: int) -> dict[str, str]:
        if not self.partial:
            return {}
        return {"Content-Range": f"bytes {self.start}-{self.stop - 1}/{size}"}


def choose_span(request: web.Request, size: int, etag: str) -> ByteSpan | web.Response:
    """What to send of `size` bytes for a Range header, or the 416 that refuses it."""
    if_range = request.headers.get("If-Range")
    header = request.headers.get("Range")
    if if_range is not None and if_range.strip() != f'"{etag}"':
        header = None
    try:
        found = parse_range(header, size)
    except ValueError:
        sent = {"Content-Range": f"bytes */{size}"}
        return failure(416, "", f"the file has {size} bytes", sent)
    if found is None:
        return ByteSpan(0, size, partial=False)
    return ByteSpan(*found, partial=True)


async def send_head(
    request: web.Request, size: int, headers: Mapping[str, str]
) -> web.StreamResponse:
    """Answers a HEAD for a file of `size` bytes."""
    response = web.StreamResponse(headers=headers)
    response.content_length = size
    await response.prepare(request)
    await response.write_eof()
    return response


@dataclass(frozen=True, slots=True)
class Delivery:
    """One response: the request that it answers, its bytes, and where they are counted."""

    request: web.Request
    span: ByteSpan
    headers: Mapping[str, str]
    limits: Limits
    count: Count
    begun: Callable[[web.StreamResponse], None]
    """Gets the response once its headers are out: from then on only bytes may follow."""
    pace: Pace | None = None
    """How fast the bytes of a verified blob may go; None: as fast as the client takes them."""

    def is_gone(self) -> bool:
        """Whether the client closed the connection."""
        return is_closed(self.request)

    def whole(self) -> Self:
        """The same, of all bytes of the file."""
        size = int(self.headers["X-Linked-Size"])
        headers = {name: text for name, text in self.headers.items() if name != "Content-Range"}
        return replace(self, span=ByteSpan(0, size, partial=False), headers=headers)

    async def _begin(self) -> web.StreamResponse:
        response = web.StreamResponse(
            status=206 if self.span.partial else 200, headers=self.headers
        )
        response.content_length = self.span.stop - self.span.start
        await response.prepare(self.request)
        self.begun(response)
        return response

    async def send_blob(
        self, blob: BlobReader, blocks: Blocks, comparisons: Comparisons
    ) -> web.StreamResponse:
        """Sends the span from a blob. Raises what reading it raises, when nothing but right bytes
        went out; before the first byte, no header went out either.
        """
        if blob.capsule is not None:
            response = await self._begin()
            await self._send_decoded(response, blob.capsule, blocks)
            return response
        with contextlib.closing(comparisons.ahead(blob, self.span.stop)) as ahead:
            await ahead.next(self.span.start)
            response = await self._begin()
            with os.fdopen(os.dup(blob.fileno()), "rb") as file:
                await self._send_compared(response, file, ahead)
        return response

    async def _send_compared(
        self, response: web.StreamResponse, file: BinaryIO, ahead: ComparedAhead
    ) -> None:
        """Each part is compared before it goes, while the one before it goes. Where the file
        changes in the middle of a part, the rest of it is compared again.
        """
        position = self.span.start
        while position < self.span.stop:
            stop, is_unchanged = await ahead.next(position)
            count = stop - position
            if self.pace is not None:
                count, delay = self.pace.reserve(count)
                await asyncio.sleep(delay)
            sent = await self._try_to_send(file, position, position + count, is_unchanged)
            position += sent
            if sent < count and is_unchanged():
                close_short(self.request, response)
                return

    async def send_file(self, file: BinaryIO, may_go: Callable[[], bool]) -> web.StreamResponse:
        """Sends the span from an open file, as it is, for as long as it `may_go`."""
        response = await self._begin()
        await self._send_paced(response, file, may_go)
        return response

    async def _send_paced(
        self, response: web.StreamResponse, file: BinaryIO, may_go: Callable[[], bool]
    ) -> None:
        position, stop = self.span.start, self.span.stop
        while position < stop:
            count = stop - position
            if self.pace is not None:
                count, delay = self.pace.reserve(count)
                await asyncio.sleep(delay)
            if not await self._send(response, file, position, position + count, may_go):
                return
            position += count

    async def _send_decoded(
        self, response: web.StreamResponse, capsule: CapsuleReader, blocks: Blocks
    ) -> None:
        transport, span = self.request.transport, (self.span.start, self.span.stop)
        if transport is None or transport.is_closing():
            return
        stall = self.limits.stall
        if transport.get_write_buffer_size() and not await _flushed(self.request, stall):
            sent = 0
        else:
            sent = await send_decoded(
                transport,
                (capsule, blocks),
                span,
                stall=stall,
                sent=self.count,
                pace=self.pace,
                tuning=self.limits.tuning,
            )
        if sent != self.span.stop - self.span.start:
            close_short(self.request, response)

    async def send_streaming(
        self, streaming: StreamingFile, reader: "StreamingReader"
    ) -> web.StreamResponse | None:
        """Sends the span while the file downloads; None where the file came to be a blob before
        anything was sent. Raises the fetch's error where nothing was sent yet.
        """
        readable = await reader.wait_beyond(self.span.start, whole=not self._may_stream)
        fd = None if streaming.finished else streaming.open()
        if fd is None:
            await reader.wait_beyond(self.span.start, whole=True)
            return None
        with os.fdopen(fd, "rb") as file:
            return await self._stream(file, reader, readable)

    @property
    def _may_stream(self) -> bool:
        """Parts that do not reach the end are sent when the whole is verified, because a client
        could piece them together; all but those that are too small to be pieces.
        """
        length = self.span.stop - self.span.start
        return length <= _PROBE or self.span.stop == int(self.headers["X-Linked-Size"])

    async def _stream(
        self, file: BinaryIO, reader: "StreamingReader", readable: int
    ) -> web.StreamResponse:
        response = await self._begin()
        position = self.span.start
        while position < self.span.stop:
            stop = min(readable, self.span.stop, position + self.limits.tuning.streamed_slice)
            if not reader.may_continue:
                return close_short(self.request, response)
            if not await self._send(response, file, position, stop):
                return response
            position = stop
            if readable <= position < self.span.stop:
                try:
                    readable = await reader.wait_beyond(position)
                except OutlastError:
                    return close_short(self.request, response)
        return response

    async def _send(
        self,
        response: web.StreamResponse,
        file: BinaryIO,
        start: int,
        stop: int,
        may_go: Callable[[], bool] = lambda: True,
    ) -> bool:
        """Sends the bytes from `start` to `stop`; False where that was not possible to the end.
        A client that takes nothing for too long is dropped.
        """
        if start + await self._try_to_send(file, start, stop, may_go) == stop:
            return True
        close_short(self.request, response)
        return False

    async def _try_to_send(
        self, file: BinaryIO, start: int, stop: int, may_go: Callable[[], bool] = lambda: True
    ) -> int:
        """How many of the bytes from `start` to `stop` went out. `may_go` is asked before each part
        of them.
        """
        transport = self.request.transport
        if transport is None or transport.is_closing():
            return 0
        with contextlib.suppress(ConnectionError):
            return await send_file(
                transport,
                file,
                (start, stop),
                stall=self.limits.stall,
                sent=self.count,
                may_go=may_go,
                first=self.limits.tuning.first_sendfile,
            )
        return 0


async def _flushed(request: web.Request, stall: float) -> bool:
    """Waits until all that was written so far is with the kernel; whether it came to that."""
    transport = request.transport
    if transport is None:
        return False
    transport.set_write_buffer_limits(high=0)
    try:
        async with asyncio.timeout(stall):
            await request.writer.drain()
    except (TimeoutError, ConnectionError):
        return False
    finally:
        transport.set_write_buffer_limits()
    return not transport.get_write_buffer_size()


def is_closed(request: web.Request) -> bool:
    """Whether the client closed the connection."""
    transport = request.transport
    return transport is None or transport.is_closing()


class StreamingReader:
    """One client's view of a file that downloads. The client follows it until it is gone."""

    def __init__(
        self,
        streaming: StreamingFile,
        is_gone: Callable[[], bool] = lambda: False,
        poll: float = TUNING.client_poll,
    ) -> None:
        """Whether the client `is_gone` is asked every `poll` seconds while nothing comes."""
        self._streaming = streaming
        self._is_gone = is_gone
        self._poll = poll
        self._epoch = streaming.epoch
        self._loop = asyncio.get_running_loop()
        self._changed = asyncio.Event()

    def __enter__(self) -> Self:
        self._streaming.listen(self._notify)
        return self

    def __exit__(self, *_exc: object) -> None:
        self._streaming.unlisten(self._notify)

    @property
    def may_resume(self) -> bool:
        """Whether a client that has a beginning of this file surely has it from this very fetch,
        which has not proved wrong so far.
        """
        return self._streaming.first_to_stream and self._epoch == self._streaming.epoch == 0

    def _notify(self) -> None:
        # From a thread of the transfer; the loop may be gone when the server stops.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._changed.set)

    async def wait_beyond(self, position: int, *, whole: bool = False) -> int:
        """Waits until bytes beyond `position` are readable (or, with `whole`, until the file is
        verified); how far they go. Raises the fetch's error, ConnectionError when the client went.
        """
        while True:
            self._changed.clear()
            if self._streaming.error is not None:
                raise self._streaming.error
            if self._streaming.epoch != self._epoch and not whole:
                raise TransientError("the source sent wrong bytes; another one is asked")
            readable = self._streaming.readable
            if self._streaming.finished or (readable > position and not whole):
                return readable
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), self._poll)
            if self._is_gone():
                raise ConnectionResetError("the client closed the connection")

    @property
    def may_continue(self) -> bool:
        """Whether what this reader had so far may still be right."""
        return self._streaming.may_continue(self._epoch)


def close_short(request: web.Request, response: web.StreamResponse) -> web.StreamResponse:
    """Ends the connection before the promised length: with FIN, so that clients see a clean end
    and may resume, and not with RST.
    """
    if request.transport is not None:
        request.transport.close()
    return response
