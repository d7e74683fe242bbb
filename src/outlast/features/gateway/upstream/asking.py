"""Asking one server: the request's bytes, its key, and an answer that is one."""

from collections.abc import Mapping
from typing import Final, Protocol
from urllib.parse import urlsplit

import msgspec

from outlast.features.gateway.dialects.anthropic_target import NotExpressibleError, to_messages
from outlast.features.gateway.routes.values import Endpoint
from outlast.features.gateway.seams import Json
from outlast.features.gateway.upstream.clock import Clock
from outlast.features.gateway.upstream.faults import Fault, FaultKind, fault_of_answer
from outlast.features.gateway.upstream.key_record import KeyRecord
from outlast.features.gateway.upstream.wire import Wire, WirePlace
from outlast.server.model.origin import Origin

_ERROR_BYTES: Final = 256 * 1024
_STREAM: Final = "text/event-stream"
_encode = msgspec.json.Encoder().encode
PATHS: Final = {
    "chat": "/chat/completions",
    "completions": "/completions",
    "embeddings": "/embeddings",
}
"""What is asked, and where below an endpoint's URL."""


def paths_of(endpoint: Endpoint) -> Mapping[str, str]:
    """What may be asked of an endpoint, and where."""
    return PATHS if endpoint.speaks == "openai" else {"chat": "/messages"}


class Body(Protocol):
    """The body of an answer with status 200."""

    async def piece(self) -> bytes:
        """The next bytes; none at the end. Raises :class:`Fault` where it ends early."""

    async def whole(self, most: int) -> bytes:
        """All of it, up to `most` bytes. Raises :class:`Fault`."""

    def close(self) -> None:
        """Ends it. To be called in every case."""


class Backend(Protocol):
    """What answers for a target."""

    @property
    def origin(self) -> Origin | None:
        """Which weights and engine answer, where the gateway knows."""

    async def ask(self, kind: str, body: Json, clock: Clock, connect: float) -> Body:
        """Sends a request of `kind` (a key of :data:`PATHS`). Raises :class:`Fault` for an answer
        that is none.
        """


class RemoteBackend:
    """A server at a URL, asked with the operator's key."""

    origin = None

    def __init__(self, wire: Wire, endpoint: Endpoint, url: str, record: KeyRecord) -> None:
        self._wire = wire
        self._endpoint = endpoint
        self._record = record
        parts = urlsplit(url)
        tls = parts.scheme == "https"
        self._place = WirePlace(parts.hostname or "", parts.port or (443 if tls else 80), tls)
        self._heads = {
            kind: f"POST {parts.path}{path} HTTP/1.1\r\nHost: {parts.netloc}\r\n".encode()
            + _access(endpoint)
            + b"Content-Type: application/json\r\nAccept-Encoding: identity\r\n"
            b"User-Agent: outlast\r\n"
            for kind, path in paths_of(endpoint).items()
        }

    async def ask(self, kind: str, body: Json, clock: Clock, connect: float) -> Body:
        data = self._said(kind, body)
        stream = body.get("stream") is True
        accept = b"text/event-stream" if stream else b"application/json"
        head = self._heads[kind] + b"Accept: %b\r\nContent-Length: %d\r\n\r\n" % (accept, len(data))
        reply = await self._wire.send(self._place, head + data, clock, connect=connect)
        try:
            if reply.status != 200:
                await self._refuse(reply.status, reply.headers, await reply.whole(_ERROR_BYTES))
            _check_type(reply.headers.get("content-type", ""), stream=stream)
        except BaseException:
            reply.close()
            raise
        return reply

    def _said(self, kind: str, body: Json) -> bytes:
        """The body in the words of the endpoint. Raises :class:`Fault` where it has none for it."""
        if kind not in self._heads:
            raise Fault(FaultKind.ANOMALY, f"the endpoint has no {kind}")
        if self._endpoint.speaks == "openai":
            return _encode(body)
        try:
            return _encode(to_messages(body)[0])
        except NotExpressibleError as error:
            raise Fault(FaultKind.ANOMALY, str(error)) from None

    async def _refuse(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        worked = self._record.worked(self._endpoint)
        raise fault_of_answer(status, headers, body, worked=worked, key=self._endpoint.key)


def _check_type(said: str, *, stream: bool) -> None:
    found = said.partition(";")[0].strip().lower()
    if (found == _STREAM) != stream or found == "text/html":
        raise Fault(FaultKind.MALFORMED, "the answer is of another type than was asked for")


def _access(endpoint: Endpoint) -> bytes:
    version = b"" if endpoint.speaks == "openai" else b"anthropic-version: 2023-06-01\r\n"
    return version + _key(endpoint)


def _key(endpoint: Endpoint) -> bytes:
    if endpoint.key is None:
        return b""
    if endpoint.auth == "bearer":
        return f"Authorization: Bearer {endpoint.key}\r\n".encode()
    return f"{endpoint.auth}: {endpoint.key}\r\n".encode()
