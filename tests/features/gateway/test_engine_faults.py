"""What a gateway says of an engine that fails: why, and not where this machine keeps what."""

import asyncio
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest

from outlast.features.gateway.local import engines
from outlast.features.gateway.upstream.faults import Fault, FaultKind
from outlast.server.model.words import RequestError

SECRET = "/home/someone/.cache/outlast/engine.sock"


def test_an_engine_that_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run(*_: Any) -> None:
        connector = aiohttp.UnixConnector(SECRET)
        async with aiohttp.ClientSession(connector=connector) as session:
            await session.post("http://engine/x")

    class Limits:
        def __init__(self, _engine: object) -> None:
            self.run = run

    asked = SimpleNamespace(body={}, forced=None)
    monkeypatch.setattr(engines, "TemplateLimits", Limits)
    monkeypatch.setattr(engines, "understand", lambda *_args, **_more: asked)
    backend: Any = object.__new__(engines.LocalBackend)
    backend._session = object()
    running: Any = SimpleNamespace(loaded=None, engine=None)
    with pytest.raises(Fault, match="does not answer") as fault:
        asyncio.run(backend._ask(running, "chat", {}, None, 1.0))
    assert fault.value.kind is FaultKind.ENGINE
    assert "someone" not in str(fault.value)


@pytest.mark.parametrize("status", [400, 500])
def test_an_engine_that_names_a_file(status: int) -> None:
    fault = engines._as_fault(RequestError(status, f"failed to open '{SECRET}': no such file"))
    assert "failed to open" in str(fault)
    assert "someone" not in str(fault) + repr(fault.error)
