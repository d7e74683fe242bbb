"""HTTP/1.1 to upstreams: requests with a body out, answers in pieces as they come.

Written on asyncio's protocols, because a client library's request costs more than all the rest of a
request through the gateway (docs/adr/0050-gateway.md has the figures). It speaks what answers of
models need, and refuses the rest: no redirects, no compression, no ambiguous lengths. All that
comes is bounded: a reader that is slow stops the sender.
"""

import asyncio
import contextlib
import re
import ssl
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, cast

from outlast.features.gateway.upstream.clock import Clock
from outlast.features.gateway.upstream.faults import Fault, FaultKind, fault_of_error

_HEAD: Final = 64 * 1024
_AHEAD: Final = 256 * 1024
"""Bytes of a body that wait for their reader before the sender is stopped. Guess."""
_IDLE: Final = 15.0
"""Seconds after which an idle connection is not used again. Guess: servers close theirs later."""
_MOST_IDLE: Final = 256
_INTERIM: Final = 8
_STATUS: Final = re.compile(rb"HTTP/1\.([01]) ([1-5][0-9][0-9])(?: |\Z)")
_SIZE: Final = re.compile(rb"[0-9A-Fa-f]{1,15}\Z")
_NAME: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")
_CRLF: Final = b"\r\n"


@dataclass(frozen=True, slots=True)
class WirePlace:
    """Where a server listens: host and port, or a socket in the file system."""

    host: str
    port: int = 0
    tls: bool = False
    socket: str = ""

    def __str__(self) -> str:
        return f"{self.host}:{self.port}" if self.port else self.host


class Wire:
    """Connections to upstreams, kept while they are idle. Belongs to one event loop."""

    def __init__(self) -> None:
        self._idle: dict[WirePlace, deque[_WireConnection]] = {}
        self._open: set[_WireConnection] = set()
        self._tls: ssl.SSLContext | None = None

    def close(self) -> None:
        """Ends all connections, also those that are used."""
        for connection in list(self._open):
            connection.abort()
        self._idle.clear()

    async def send(
        self, place: WirePlace, data: bytes, clock: Clock, *, connect: float, keep: bool = True
    ) -> "Reply":
        """Sends the bytes of one request and returns when the answer's head is there. `connect` is
        in seconds; `clock` ends the exchange in its time. A connection that was idle may have been
        closed by the server meanwhile: then the request, of which no byte was answered, goes out
        once more on a new one. Raises :class:`Fault`.
        """
        connection = self._take(place) if keep else None
        if connection is not None:
            clock.bind(connection.fail)
            try:
                return await connection.ask(data)
            except Fault:
                if not connection.lost_silently:
                    raise
        connection = await self._connect(place, connect, keep=keep)
        clock.bind(connection.fail)
        return await connection.ask(data)

    def _take(self, place: WirePlace) -> "_WireConnection | None":
        """The idle connection that was used last: the others may become too old."""
        idle = self._idle.get(place)
        oldest = time.monotonic() - _IDLE
        while idle:
            connection = idle.pop()
            if connection.usable and connection.since > oldest:
                return connection
            connection.abort()
        return None

    def give(self, connection: "_WireConnection") -> None:
        """A connection whose answer was read to its end."""
        idle = self._idle.setdefault(connection.place, deque())
        idle.append(connection)
        if len(idle) > _MOST_IDLE:
            idle.popleft().abort()

    def forget(self, connection: "_WireConnection") -> None:
        self._open.discard(connection)
        idle = self._idle.get(connection.place)
        if idle is not None:
            with contextlib.suppress(ValueError):
                idle.remove(connection)

    async def _connect(self, place: WirePlace, seconds: float, *, keep: bool) -> "_WireConnection":
        loop = asyncio.get_running_loop()
        made = _WireConnection(self, place, keep=keep)
        try:
            async with asyncio.timeout(seconds):
                if place.socket:
                    await loop.create_unix_connection(lambda: made, place.socket)
                else:
                    await loop.create_connection(
                        lambda: made,
                        place.host,
                        place.port,
                        ssl=self._context() if place.tls else None,
                        server_hostname=place.host if place.tls else None,
                    )
        except (OSError, ssl.CertificateError) as error:
            raise fault_of_error(error, str(place)) from error
        self._open.add(made)
        return made

    def _context(self) -> ssl.SSLContext:
        if self._tls is None:
            self._tls = ssl.create_default_context()
        return self._tls


class Reply:
    """An answer whose head is there. Its body is read once, in pieces; close it in every case."""

    def __init__(
        self, connection: "_WireConnection", status: int, headers: Mapping[str, str]
    ) -> None:
        self._connection = connection
        self.status, self.headers = status, headers

    async def piece(self) -> bytes:
        """The next bytes; none at the end. Raises :class:`Fault` where the body ends early."""
        return await self._connection.piece()

    async def whole(self, most: int) -> bytes:
        """All of the body. Raises :class:`Fault`, also where it is longer than `most`."""
        found = bytearray()
        while data := await self._connection.piece():
            found += data
            if len(found) > most:
                raise Fault(FaultKind.MALFORMED, f"the answer is longer than {most >> 20} MiB")
        return bytes(found)

    def close(self) -> None:
        """Leaves the connection to others where the body was read to its end, else ends it."""
        self._connection.leave()


class _WireConnection(asyncio.Protocol):
    """One connection: parses heads and bodies, and hands pieces on."""

    def __init__(self, wire: Wire, place: WirePlace, *, keep: bool) -> None:
        self._wire = wire
        self.place = place
        self._keep = keep
        self._transport: asyncio.Transport | None = None
        self.since = time.monotonic()
        self._buffer = bytearray()
        self._waiter: asyncio.Future[None] | None = None
        self._fault: Fault | None = None
        self._reply: Reply | None = None
        self._interim = 0
        self._body: _Body | None = None
        self._pieces: deque[bytes] = deque()
        self._waiting = 0
        self._stopped = False
        self.lost_silently = False
        """Closed by the server before it said anything of the request."""

    @property
    def usable(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    async def ask(self, data: bytes) -> Reply:
        """Raises :class:`Fault`."""
        if self._transport is None:
            self.lost_silently = True
            raise self._fault or self._cut()
        self._forget_last()
        self._transport.write(data)
        try:
            while self._reply is None:
                await self._more()
        except BaseException:
            self.abort()
            raise
        return self._reply

    def _forget_last(self) -> None:
        self._reply, self._body, self._fault, self._interim = None, None, None, 0

    async def piece(self) -> bytes:
        while not self._pieces:
            if self._body is None or self._body.done:
                return b""
            await self._more()
        if len(self._pieces) == 1:
            data = self._pieces.popleft()
        else:
            data = b"".join(self._pieces)
            self._pieces.clear()
        self._waiting = 0
        if self._stopped and self._transport is not None:
            self._stopped = False
            self._transport.resume_reading()
        return data

    async def _more(self) -> None:
        """Waits until something came. Raises :class:`Fault` once nothing more will."""
        if self._fault is not None:
            raise self._fault
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def fail(self, fault: Fault) -> None:
        if self._fault is None:
            self._fault = fault
        self._wake()
        self.abort()

    def leave(self) -> None:
        whole = self._body is not None and self._body.done and not self._buffer
        clean = whole and not self._pieces and self._fault is None
        if clean and self._keep and self.usable:
            self.since = time.monotonic()
            self._reply = None
            self._wire.give(self)
        else:
            self.abort()

    def abort(self) -> None:
        self._wire.forget(self)
        if self._transport is not None:
            self._transport.abort()

    def _cut(self) -> Fault:
        if self._reply is None:
            return Fault(FaultKind.UNREACHABLE, f"{self.place} closed the connection")
        return Fault(FaultKind.CUT, f"{self.place} broke the answer off")

    # What the transport says

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._wire.forget(self)
        self._transport = None
        self.lost_silently = self._reply is None and not self._buffer
        if self._fault is None and not (self._body is not None and self._body.ended_by_close()):
            self._fault = self._cut()
        self._wake()

    def data_received(self, data: bytes) -> None:
        try:
            if self._reply is None or self._body is None or self._body.done:
                self._buffer += data
                if not self._head():
                    return
                data = bytes(self._buffer)
                self._buffer.clear()
            if data and self._body is not None:
                rest = self._body.feed(data, self._take)
                if rest:  # after the end: nothing was asked there
                    self._keep = False
        except _WireError as error:
            self.fail(Fault(FaultKind.MALFORMED, f"{self.place} does not speak HTTP: {error}"))
            return
        self._wake()
        if self._waiting > _AHEAD and not self._stopped and self._transport is not None:
            self._stopped = True
            self._transport.pause_reading()

    def _take(self, data: bytes) -> None:
        self._pieces.append(data)
        self._waiting += len(data)

    def _head(self) -> bool:
        """Whether the head is there, and was taken out of the buffer."""
        while True:
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                if len(self._buffer) > _HEAD:
                    raise _WireError("a head without end")
                return False
            head = bytes(self._buffer[:end])
            del self._buffer[: end + 4]
            status, keeps, headers = _parse(head)
            if status < 200:
                self._interim += 1
                if status == 101 or self._interim > _INTERIM:
                    raise _WireError("too many interim answers")
                continue
            self._keep = self._keep and keeps
            self._body = _body_of(status, headers)
            self._reply = Reply(self, status, headers)
            return True


class _WireError(Exception):
    """What came is not HTTP as we take it."""


class _Body(ABC):
    """The bytes of one body. `feed` hands on those that came and returns what follows the end."""

    done = False

    @abstractmethod
    def feed(self, data: bytes, take: Callable[[bytes], None]) -> bytes:
        """The bytes that follow the end; those of the body go to `take`."""

    def ended_by_close(self) -> bool:
        """Whether the end of the connection is that of the body."""
        return self.done


class _Sized(_Body):
    def __init__(self, size: int) -> None:
        self._left = size
        self.done = size == 0

    def feed(self, data: bytes, take: Callable[[bytes], None]) -> bytes:
        part, rest = data[: self._left], data[self._left :]
        self._left -= len(part)
        if part:
            take(part)
        self.done = self._left == 0
        return rest


class _UntilClose(_Body):
    def feed(self, data: bytes, take: Callable[[bytes], None]) -> bytes:
        take(data)
        return b""

    def ended_by_close(self) -> bool:
        self.done = True
        return True


class _Chunked(_Body):
    """RFC 9112, 7.1. A chunk's extension and the trailers are dropped."""

    def __init__(self) -> None:
        self._left = 0
        """Bytes of the chunk; -1: its line end is next; -2: trailers are."""
        self._line = b""

    def feed(self, data: bytes, take: Callable[[bytes], None]) -> bytes:
        at, size = 0, len(data)
        while at < size and not self.done:
            if self._left > 0:
                part = data[at : at + self._left]
                at += len(part)
                self._left = self._left - len(part) or -1
                take(part)
                continue
            end = data.find(b"\n", at)
            if end < 0:
                self._line += data[at:]
                if len(self._line) > _HEAD:
                    raise _WireError("a line without end")
                return b""
            line = self._line + data[at : end + 1]
            self._line, at = b"", end + 1
            self._heard(line)
        return data[at:]

    def _heard(self, line: bytes) -> None:
        if not line.endswith(_CRLF):
            raise _WireError("a line of a chunked body ends otherwise than HTTP's do")
        line = line[:-2]
        if self._left == -1:
            if line:
                raise _WireError("a chunk is longer than it said")
            self._left = 0
        elif self._left == -2:
            self.done = not line
        else:
            said = line.partition(b";")[0].strip(b" \t")
            if not _SIZE.match(said):
                raise _WireError("a chunk without a size")
            self._left = int(said, 16) or -2


def _parse(head: bytes) -> tuple[int, bool, dict[str, str]]:
    """Status, whether the connection is kept, and the fields with their names in small letters."""
    lines = head.split(_CRLF)
    matched = _STATUS.match(lines[0])
    if matched is None:
        raise _WireError("no status line")
    headers: dict[str, str] = {}
    for line in lines[1:]:
        name, colon, value = line.partition(b":")
        if not colon or not _NAME.match(name):
            raise _WireError("a field without a name")
        key, text = name.decode().lower(), value.strip(b" \t").decode("latin-1")
        if key in headers and key in {"content-length", "transfer-encoding"}:
            raise _WireError("two lengths")
        headers[key] = text
    kept = headers.get("connection", "").lower()
    keeps = kept == "keep-alive" if matched[1] == b"0" else kept != "close"
    return int(matched[2]), keeps, headers


def _body_of(status: int, headers: Mapping[str, str]) -> _Body:
    coding, length = headers.get("transfer-encoding"), headers.get("content-length")
    if headers.get("content-encoding", "identity").lower() not in {"identity", ""}:
        raise _WireError("an encoding that was not asked for")
    if status in {204, 304}:
        return _Sized(0)
    if coding is not None:
        if coding.lower() != "chunked" or length is not None:
            raise _WireError("a coding that is not chunked alone")
        return _Chunked()
    if length is None:
        return _UntilClose()
    if not length.isascii() or not length.isdigit() or len(length) > 15:
        raise _WireError("a length that is none")
    return _Sized(int(length))
