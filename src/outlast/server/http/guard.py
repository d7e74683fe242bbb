"""Access: bearer tokens, and limits on connections."""

import asyncio
import hashlib
import hmac
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path

from aiohttp import web

from outlast.core.errors import BadConfigError
from outlast.server.tuning import TUNING, ServerTuning

_FILE_LIMIT = 1024 * 1024
_BUSY = (
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nContent-Length: 0\r\n"
    b"Connection: close\r\n\r\n"
)

_log = logging.getLogger(__name__)


class Tokens:
    """The bearer tokens that open a server: lines of ``TOKEN`` or ``NAME TOKEN`` in a file."""

    def __init__(self, path: Path) -> None:
        try:
            if os.stat(path).st_size > _FILE_LIMIT:
                raise BadConfigError(f"{path} is too large for a file of tokens")
            lines = path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise BadConfigError(f"cannot read the tokens in {path}: {error}") from error
        self._names: dict[bytes, str] = {}
        for line in lines:
            words = line.split("#")[0].split()
            if words:
                self._names[_digest(words[-1])] = words[0] if len(words) > 1 else "user"
        if not self._names:
            raise BadConfigError(f"{path} holds no token", hint="write one token a line")

    def name_of(self, request: web.Request) -> str | None:
        """The name of the token that a request carries; None where it carries none of ours."""
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            return None
        sent = _digest(token.strip())
        found = None
        for digest, name in self._names.items():  # all of them, so that time tells nothing
            if hmac.compare_digest(digest, sent):
                found = name
        return found


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


class Connections:
    """Makes the protocol of each new connection, up to a number of them; and closes those that do
    not send a request.
    """

    def __init__(
        self,
        make: Callable[[], asyncio.BaseProtocol],
        most: int,
        count: Callable[[int], None],
        *,
        stall: float,
        tuning: ServerTuning = TUNING,
    ) -> None:
        """Up to `most` connections; `count` gets their number whenever one opens."""
        self._make = make
        self._most = most
        self._count = count
        self._silent: dict[asyncio.BaseProtocol, float] = {}
        self._open: set[asyncio.BaseProtocol] = set()
        self._new: set[asyncio.BaseProtocol] = set()
        self._stall = stall
        self._tuning = tuning
        self._unsent: dict[asyncio.BaseProtocol, tuple[int, float]] = {}

    def __call__(self) -> asyncio.BaseProtocol:
        # A protocol has no transport before it is connected, nor after it is closed: those of
        # this turn of the loop are counted apart.
        self._open = {p for p in self._open if getattr(p, "transport", None) is not None}
        count = len(self._open) + len(self._new)
        if count >= self._most:
            _log.debug("a connection is refused: %d are open, as many as may be", count)
            return _Busy()
        protocol = self._make()
        self._silent[protocol] = time.monotonic()
        self._count(count + 1)
        self._new.add(protocol)
        loop = asyncio.get_running_loop()
        loop.call_soon(loop.call_soon, self._connected, protocol)
        return protocol

    def _connected(self, protocol: asyncio.BaseProtocol) -> None:
        self._new.discard(protocol)
        self._open.add(protocol)

    def heard(self, protocol: asyncio.BaseProtocol) -> None:
        """A whole request came in on this connection."""
        self._silent.pop(protocol, None)

    async def sweep(self) -> None:
        """Closes connections on which no request came, again and again."""
        while True:
            await asyncio.sleep(self._tuning.sweep_every)
            now = time.monotonic()
            self._drop_stuck(now)
            for protocol, since in list(self._silent.items()):
                if now - since > self._tuning.first_request:
                    _log.debug("a connection is closed: no request came on it")
                    self._silent.pop(protocol)
                    transport = getattr(protocol, "transport", None)
                    if transport is not None:
                        transport.close()

    def _drop_stuck(self, now: float) -> None:
        """Drops clients that have read nothing of their pending answers for too long. Answers
        with files have a limit of their own.
        """
        waiting = {}
        for protocol in self._open:
            transport = getattr(protocol, "transport", None)
            if transport is None or not (size := transport.get_write_buffer_size()):
                continue
            before, since = self._unsent.get(protocol, (-1, now))
            waiting[protocol] = (size, since if size == before else now)
            if now - waiting[protocol][1] > self._stall:
                _log.debug("a connection is closed: the client takes no byte of its answers")
                transport.abort()
        self._unsent = waiting


class _Busy(asyncio.Protocol):
    """Turns a connection away."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.write(_BUSY)
        transport.close()
