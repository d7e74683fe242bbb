"""Has the engine render a request with the model's chat template before it answers it.

A template is a program by the publisher of the model, and the engine bounds neither its time nor
what it writes. One that does not end would hold a thread of the engine for ever, so the engine is
ended.
"""

import asyncio
from collections.abc import Mapping
from typing import Any, Final, Protocol

import aiohttp

from outlast.core.errors import EngineError
from outlast.server.model.requests import CHAT, MESSAGES, RESPONSES
from outlast.server.model.words import RequestError

_RENDER: Final = "/apply-template"
_COUNT: Final = "/v1/messages/count_tokens"
_HINT: Final = "the model's chat template may be damaged or hostile"


class BoundedEngine(Protocol):
    """An engine with bounds on chat templates, which can be ended for good."""

    @property
    def template_seconds(self) -> float: ...

    @property
    def template_bytes(self) -> int: ...

    def condemn(self, error: EngineError) -> None:
        """Ends the engine because of `error`."""


class TemplateLimits:
    """Renders requests within the bounds of `engine`."""

    def __init__(self, engine: BoundedEngine) -> None:
        self._engine = engine

    async def run(self, session: aiohttp.ClientSession, kind: str, body: Mapping[str, Any]) -> None:
        """Raises :class:`EngineError` for a template that does not end, :class:`RequestError` for
        one that writes too much. What the engine refuses, the request itself will say.
        """
        path, asked = _question(kind, body)
        if path is None:
            return
        seconds = self._engine.template_seconds
        try:
            async with (
                asyncio.timeout(seconds),
                session.post(f"http://engine{path}", json=asked) as answer,
            ):
                await self._measure(answer)
        except TimeoutError:
            error = EngineError(
                f"the chat template did not finish in {seconds:.0f} seconds", hint=_HINT
            )
            await asyncio.to_thread(self._engine.condemn, error)
            raise error from None

    async def _measure(self, answer: aiohttp.ClientResponse) -> None:
        size = 0
        async for chunk in answer.content.iter_any():
            size += len(chunk)
            if size > self._engine.template_bytes:
                most = self._engine.template_bytes >> 20
                raise RequestError(400, f"the chat template wrote more than {most} MiB: {_HINT}")


def _question(kind: str, body: Mapping[str, Any]) -> tuple[str | None, Mapping[str, Any]]:
    """Where the engine renders a request of this kind without answering it, and what it is asked
    there.
    """
    if kind == CHAT:
        return _RENDER, body
    if kind == MESSAGES:
        return _COUNT, body
    if kind == RESPONSES:
        return _RENDER, {"messages": _turns(body)}
    return None, body


def _turns(body: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The texts of a request to `/v1/responses` as messages. What is no text is left out: what the
    template is tried with need not be all that it gets.
    """
    found = []
    if isinstance(body.get("instructions"), str):
        found.append({"role": "system", "content": body["instructions"]})
    said = body.get("input")
    if isinstance(said, str):
        found.append({"role": "user", "content": said})
    items = said if isinstance(said, list) else []
    found += [
        {"role": item["role"], "content": _text(item.get("content"))}
        for item in items
        if isinstance(item, Mapping) and isinstance(item.get("role"), str)
    ]
    return found


def _text(content: object) -> str:
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    texts = [part.get("text") for part in parts if isinstance(part, Mapping)]
    return "\n".join(text for text in texts if isinstance(text, str))
