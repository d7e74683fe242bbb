"""OpenAI's own dialects, passed through: what a caller writes is what a target gets, unknown fields
too, and what it answers is what the caller reads.
"""

from dataclasses import dataclass
from typing import Final

import msgspec

from outlast.features.gateway.seams import BrokenStream, Continuing, Json, RequestRefused

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode
_MOST_LINE: Final = 4 * 1024 * 1024
_MOST_TEXT: Final = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class PlainAsked:
    """A request as it came; `restore`: whether the caller wants the usage in the stream."""

    model: str
    stream: bool
    chat: Json
    restore: bool


class PlainDialect:
    """Chat completions, completions and embeddings."""

    def understand(self, body: bytes) -> PlainAsked:
        try:
            said = _decode(body)
        except (msgspec.DecodeError, ValueError, RecursionError):
            raise _wrong("the request's body is no JSON") from None
        if not isinstance(said, dict):
            raise _wrong("the request's body is not a JSON object")
        model, stream = said.get("model"), said.get("stream")
        if not isinstance(model, str) or not model:
            raise _wrong("'model' is missing", "model")
        if stream not in (None, True, False):
            raise _wrong("'stream' is neither true nor false", "stream")
        options = said.get("stream_options")
        wants = isinstance(options, dict) and options.get("include_usage") is True
        return PlainAsked(model, stream is True, said, wants)

    def whole(self, asked: PlainAsked, answer: Json) -> Json:
        del asked
        return answer

    def events(self, asked: PlainAsked) -> "PlainEvents":
        return PlainEvents(usage=asked.restore)

    def refusal(self, status: int, kind: str, message: str, param: str | None = None) -> Json:
        del status
        return {"error": {"message": message, "type": kind, "param": param, "code": None}}


def _wrong(message: str, param: str | None = None) -> RequestRefused:
    return RequestRefused(400, "invalid_request_error", message, param)


class PlainEvents:
    """Chunks as events. What ends the text is kept for the end, so that it carries the note."""

    def __init__(self, *, usage: bool) -> None:
        self._usage = usage
        self._last: Json | None = None
        self._used: Json | None = None

    def feed(self, chunk: Json) -> bytes:
        choices = chunk.get("choices")
        if not choices:
            if "usage" in chunk:
                self._used = chunk
            return b""
        if not self._usage:
            chunk.pop("usage", None)
        if self._last is None and choices[0].get("finish_reason") is not None:
            self._last = chunk
            return b""
        return b"data: " + _encode(chunk) + b"\n\n"

    def end(self, note: Json | None) -> bytes:
        found = b""
        if self._last is not None:
            last = self._last if note is None else {**self._last, "outlast": note}
            found += b"data: " + _encode(last) + b"\n\n"
        if self._usage and self._used is not None:
            found += b"data: " + _encode(self._used) + b"\n\n"
        return found + b"data: [DONE]\n\n"

    def error(self, status: int, message: str) -> bytes:
        said = {"message": message, "type": "server_error", "param": None, "code": status}
        return b"data: " + _encode({"error": said}) + b"\n\n"


class PlainJudge:
    """Reads OpenAI's chunks out of a stream of events, and whether they make a whole answer."""

    def __init__(self) -> None:
        self._buffer = b""
        self._parts: list[str] = []
        self._size = 0
        self.finish: str | None = None
        self.usage: Json | None = None
        self.tool_call_begun = False
        self.done = False

    @property
    def text(self) -> str:
        return "".join(self._parts)

    def feed(self, data: bytes) -> list[Json]:
        self._buffer += data
        if len(self._buffer) > _MOST_LINE:
            raise BrokenStream("a line without end")
        *lines, self._buffer = self._buffer.replace(b"\r\n", b"\n").split(b"\n")
        found: list[Json] = []
        for line in lines:
            if line.startswith(b"data:"):
                self._event(line[5:].strip(), found)
        return found

    def _event(self, data: bytes, found: list[Json]) -> None:
        if self.done:
            raise BrokenStream("an event after the end")
        if data == b"[DONE]":
            self.done = True
            return
        try:
            chunk = _decode(data)
        except (msgspec.DecodeError, ValueError, RecursionError):
            raise BrokenStream("an event is no JSON") from None
        if not isinstance(chunk, dict):
            raise BrokenStream("an event is no object")
        self._look(chunk)
        found.append(chunk)

    def _look(self, chunk: Json) -> None:
        if isinstance(chunk.get("usage"), dict):
            self.usage = chunk["usage"]
        choices = chunk.get("choices", [])
        if not isinstance(choices, list) or not all(isinstance(c, dict) for c in choices):
            raise BrokenStream("the choices of a chunk are no list of objects")
        for choice in choices:
            delta = choice.get("delta")
            delta = delta if isinstance(delta, dict) else {}
            text = delta.get("content", choice.get("text"))
            if isinstance(text, str) and choice.get("index", 0) == 0:
                self._parts.append(text)
                self._size += len(text)
            if delta.get("tool_calls") or delta.get("function_call"):
                self.tool_call_begun = True
            if isinstance(choice.get("finish_reason"), str):
                self.finish = choice["finish_reason"]
        if self._size > _MOST_TEXT:
            raise BrokenStream("the answer is too long")

    def may_continue(self, asked: Json) -> str | None:
        if self.tool_call_begun:
            return "a tool call had begun"
        form = asked.get("response_format")
        if isinstance(form, dict) and form.get("type") in {"json_schema", "json_object"}:
            return "an answer by a schema was half-written"
        if asked.get("n") not in (None, 1):
            return "several answers were asked for"
        return "log probabilities were asked for" if asked.get("logprobs") else None


def plain_continued(body: Json, text: str, how: Continuing) -> Json:
    """The request that goes on from `text`."""
    messages = [*body.get("messages", ()), {"role": "assistant", "content": text}]
    found = {**body, "messages": messages}
    if how == "continue_final_message":
        found |= {"continue_final_message": True, "add_generation_prompt": False}
    return found
