"""Access: bearer tokens, and limits on connections."""

import asyncio
import hashlib
import hmac
import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class Grant:
    """What a line of the file of tokens gives: the name of its user, and the private and gated
    models (globs over what ``outlast ls`` shows) that it opens.
    """

    name: str
    models: tuple[str, ...] = ()


class Tokens:
    """The bearer tokens that open a server: lines of ``TOKEN``, ``NAME TOKEN`` or
    ``NAME TOKEN MODEL…`` in a file, where MODEL is a glob.
    """

    def __init__(self, path: Path) -> None:
        try:
            if os.stat(path).st_size > _FILE_LIMIT:
                raise BadConfigError(f"{path} is too large for a file of tokens")
            lines = path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise BadConfigError(f"cannot read the tokens in {path}: {error}") from error
        self._grants: dict[bytes, Grant] = {}
        for line in lines:
            words = line.split("#")[0].split()
            if words:
                name, token, *models = words if len(words) > 1 else ("user", *words)
                before = self._grants.get(_digest(token), Grant(name))
                self._grants[_digest(token)] = Grant(before.name, (*before.models, *models))
        if not self._grants:
            raise BadConfigError(f"{path} holds no token", hint="write one token a line")

    def grant_of(self, request: web.Request) -> Grant | None:
        """What the token that a request carries gives; None where it carries none of ours."""
        token = bearer(request)
        if token is None:
            return None
        sent = _digest(token)
        found = None
        for digest, grant in self._grants.items():  # all of them, so that time tells nothing
            if hmac.compare_digest(digest, sent):
                found = grant
        return found


def bearer(request: web.Request) -> str | None:
    """The bearer token that a request carries, as it came; None where it carries none."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


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
