"""Anthropic's messages in front of chat."""

import re
from typing import Any, Final

import msgspec

from outlast.features.gateway.dialects.asked import DialectAsked, Kind
from outlast.features.gateway.dialects.blocks import AnswerBlock, BlockWriter, blocks_of
from outlast.features.gateway.dialects.chat import named_event
from outlast.features.gateway.dialects.fields import read_flag, read_object
from outlast.features.gateway.dialects.messages_request import to_chat
from outlast.features.gateway.seams import BrokenStream, Json

_encode: Final = msgspec.json.Encoder().encode
_STOPS: Final = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "function_call": "tool_use",
    "content_filter": "refusal",
}
_ERRORS: Final = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
    529: "overloaded_error",
}
_PIECES: Final = {
    "thinking": ("thinking_delta", "thinking"),
    "text": ("text_delta", "text"),
    "refusal": ("text_delta", "text"),
    "call": ("input_json_delta", "partial_json"),
}
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9_-]")


class MessagesDialect:
    """Messages: what Anthropic's clients and Claude Code speak."""

    kind: Kind = "chat"

    def understand(self, body: bytes) -> DialectAsked:
        """Raises :class:`RequestRefused`."""
        asked = read_object(body)
        chat, dropped = to_chat(asked)
        return DialectAsked("chat", chat["model"], read_flag(asked, "stream"), chat, {}, dropped)

    def whole(self, asked: DialectAsked, answer: Json) -> Json:
        """OpenAI's whole answer as a message. Raises :class:`BrokenStream` where the arguments of
        a call are no JSON object: the message could not carry them.
        """
        choice = (answer.get("choices") or [{}])[0]
        blocks = blocks_of(choice.get("message") or {}, choice.get("logprobs"))
        stop = choice.get("stop_reason")
        message = _message(answer, asked.model) | {
            "content": [_content(block) for block in blocks],
            "stop_reason": _stop(choice.get("finish_reason"), blocks, stop),
            "stop_sequence": stop if isinstance(stop, str) else None,
            "usage": anthropic_usage(answer.get("usage")),
        }
        return message | {key: answer[key] for key in ("outlast",) if key in answer}

    def events(self, asked: DialectAsked) -> "MessagesWriter":
        """Writes the events of a streamed answer."""
        return MessagesWriter(asked.model)

    def refusal(
        self,
        status: int,
        kind: str,  # noqa: ARG002 - Anthropic's types follow the status
        message: str,
        param: str | None = None,  # noqa: ARG002 - it has no place in Anthropic's
    ) -> Json:
        """The document of an error."""
        return {"type": "error", "error": {"type": _error_type(status), "message": message}}


class MessagesWriter(BlockWriter):
    """Events in Anthropic's order: ``message_start``; ``content_block_start``, its deltas and
    ``content_block_stop`` for each block; ``message_delta`` with the usage; ``message_stop``.
    """

    def __init__(self, model: str) -> None:
        super().__init__()
        self._model = model

    def written_start(self, chunk: Json) -> bytes:
        return named_event({"type": "message_start", "message": _message(chunk, self._model)})

    def written_open(self, block: AnswerBlock) -> bytes:
        empty: Json = {"type": "text", "text": ""}
        if block.kind == "thinking":
            empty = {"type": "thinking", "thinking": "", "signature": ""}
        elif block.kind == "call":
            empty = {"type": "tool_use", "id": block.call, "name": block.name, "input": {}}
        start = {"type": "content_block_start", "index": block.index, "content_block": empty}
        return named_event(start)

    def written_piece(self, block: AnswerBlock, text: str, logprobs: list[Json]) -> bytes:  # noqa: ARG002
        kind, key = _PIECES[block.kind]
        delta = {"type": kind, key: text}
        document = {"type": "content_block_delta", "index": block.index, "delta": delta}
        return b"event: content_block_delta\ndata: " + _encode(document) + b"\n\n"

    def written_close(self, block: AnswerBlock) -> bytes:
        return named_event({"type": "content_block_stop", "index": block.index})

    def written_end(self, note: Json | None) -> bytes:
        delta = {
            "stop_reason": _stop(self.finish, self.blocks, self.stopped_by),
            "stop_sequence": self.stopped_by,
        }
        last = {"type": "message_delta", "delta": delta, "usage": anthropic_usage(self.usage)}
        if note is not None:
            last["outlast"] = note
        return named_event(last) + named_event({"type": "message_stop"})

    def written_error(self, status: int, message: str) -> bytes:
        error = {"type": _error_type(status), "message": message}
        return named_event({"type": "error", "error": error})


def anthropic_usage(usage: Json | None) -> Json:
    """OpenAI's counts of tokens as Anthropic's: those from a cache are counted apart."""
    usage = usage or {}
    prompt, said = usage.get("prompt_tokens") or 0, usage.get("completion_tokens") or 0
    cached = min((usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0, prompt)
    found = {"input_tokens": prompt - cached, "output_tokens": said}
    return found | ({"cache_read_input_tokens": cached} if cached else {})


def _message(chunk: Json, model: str) -> Json:
    """A message that has no content yet."""
    ident = _UNSAFE.sub("_", str(chunk.get("id") or "answer"))[:128]
    return {
        "id": f"msg_{ident}",
        "type": "message",
        "role": "assistant",
        "model": chunk.get("model") or model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": 0, "output_tokens": 0},
    }


def _content(block: AnswerBlock) -> Json:
    if block.kind == "thinking":
        return {"type": "thinking", "thinking": block.text, "signature": ""}
    if block.kind != "call":
        return {"type": "text", "text": block.text}
    return {
        "type": "tool_use",
        "id": block.call,
        "name": block.name,
        "input": _arguments(block.text),
    }


def _arguments(text: str) -> Any:
    try:
        found = msgspec.json.decode(text)
    except (msgspec.MsgspecError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise BrokenStream("the arguments of a tool call are no JSON object")
    return found


def _stop(finish: str | None, blocks: list[AnswerBlock], stopped_by: object) -> str:
    if finish == "stop" and isinstance(stopped_by, str):
        return "stop_sequence"
    if finish in (None, "stop") and any(block.kind == "call" for block in blocks):
        return "tool_use"  # some engines say "stop" after a call that was enforced
    return _STOPS.get(finish or "stop", "end_turn")


def _error_type(status: int) -> str:
    if status in _ERRORS:
        return _ERRORS[status]
    return "invalid_request_error" if 400 <= status < 500 else "api_error"
