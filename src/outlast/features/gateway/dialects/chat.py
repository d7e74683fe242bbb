"""OpenAI's chat completions, completions and embeddings. Their bodies go to providers as they came,
with fields that are not known here; only a stream is asked to tell its usage.
"""

from typing import Any, Final

import msgspec

from outlast.features.gateway.dialects.asked import DialectAsked, Kind, refused
from outlast.features.gateway.dialects.fields import (
    read_count,
    read_flag,
    read_map,
    read_model,
    read_object,
    read_objects,
    read_text,
)
from outlast.features.gateway.seams import Json

_encode: Final = msgspec.json.Encoder().encode
_CHOICES: Final = 128
_CODES: Final = {
    401: "invalid_api_key",
    404: "model_not_found",
    429: "rate_limit_exceeded",
}


def openai_error(status: int, kind: str, message: str, param: str | None = None) -> Json:
    """An error document as OpenAI's clients read it."""
    code = _CODES.get(status)
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def openai_kind(status: int) -> str:
    """The type of an error, where only its status is known."""
    if status == 429:
        return "rate_limit_error"
    return "invalid_request_error" if status < 500 else "server_error"


class ChatDialect:
    """Chat completions: what everything else is translated to."""

    kind: Kind = "chat"

    def understand(self, body: bytes) -> DialectAsked:
        """Raises :class:`RequestRefused`."""
        asked = read_object(body)
        model, stream = read_model(asked), read_flag(asked, "stream")
        self._check(asked)
        options = read_map(asked, "stream_options")
        told = read_flag(options, "include_usage")
        if stream:
            asked["stream_options"] = {**options, "include_usage": True}
        return DialectAsked(self.kind, model, stream, asked, {"hide_usage": stream and not told})

    def _check(self, asked: Json) -> None:
        turns = read_objects(asked.get("messages"), "messages")
        if not turns:
            raise refused("'messages' is empty", "messages")
        for number, turn in enumerate(turns):
            read_text(turn, "role", f"messages[{number}]")
        _check_choices(asked)

    def whole(self, asked: DialectAsked, answer: Json) -> Json:  # noqa: ARG002 - all dialects
        """The answer as the provider gave it."""
        return answer

    def events(self, asked: DialectAsked) -> "ChatWriter":
        """Writes the events of a streamed answer."""
        return ChatWriter(hide_usage=bool(asked.restore["hide_usage"]))

    def refusal(self, status: int, kind: str, message: str, param: str | None = None) -> Json:
        """The document of an error; `kind` may be empty: the status then says it."""
        return openai_error(status, kind or openai_kind(status), message, param)


class CompletionsDialect(ChatDialect):
    """Completions of a prompt."""

    kind: Kind = "completions"

    def _check(self, asked: Json) -> None:
        if not isinstance(asked.get("prompt"), str | list):
            raise refused("'prompt' is missing, or neither a text nor a list", "prompt")
        _check_choices(asked)


class EmbeddingsDialect(ChatDialect):
    """Embeddings of texts. They do not stream."""

    kind: Kind = "embeddings"

    def _check(self, asked: Json) -> None:
        if not isinstance(asked.get("input"), str | list):
            raise refused("'input' is missing, or neither a text nor a list", "input")
        if read_flag(asked, "stream"):
            raise refused("embeddings are not streamed", "stream")


def _check_choices(asked: Json) -> None:
    count = read_count(asked, "n", least=1)
    if count is not None and count > _CHOICES:
        raise refused(f"'n' is more than {_CHOICES}", "n")


class ChatWriter:
    """Chunks as events. The last chunk is held until the end, because it takes the note of who
    answered: a chunk of its own, without choices, breaks clients that read ``choices[0]``.
    """

    def __init__(self, *, hide_usage: bool) -> None:
        self._hide_usage = hide_usage
        self._held: Json | None = None
        self._head: Json = {}

    def feed(self, chunk: Json) -> bytes:
        """The bytes for one chunk; none where the caller hears nothing of it, or not yet."""
        if self._hide_usage and "usage" in chunk:
            if not chunk.get("choices"):
                return b""
            chunk = {key: value for key, value in chunk.items() if key != "usage"}
        if not self._head:
            self._head = {
                key: chunk[key] for key in ("id", "object", "created", "model") if key in chunk
            }
        before, self._held = self._held, None
        if chunk.get("usage") or _finishes(chunk):
            self._held = chunk
            return b"" if before is None else event(before)
        return event(chunk) if before is None else event(before) + event(chunk)

    def end(self, note: Json | None) -> bytes:
        """The last bytes; `note` is the field ``outlast`` of the last chunk."""
        last, self._held = self._held, None
        if note is not None:
            if last is None:
                last = {**self._head, "choices": [{"index": 0, "delta": {}, "finish_reason": None}]}
            last = {**last, "outlast": note}
        return b"data: [DONE]\n\n" if last is None else event(last) + b"data: [DONE]\n\n"

    def error(self, status: int, message: str) -> bytes:
        """An event that OpenAI's clients raise as an error. Nothing may follow it."""
        held, self._held = self._held, None
        document = openai_error(status, openai_kind(status), message)
        return (b"" if held is None else event(held)) + event(document)


def _finishes(chunk: Json) -> bool:
    return any(choice.get("finish_reason") for choice in chunk.get("choices") or ())


def event(document: Any) -> bytes:
    """An event without a name."""
    data: bytes = _encode(document)
    return b"data: " + data + b"\n\n"


def named_event(document: Json) -> bytes:
    """An event that is named by the type of its document."""
    kind, data = str(document["type"]).encode(), bytes(_encode(document))
    return b"event: " + kind + b"\ndata: " + data + b"\n\n"
