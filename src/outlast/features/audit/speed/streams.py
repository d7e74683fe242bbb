"""One streamed answer, with the time at which each chunk of its text came."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from time import monotonic
from typing import Any, Final

from outlast.core.errors import MalformedError, TransientError
from outlast.sources.http import HttpClient, Response

_LINE: Final = 1 << 20
"""Bytes of one line of a stream. Guess: a token with 20 likeliest ones takes 2 KB."""
_WHOLE: Final = 64 << 20
"""Bytes of a stream."""
_AT_ONCE: Final = 64 << 10
_REFUSED: Final = 4096


@dataclass(frozen=True, slots=True)
class StreamedAnswer:
    """Seconds from the request to each chunk that had text, in order, and to the end. `tokens`: as
    the endpoint bills them, None where it does not tell. `failure` says why it is not whole; empty
    for a whole one.
    """

    chunks: tuple[float, ...] = ()
    ended: float = 0.0
    tokens: int | None = None
    prompt: int | None = None
    failure: str = ""


@dataclass(frozen=True, slots=True)
class StreamingEndpoint:
    """A model of an endpoint. `url` is that up to ``/v1``. Thread-safe. An answer may take
    `seconds`.
    """

    http: HttpClient
    url: str
    model: str
    key: str | None
    seconds: float = 300.0

    def ask(self, question: str, tokens: int) -> StreamedAnswer:
        """The answer to a question, of at most so many tokens. A failure is an answer, too: how
        often requests are refused belongs to the figures. Raises
        :class:`~outlast.core.errors.Cancelled`.
        """
        answer = self._asked(question, tokens, {"stream_options": {"include_usage": True}})
        # Some servers refuse what they do not know.
        return self._asked(question, tokens, {}) if answer.failure == "HTTP 400" else answer

    def _asked(self, question: str, tokens: int, more: dict[str, Any]) -> StreamedAnswer:
        body = {
            "model": self.model,
            "messages": [{"role": "user", "content": question}],
            "max_tokens": tokens,
            "temperature": 1,
            "stream": True,
            **more,
        }
        url = f"{self.url}/chat/completions"
        began = monotonic()
        data = json.dumps(body).encode()
        try:
            with self.http.ask(url, body=data, token=self.key, timeout=self.seconds) as response:
                if response.status != 200:
                    return StreamedAnswer(failure=f"HTTP {response.status}")
                return read_stream(response, began, began + self.seconds)
        except TransientError:
            return StreamedAnswer(failure="cut or silent")
        except MalformedError:
            return StreamedAnswer(failure="no stream of chat completions")


def read_stream(response: Response, began: float, until: float) -> StreamedAnswer:
    """The answer in a stream of events, which was asked for at `began` and has to end by `until`
    (monotonic seconds). Raises :class:`MalformedError`, and a transient error where it is cut.
    """
    chunks: list[float] = []
    billed: list[int | None] = [None, None]
    whole = False
    for at, said in _events(response, until):
        if said == b"[DONE]":
            whole = True
            break
        try:
            document = json.loads(said)
            usage, choices = document.get("usage"), document.get("choices") or []
            text = "".join(_text(one) for one in choices)
            whole |= any(one.get("finish_reason") for one in choices)
        except (ValueError, AttributeError, TypeError, RecursionError):
            raise MalformedError("a stream has an event that is none") from None
        if text:
            chunks.append(at - began)
        if isinstance(usage, dict):
            billed = [_count(usage.get(key)) for key in ("prompt_tokens", "completion_tokens")]
    ended = monotonic() - began
    failure = "" if whole and chunks else "cut or silent"
    return StreamedAnswer(tuple(chunks), ended, billed[1], billed[0], failure)


def _text(choice: dict[str, Any]) -> str:
    """What a choice says, as text or as the arguments of a tool."""
    delta = choice.get("delta") or {}
    found = delta.get("content") or delta.get("reasoning_content") or ""
    return found if isinstance(found, str) else ""


def _count(said: object) -> int | None:
    good = isinstance(said, int) and not isinstance(said, bool) and 0 <= said < 2**31
    return said if good else None  # type: ignore[return-value]


def _events(response: Response, until: float) -> Iterator[tuple[float, bytes]]:
    """The data of each event, and when it came."""
    buffer, line, total = memoryview(bytearray(_AT_ONCE)), b"", 0
    while count := response.readinto(buffer):
        now = monotonic()
        total += count
        if total > _WHOLE or now > until:
            raise MalformedError("a stream does not end")
        *lines, line = (line + bytes(buffer[:count])).split(b"\n")
        if len(line) > _LINE:
            raise MalformedError("a stream has a line that is too long")
        for one in lines:
            if one.startswith(b"data:"):
                yield now, one[5:].strip()
