"""An answer in the forms of OpenAI's chat and completions and of Anthropic's messages: whole, and
as the events of a stream.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from tests.providersim.ask import Say

Json = dict[str, Any]


@dataclass(frozen=True)
class Event:
    """Bytes of a stream. `token`: it carries text or a part of a call; `finish`: the reason."""

    data: bytes
    token: bool = False
    finish: bool = False


@dataclass(frozen=True)
class Form:
    """How one answer is told: the model's name, the request's wishes, and what faults change."""

    ident: str
    model: str
    usage: Json
    finish: str | None
    asked: Json
    later: tuple[int, str] | None = None

    def at(self, token: int) -> "Form":
        """The form of a token: from some token on the model may have another name."""
        if self.later is None or token < self.later[0]:
            return self
        return replace(self, model=self.later[1])

    def head(self, kind: str) -> Json:
        return {"id": self.ident, "object": kind, "created": 1, "model": self.model}


def data(document: Any, event: str = "") -> bytes:
    """An event of a stream."""
    name = f"event: {event}\n".encode() if event else b""
    return name + b"data: " + json.dumps(document, ensure_ascii=False).encode() + b"\n\n"


def _logprobs(token: str) -> Json:
    said = {"token": token, "logprob": -0.5, "bytes": list(token.encode()), "top_logprobs": []}
    return {"content": [said], "refusal": None}


def _written(say: Say) -> list[Json]:
    return [
        {
            "id": f"call_{number}",
            "type": "function",
            "function": {"name": name, "arguments": "".join(parts)},
        }
        for number, (name, parts) in enumerate(say.calls)
    ]


def chat_whole(form: Form, say: Say) -> Json:
    message: Json = {"role": "assistant", "content": say.text if not say.calls else None}
    if say.calls:
        message["tool_calls"] = _written(say)
    if say.thoughts:
        message["reasoning_content"] = "".join(say.thoughts)
    probs = None
    if form.asked.get("logprobs"):
        probs = {"content": [_logprobs(one)["content"][0] for one in say.tokens], "refusal": None}
    choices = [
        {"index": index, "message": message, "logprobs": probs, "finish_reason": form.finish}
        for index in range(form.asked.get("n") or 1)
    ]
    return form.head("chat.completion") | {"choices": choices, "usage": form.usage}


def chat_events(form: Form, say: Say) -> Iterator[Event]:
    """Each event is made when it is taken."""
    count = form.asked.get("n") or 1

    def event(delta: Json, *, form: Form = form, finish: Any = None, **more: Any) -> bytes:
        return b"".join(
            data(
                form.head("chat.completion.chunk")
                | {"choices": [{"index": i, "delta": delta, **more, "finish_reason": finish}]}
            )
            for i in range(count)
        )

    yield Event(event({"role": "assistant", "content": "" if not say.calls else None}))
    for thought in say.thoughts:
        yield Event(event({"reasoning_content": thought}))
    for number, token in enumerate(say.tokens):
        more = {"logprobs": _logprobs(token)} if form.asked.get("logprobs") else {}
        yield Event(event({"content": token}, form=form.at(number), **more), token=True)
    for number, (name, parts) in enumerate(say.calls):
        begun = {"id": f"call_{number}", "type": "function"}
        call: Json = {"index": number, **begun, "function": {"name": name, "arguments": ""}}
        yield Event(event({"tool_calls": [call]}))
        for part in parts:
            call = {"index": number, "function": {"arguments": part}}
            yield Event(event({"tool_calls": [call]}), token=True)
    yield Event(event({}, finish=form.finish), finish=True)
    if (form.asked.get("stream_options") or {}).get("include_usage"):
        head = form.head("chat.completion.chunk")
        yield Event(data(head | {"choices": [], "usage": form.usage}))
    yield Event(b"data: [DONE]\n\n")


def completion_whole(form: Form, say: Say) -> Json:
    choice = {"index": 0, "text": say.text, "logprobs": None, "finish_reason": form.finish}
    return form.head("text_completion") | {"choices": [choice], "usage": form.usage}


def completion_events(form: Form, say: Say) -> Iterator[Event]:
    def event(form: Form, text: str, finish: Any) -> bytes:
        choice = {"index": 0, "text": text, "logprobs": None, "finish_reason": finish}
        return data(form.head("text_completion") | {"choices": [choice]})

    for number, token in enumerate(say.tokens):
        yield Event(event(form.at(number), token, None), token=True)
    yield Event(event(form, "", form.finish), finish=True)
    if (form.asked.get("stream_options") or {}).get("include_usage"):
        yield Event(data(form.head("text_completion") | {"choices": [], "usage": form.usage}))
    yield Event(b"data: [DONE]\n\n")


_STOPS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}


def _stop(form: Form) -> str | None:
    return None if form.finish is None else _STOPS.get(form.finish, form.finish)


def _anthropic_usage(form: Form) -> Json:
    prompt, said = form.usage.get("prompt_tokens"), form.usage.get("completion_tokens")
    return {"input_tokens": prompt, "output_tokens": said}


def _blocks(say: Say) -> list[tuple[Json, str, str, list[str]]]:
    """(the block as it starts, its field, the type of its deltas, its pieces)."""
    found: list[tuple[Json, str, str, list[str]]] = []
    empty: Json
    if say.thoughts:
        empty = {"type": "thinking", "thinking": "", "signature": "sig"}
        found.append((empty, "thinking", "thinking_delta", say.thoughts))
    if say.tokens or not say.calls:
        found.append(({"type": "text", "text": ""}, "text", "text_delta", say.tokens))
    for number, (name, parts) in enumerate(say.calls):
        empty = {"type": "tool_use", "id": f"toolu_{number}", "name": name, "input": {}}
        found.append((empty, "partial_json", "input_json_delta", parts))
    return found


def messages_whole(form: Form, say: Say) -> Json:
    content = []
    for block, name, _, parts in _blocks(say):
        if block["type"] == "tool_use":
            content.append(block | {"input": json.loads("".join(parts))})
        else:
            content.append(block | {name: "".join(parts)})
    return {
        "id": form.ident,
        "type": "message",
        "role": "assistant",
        "model": form.model,
        "content": content,
        "stop_reason": _stop(form),
        "stop_sequence": None,
        "usage": _anthropic_usage(form),
    }


def messages_events(form: Form, say: Say) -> Iterator[Event]:
    def event(kind: str, **fields: Any) -> bytes:
        return data({"type": kind, **fields}, kind)

    begun = messages_whole(form, say) | {"content": [], "stop_reason": None}
    begun["usage"] = _anthropic_usage(form) | {"output_tokens": 1}
    yield Event(event("message_start", message=begun))
    yield Event(event("ping"))
    for index, (block, name, kind, parts) in enumerate(_blocks(say)):
        yield Event(event("content_block_start", index=index, content_block=block))
        for part in parts:
            delta: Json = {"type": kind, name: part}
            counts = block["type"] != "thinking"
            yield Event(event("content_block_delta", index=index, delta=delta), token=counts)
        yield Event(event("content_block_stop", index=index))
    delta = {"stop_reason": _stop(form), "stop_sequence": None}
    usage = _anthropic_usage(form)
    yield Event(event("message_delta", delta=delta, usage=usage), finish=True)
    yield Event(event("message_stop"))


def error(path: str, status: int, message: str) -> Json:
    """A usual error, in the words of the API at `path`."""
    if "messages" in path:
        kinds = {401: "authentication_error", 403: "permission_error", 404: "not_found_error"}
        kinds |= {400: "invalid_request_error", 429: "rate_limit_error", 529: "overloaded_error"}
        kind = kinds.get(status, "api_error")
        return {"type": "error", "error": {"type": kind, "message": message}}
    codes = {401: "invalid_api_key", 404: "model_not_found", 429: "rate_limit_exceeded"}
    kind = "server_error" if status >= 500 else "invalid_request_error"
    code = codes.get(status)
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}
