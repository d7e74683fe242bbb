"""Streams of chunks that tests turn into events. The files in `golden` are
written anew by `python -m tests.features.gateway.dialects.streams`.
"""

import json
from pathlib import Path
from typing import Any

from outlast.features.gateway.dialects import DIALECTS
from outlast.features.gateway.dialects.asked import DialectAsked
from outlast.features.gateway.seams import Json

HEAD = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 7, "model": "m"}
NOTE = {"target": "archive:org/name", "substituted": True}


def _chunk(delta: Json, finish: str | None = None, **more: Any) -> Json:
    return {**HEAD, "choices": [{"index": 0, "delta": delta, "finish_reason": finish, **more}]}


def _call(index: int, ident: str | None = None, **function: str) -> Json:
    call: Json = {"index": index, "function": function}
    return _chunk({"tool_calls": [call | ({"id": ident, "type": "function"} if ident else {})]})


_USAGE = {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13}
_USED = {**HEAD, "choices": [], "usage": _USAGE}
_START = _chunk({"role": "assistant", "content": ""})
CHUNKS: dict[str, list[Json]] = {
    "text": [
        _START,
        _chunk({"content": "é"}),
        _chunk({"content": " b"}),
        _chunk({}, "stop"),
        _USED,
    ],
    "thinking": [
        _START,
        _chunk({"reasoning_content": "hm"}),
        _chunk({"content": "so"}),
        _chunk({}, "length"),
        _USED,
    ],
    "calls": [
        _chunk({"role": "assistant", "content": None}),
        _chunk({"content": "well"}),
        _call(0, "call_a", name="weather", arguments=""),
        _call(0, arguments='{"city":'),
        _call(0, arguments='"x"}'),
        _call(1, "call_b", name="clock", arguments="{}"),
        _chunk({}, "tool_calls"),
        _USED,
    ],
    "stop": [_chunk({"content": "a"}), _chunk({}, "stop", stop_reason="END")],
    "refusal": [_START, _chunk({"refusal": "I will not"}), _chunk({}, "stop"), _USED],
    "empty": [_START, _chunk({}, "stop"), _USED],
}
"""Answers, by what is in them."""

_BODIES: dict[str, Json] = {
    "chat": {"messages": [{"role": "user", "content": "a"}]},
    "messages": {"messages": [{"role": "user", "content": "a"}], "max_tokens": 5},
    "responses": {"input": "a"},
}
PATHS = {"chat": "/v1/chat/completions", "messages": "/v1/messages", "responses": "/v1/responses"}


def asked_of(name: str, **more: Any) -> DialectAsked:
    """A streamed request of a dialect, as understood."""
    body = {"model": "asked", "stream": True, **_BODIES[name], **more}
    return DIALECTS[PATHS[name]].understand(json.dumps(body).encode())


def pieces_of(dialect: Any, asked: DialectAsked) -> bytes:
    """All streams in one text; after each a line that names it. The last one ends in an error."""
    out = b""
    for name, chunks in CHUNKS.items():
        writer = dialect.events(asked)
        out += b"".join(map(writer.feed, chunks)) + writer.end(NOTE) + f"# {name}\n\n".encode()
    writer = dialect.events(asked)
    begun = b"".join(map(writer.feed, CHUNKS["text"][:2]))
    return out + begun + bytes(writer.error(502, "it broke off")) + b"# error\n"


def main() -> None:
    for name, path in PATHS.items():
        file = Path(__file__).parent / "golden" / f"{name}.sse"
        file.write_bytes(pieces_of(DIALECTS[path], asked_of(name)))


if __name__ == "__main__":
    main()
