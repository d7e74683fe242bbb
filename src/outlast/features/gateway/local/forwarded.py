"""The engines of the archive's models, where another process of this gateway has them: each model
is in memory once, however many processes there are.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from outlast.core.names import Target
from outlast.features.gateway.routes.values import LocalModel
from outlast.features.gateway.seams import Json
from outlast.features.gateway.upstream.asking import Body
from outlast.features.gateway.upstream.clock import Clock
from outlast.features.gateway.upstream.faults import Fault, FaultKind
from outlast.features.gateway.upstream.wire import Reply, Wire, WirePlace
from outlast.server.model.origin import Origin

READY: Final = "/engines/ready"
ASK: Final = "/engines/ask"
ORIGIN: Final = "X-Outlast-Origin"
FAULT_STATUS: Final = 599
"""The status of an answer that is a :class:`SaidFault`."""
_START: Final = 3600.0
"""Seconds that an engine may take to start; the process that has it knows better."""
_MOST_FAULT: Final = 256 * 1024


class EngineQuestion(msgspec.Struct, frozen=True):
    """What one process asks of another: a request of `kind` for an archived model, with an adapter
    or alone. `seconds` is the most that all of it may take, `connect` that to the engine.
    """

    model: str
    adapter: str = ""
    kind: str = "chat"
    body: dict[str, Any] = {}
    seconds: float = _START
    connect: float = 3.0


class SaidFault(msgspec.Struct, frozen=True):
    """A fault, on its way from one process to another."""

    kind: str
    detail: str
    status: int = 0
    retry_after: float | None = None
    error: dict[str, Any] = {}

    @classmethod
    def of(cls, fault: Fault) -> bytes:
        said = cls(str(fault.kind), str(fault), fault.status, fault.retry_after, dict(fault.error))
        return msgspec.json.encode(said)

    @classmethod
    def read(cls, data: bytes) -> Fault:
        """The inverse."""
        said = msgspec.json.decode(data, type=cls)
        return Fault(
            FaultKind(said.kind),
            said.detail,
            status=said.status,
            retry_after=said.retry_after,
            error=said.error,
        )


def said_origin(origin: Origin | None) -> str:
    """An origin as the text of a header."""
    if origin is None:
        return ""
    return msgspec.json.encode([origin.manifest, origin.engine, origin.sealed]).decode()


class ForwardedEngines:
    """Asks the process whose private socket is at `path` for its engines. Belongs to the event
    loop.
    """

    def __init__(self, path: Path, wire: Wire) -> None:
        self._place: Final = WirePlace("engines", socket=str(path))
        self._wire: Final = wire
        self._backends: dict[tuple[LocalModel, Target | None], ForwardedBackend] = {}

    def backend(self, model: LocalModel, adapter: Target | None) -> "ForwardedBackend":
        """What answers for a model, or for it with an adapter."""
        found = self._backends.get((model, adapter))
        if found is None:
            found = ForwardedBackend(model, adapter, self._place, self._wire)
            self._backends[model, adapter] = found
        return found

    def keep(self, models: Iterable[LocalModel]) -> None:
        """Those that are not named any more are forgotten."""
        named = set(models)
        self._backends = {key: one for key, one in self._backends.items() if key[0] in named}

    async def warm(self, model: LocalModel) -> None:
        """The other process loads it when it hears of the fault, as this one did."""

    def tidy(self) -> None:
        """The other process does."""

    async def close(self) -> None:
        """The other process has the engines."""


class ForwardedBackend:
    """Implements :class:`~outlast.features.gateway.upstream.asking.Backend`."""

    def __init__(
        self, model: LocalModel, adapter: Target | None, place: WirePlace, wire: Wire
    ) -> None:
        self._asked: Final = str(model.model), "" if adapter is None else str(adapter)
        self._place: Final = place
        self._wire: Final = wire
        self.origin: Origin | None = None

    async def ask(self, kind: str, body: Json, clock: Clock, connect: float) -> Body:
        """Raises :class:`Fault`."""
        start = Clock(clock.caller_left, _START)
        try:  # the time that the engine takes to load is none of the answer's
            ready = await self._send(READY, EngineQuestion(*self._asked), start, connect)
            self.origin = _origin(ready.headers)
            ready.close()
        finally:
            start.stop()
        clock.again()
        question = EngineQuestion(*self._asked, kind, body, connect=connect)
        return await self._send(ASK, question, clock, connect)

    async def _send(
        self, path: str, question: EngineQuestion, clock: Clock, connect: float
    ) -> Reply:
        data = msgspec.json.encode(question)
        head = (
            f"POST {path} HTTP/1.1\r\nHost: engines\r\nConnection: close\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
        )
        try:
            reply = await self._wire.send(
                self._place, head.encode() + data, clock, connect=connect, keep=False
            )
        except Fault as fault:
            if fault.kind is not FaultKind.UNREACHABLE:
                raise
            text = "the process that has the engines does not answer"
            raise Fault(FaultKind.ENGINE, text) from fault
        if reply.status == 200:
            return reply
        try:
            said = await reply.whole(_MOST_FAULT)
        finally:
            reply.close()
        try:
            raise SaidFault.read(said)
        except (msgspec.DecodeError, ValueError):
            text = "the process that has the engines does not know this model"
            raise Fault(FaultKind.ENGINE, text) from None


def _origin(headers: Mapping[str, str]) -> Origin | None:
    try:
        manifest, engine, sealed = msgspec.json.decode(
            headers.get(ORIGIN.lower(), ""), type=tuple[str, str, tuple[str, ...]]
        )
    except msgspec.DecodeError:
        return None
    return Origin(manifest, engine, sealed)
