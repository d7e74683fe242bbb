"""Probes: whether a target that was left alone answers again, with one token and in the background,
so that no caller waits for a dead one.
"""

import asyncio
from collections.abc import Iterable
from typing import Any, Final

import msgspec

from outlast.features.gateway.routes.values import Clocks
from outlast.features.gateway.seams import Json
from outlast.features.gateway.serving.anomalies import unsound_whole
from outlast.features.gateway.serving.fleet import Server
from outlast.features.gateway.upstream.clock import Clock
from outlast.features.gateway.upstream.faults import Fault, FaultKind

POLL: Final = 0.2
"""Seconds between two looks which probes are due. Guess: it adds that to the pause."""
_MOST: Final = 1024 * 1024
_PATIENCE: Final = 30.0


def question(kind: str, model: str) -> Json:
    """The shortest request of a kind."""
    if kind == "embeddings":
        return {"model": model, "input": "a"}
    if kind == "completions":
        return {"model": model, "prompt": "a", "max_tokens": 1}
    return {"model": model, "messages": [{"role": "user", "content": "a"}], "max_tokens": 1}


async def probe(server: Server, kind: str = "chat") -> Json:
    """The answer to the shortest question. Raises :class:`Fault`."""
    clock = Clock(bool, _PATIENCE)
    body = None
    try:
        body = await server.backend.ask(
            kind, question(kind, server.target.model), clock, Clocks().connect
        )
        data = await body.whole(_MOST)
    finally:
        clock.stop()
        if body is not None:
            body.close()
    try:
        answer: Any = msgspec.json.decode(data)
    except (msgspec.DecodeError, ValueError, RecursionError):
        raise Fault(FaultKind.MALFORMED, "the answer is no JSON") from None
    if not isinstance(answer, dict):
        raise Fault(FaultKind.MALFORMED, "the answer is no object")
    fault = unsound_whole(kind, answer)
    # One token may be a thought, or nothing: that the answer ends by its length is as asked.
    if fault is not None and "length" not in str(fault):
        raise fault
    return answer


class Prober:
    """Probes the servers of a fleet whose breakers are open, when they are due."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def look(self, servers: Iterable[Server]) -> None:
        """Begins the probes that are due."""
        for server in servers:
            if server.standing.is_due:
                server.standing.probing = True
                task = asyncio.create_task(_probed(server))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Ends those that are under way."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


async def _probed(server: Server) -> None:
    try:
        await probe(server, server.standing.kind)
    except Fault as fault:
        server.standing.failed(fault)
    else:
        server.standing.probed()
    finally:
        server.standing.probing = False
