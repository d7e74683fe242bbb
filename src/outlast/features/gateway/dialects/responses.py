"""OpenAI's responses in front of chat."""

import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from outlast.features.gateway.dialects.asked import DialectAsked, Kind
from outlast.features.gateway.dialects.blocks import AnswerBlock, BlockWriter, blocks_of
from outlast.features.gateway.dialects.chat import named_event, openai_error, openai_kind
from outlast.features.gateway.dialects.fields import read_flag, read_object
from outlast.features.gateway.dialects.responses_request import to_chat
from outlast.features.gateway.seams import Json

_UNSAFE: Final = re.compile(r"[^A-Za-z0-9_-]")
_INCOMPLETE: Final = {"length": "max_output_tokens", "content_filter": "content_filter"}
_ECHOED: Final[Mapping[str, Any]] = {
    "instructions": None,
    "max_output_tokens": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "reasoning": {"effort": None, "summary": None},
    "temperature": None,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "top_p": None,
    "user": None,
}
"""Fields of a request that its answer repeats, and what they are where it has none."""
_PREFIXES: Final = {"thinking": "rs", "text": "msg", "refusal": "msg", "call": "fc"}


class ResponsesDialect:
    """Responses: what OpenAI's newer clients and Codex speak. Answers are not kept."""

    kind: Kind = "chat"

    def understand(self, body: bytes) -> DialectAsked:
        """Raises :class:`RequestRefused`."""
        asked = read_object(body)
        chat, dropped, custom = to_chat(asked)
        echo = {
            key: default if asked.get(key) is None else asked[key]
            for key, default in _ECHOED.items()
        }
        restore = {"echo": echo, "custom": custom}
        return DialectAsked(
            "chat", chat["model"], read_flag(asked, "stream"), chat, restore, dropped
        )

    def whole(self, asked: DialectAsked, answer: Json) -> Json:
        """OpenAI's whole chat answer as a response."""
        choice = (answer.get("choices") or [{}])[0]
        blocks = blocks_of(choice.get("message") or {}, choice.get("logprobs"))
        shape = _ResponseShape(asked, answer)
        found = shape.document(choice.get("finish_reason"), blocks, answer.get("usage"))
        return found | {key: answer[key] for key in ("outlast",) if key in answer}

    def events(self, asked: DialectAsked) -> "ResponsesWriter":
        """Writes the events of a streamed answer."""
        return ResponsesWriter(asked)

    def refusal(self, status: int, kind: str, message: str, param: str | None = None) -> Json:
        """The document of an error; `kind` may be empty: the status then says it."""
        return openai_error(status, kind or openai_kind(status), message, param)


class _ResponseShape:
    """The documents of one response. `chunk` is the answer of chat, or the first chunk of it."""

    def __init__(self, asked: DialectAsked, chunk: Json) -> None:
        self.ident = _UNSAFE.sub("_", str(chunk.get("id") or "answer"))[:128]
        self._model = chunk.get("model") or asked.model
        self._created = chunk.get("created") or 0
        self._echo = asked.restore["echo"]
        self.custom: frozenset[str] = asked.restore["custom"]

    def begun(self, status: str = "in_progress") -> Json:
        return {
            "id": f"resp_{self.ident}",
            "object": "response",
            "created_at": self._created,
            "status": status,
            "background": False,
            "error": None,
            "incomplete_details": None,
            "model": self._model,
            "output": [],
            "previous_response_id": None,
            "store": False,
            "truncation": "disabled",
            "usage": None,
            **self._echo,
        }

    def document(self, finish: str | None, blocks: list[AnswerBlock], usage: Json | None) -> Json:
        reason = _INCOMPLETE.get(finish or "")
        found = self.begun("incomplete" if reason else "completed")
        found["incomplete_details"] = {"reason": reason} if reason else None
        cut = blocks[-1:] if reason else []
        found["output"] = [
            self.item(block, "incomplete" if block in cut else "completed") for block in blocks
        ]
        found["usage"] = _usage(usage)
        return found

    def item(self, block: AnswerBlock, status: str) -> Json:
        """An item of the output; one that is in progress has no content yet."""
        begun = status == "in_progress"
        item: Json = {"id": self.item_id(block), "type": "message", "status": status}
        if block.kind == "thinking":
            content = [] if begun else [part(block)]
            return item | {"type": "reasoning", "summary": [], "content": content}
        if block.kind == "call":
            text = "" if begun else block.text
            named = {"call_id": block.call, "name": block.name}
            if block.name in self.custom:
                return item | named | {"type": "custom_tool_call", "input": custom_input(text)}
            return item | named | {"type": "function_call", "arguments": text}
        return item | {"role": "assistant", "content": [] if begun else [part(block)]}

    def item_id(self, block: AnswerBlock) -> str:
        return f"{_PREFIXES[block.kind]}_{self.ident}_{block.index}"


class ResponsesWriter(BlockWriter):
    """Events in the order of OpenAI's: ``response.created``, ``response.in_progress``; for each
    item ``response.output_item.added``, its parts and deltas, ``response.output_item.done``; and
    ``response.completed`` or ``response.incomplete``.
    """

    def __init__(self, asked: DialectAsked) -> None:
        super().__init__()
        self._asked = asked
        self._shape = _ResponseShape(asked, {})
        self._number = -1

    def _event(self, kind: str, **fields: Any) -> bytes:
        self._number += 1
        return named_event({"type": kind, "sequence_number": self._number, **fields})

    def _place(self, block: AnswerBlock) -> Json:
        return {"item_id": self._shape.item_id(block), "output_index": block.index}

    def written_start(self, chunk: Json) -> bytes:
        self._shape = _ResponseShape(self._asked, chunk)
        begun = self._shape.begun()
        return self._event("response.created", response=begun) + self._event(
            "response.in_progress", response=begun
        )

    def written_open(self, block: AnswerBlock) -> bytes:
        item = self._shape.item(block, "in_progress")
        out = self._event("response.output_item.added", output_index=block.index, item=item)
        if block.kind == "call":
            return out
        empty = AnswerBlock(block.kind, block.index)
        place = self._place(block)
        return out + self._event(
            "response.content_part.added", content_index=0, part=part(empty), **place
        )

    def written_piece(self, block: AnswerBlock, text: str, logprobs: list[Json]) -> bytes:
        place = self._place(block)
        if block.kind == "call":
            if block.name in self._shape.custom:
                return b""  # the text is known once its JSON is whole
            return self._event("response.function_call_arguments.delta", delta=text, **place)
        place["content_index"] = 0
        if block.kind == "thinking":
            return self._event("response.reasoning_text.delta", delta=text, **place)
        if block.kind == "refusal":
            return self._event("response.refusal.delta", delta=text, **place)
        said = [_logprob(one) for one in logprobs]
        return self._event("response.output_text.delta", delta=text, logprobs=said, **place)

    def written_close(self, block: AnswerBlock) -> bytes:
        item = self._shape.item(block, self._status())
        out = self._closed_part(block, self._place(block), item)
        return out + self._event("response.output_item.done", output_index=block.index, item=item)

    def _status(self) -> str:
        return "incomplete" if self.finish in _INCOMPLETE else "completed"

    def _closed_part(self, block: AnswerBlock, place: Json, item: Json) -> bytes:
        text = block.text
        if block.kind == "call":
            if block.name in self._shape.custom:
                said = item["input"]
                return self._event(
                    "response.custom_tool_call_input.delta", delta=said, **place
                ) + self._event("response.custom_tool_call_input.done", input=said, **place)
            named = {"name": block.name, "arguments": text}
            return self._event("response.function_call_arguments.done", **named, **place)
        place = {**place, "content_index": 0}
        if block.kind == "thinking":
            out = self._event("response.reasoning_text.done", text=text, **place)
        elif block.kind == "refusal":
            out = self._event("response.refusal.done", refusal=text, **place)
        else:
            said = [_logprob(one) for one in block.logprobs]
            out = self._event("response.output_text.done", text=text, logprobs=said, **place)
        return out + self._event("response.content_part.done", part=part(block), **place)

    def written_end(self, note: Json | None) -> bytes:
        document = self._shape.document(self.finish, self.blocks, self.usage)
        if note is not None:
            document["outlast"] = note
        return self._event(f"response.{document['status']}", response=document)

    def written_error(self, status: int, message: str) -> bytes:
        """Two events: Codex ends at the first, OpenAI's clients raise the second."""
        kind = openai_kind(status)
        failed = self._shape.begun("failed")
        code = "rate_limit_exceeded" if status == 429 else "server_error"
        failed["error"] = {"code": code, "message": message}
        out = self._event("response.failed", response=failed)
        error = openai_error(status, kind, message)["error"]
        return out + self._event("error", code=code, message=message, param=None, error=error)


def part(block: AnswerBlock) -> Json:
    """The one part of an item's content."""
    if block.kind == "thinking":
        return {"type": "reasoning_text", "text": block.text}
    if block.kind == "refusal":
        return {"type": "refusal", "refusal": block.text}
    said = [_logprob(one) for one in block.logprobs]
    return {"type": "output_text", "text": block.text, "annotations": [], "logprobs": said}


def custom_input(arguments: str) -> str:
    """The text for a tool of type ``custom``, of the arguments of the function that stands for it;
    all of them where they are not as asked.
    """
    try:
        found = msgspec.json.decode(arguments)["input"]
    except (msgspec.MsgspecError, RecursionError, KeyError, TypeError):
        return arguments
    return found if isinstance(found, str) else arguments


def _logprob(said: Json) -> Json:
    top = [_logprob(one) for one in said.get("top_logprobs") or ()]
    found = {"token": said.get("token", ""), "logprob": said.get("logprob", 0.0)}
    return found | {"bytes": said.get("bytes") or [], "top_logprobs": top}


def _usage(usage: Json | None) -> Json | None:
    if usage is None:
        return None
    prompt, said = usage.get("prompt_tokens") or 0, usage.get("completion_tokens") or 0
    cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0
    thought = (usage.get("completion_tokens_details") or {}).get("reasoning_tokens") or 0
    return {
        "input_tokens": prompt,
        "input_tokens_details": {"cached_tokens": cached},
        "output_tokens": said,
        "output_tokens_details": {"reasoning_tokens": thought},
        "total_tokens": prompt + said,
    }
