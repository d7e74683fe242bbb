"""Anthropic's messages behind chat: a provider that speaks them is asked, and its answers are read
as chat. The way back of `messages_request` and `messages`.

Of a chat body, system messages move to the top, `max_tokens` becomes 4,096 where none is given, a
temperature above 1 becomes 1, white space at the end of a begun answer is cut, and a JSON schema
goes to `output_config.format`. What is not expressible (several answers, logprobs, JSON without a
schema, parts other than text, images and files) raises :class:`NotExpressibleError`: another target
has to take it. Other fields are left out, and named.
"""

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from outlast.features.gateway.seams import BrokenStream, Json

MAX_TOKENS: Final = 4096
"""Tokens of an answer where the request sets no limit: the messages need one."""
_encode: Final = msgspec.json.Encoder().encode
_SAME: Final = ("model", "stream", "top_p", "top_k")
_READ: Final = frozenset(
    (
        "max_completion_tokens",
        "max_tokens",
        "messages",
        "parallel_tool_calls",
        "reasoning_effort",
        "response_format",
        "stop",
        "stream_options",
        "temperature",
        "tool_choice",
        "tools",
        "user",
        # Of continued answers: an assistant's last turn is always taken as begun.
        "add_generation_prompt",
        "continue_final_message",
    )
)
_NEUTRAL: Final[Json] = {"n": 1, "logprobs": False, "top_logprobs": 0}
_FINISHES: Final = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}
_EFFORTS: Final = ("low", "medium", "high")


class NotExpressibleError(ValueError):
    """A request that cannot be said in messages. One line."""


def to_messages(chat: Json) -> tuple[Json, tuple[str, ...]]:
    """The body for Anthropic's messages, and the names of the fields that were left out. Raises
    :class:`NotExpressibleError`.
    """
    for name, neutral in _NEUTRAL.items():
        if chat.get(name) not in (None, neutral):
            raise NotExpressibleError(f"Anthropic's messages have no {name!r}")
    body = {key: chat[key] for key in _SAME if chat.get(key) is not None}
    system, turns = _turns(chat.get("messages") or [])
    body["messages"] = turns
    body["max_tokens"] = chat.get("max_completion_tokens") or chat.get("max_tokens") or MAX_TOKENS
    if system:
        body["system"] = "\n\n".join(system)
    if chat.get("temperature") is not None:
        body["temperature"] = min(chat["temperature"], 1.0)
    if stop := chat.get("stop"):
        body["stop_sequences"] = [stop] if isinstance(stop, str) else stop
    if chat.get("user") is not None:
        body["metadata"] = {"user_id": chat["user"]}
    _put_tools(chat, body)
    _put_output(chat, body)
    known = _READ | {*_SAME} | {*_NEUTRAL}
    return body, tuple(key for key in chat if key not in known and chat[key] is not None)


def _turns(messages: list[Json]) -> tuple[list[str], list[Json]]:
    """The texts of the system, and the turns; what a tool said joins what the user says next."""
    system: list[str] = []
    turns: list[Json] = []
    for message in messages:
        role = message.get("role")
        if role in ("system", "developer"):
            system += [part["text"] for part in _parts(message.get("content")) if part["text"]]
            continue
        if role == "assistant":
            turns.append({"role": "assistant", "content": _said(message)})
            continue
        blocks = _parts(message.get("content"))
        if role == "tool":
            ident = message.get("tool_call_id")
            blocks = [{"type": "tool_result", "tool_use_id": ident, "content": blocks}]
        if turns and turns[-1]["role"] == "user" and turns[-1]["content"][-1].get("tool_use_id"):
            turns[-1]["content"] += blocks
        else:
            turns.append({"role": "user", "content": blocks})
    if turns and turns[-1]["role"] == "assistant":
        _trim(turns[-1]["content"])
    return system, turns


def _trim(blocks: list[Json]) -> None:
    """Anthropic refuses white space at the end of a text that is to be continued."""
    if blocks and blocks[-1]["type"] == "text":
        blocks[-1]["text"] = blocks[-1]["text"].rstrip()
        if not blocks[-1]["text"]:
            blocks.pop()


def _said(message: Json) -> list[Json]:
    blocks = [part for part in _parts(message.get("content")) if part.get("text") != ""]
    for call in message.get("tool_calls") or ():
        function = call.get("function") or {}
        arguments = _object(function.get("arguments") or "{}")
        if arguments is None:
            raise NotExpressibleError("the arguments of a tool call are no JSON object")
        name = function.get("name")
        blocks.append({"type": "tool_use", "id": call.get("id"), "name": name, "input": arguments})
    return blocks


def _object(text: str) -> Json | None:
    try:
        found = msgspec.json.decode(text)
    except (msgspec.MsgspecError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _parts(content: Any) -> list[Json]:
    if content is None:
        return []
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    if not isinstance(content, list) or not all(isinstance(part, dict) for part in content):
        raise NotExpressibleError("a message's content is neither a text nor a list of parts")
    return [_part(part) for part in content]


def _part(part: Json) -> Json:
    match part.get("type"):
        case "text" if isinstance(part.get("text"), str):
            return {"type": "text", "text": part["text"]}
        case "image_url":
            return {"type": "image", "source": _source((part.get("image_url") or {}).get("url"))}
        case "file" if (file := part.get("file") or {}).get("file_data"):
            document = {"type": "document", "source": _source(file["file_data"])}
            return document | ({"title": file["filename"]} if file.get("filename") else {})
        case other:
            raise NotExpressibleError(f"Anthropic's messages take no part {str(other)[:60]!r}")


def _source(address: Any) -> Json:
    if not isinstance(address, str):
        raise NotExpressibleError("an image or a file without an address")
    if not address.startswith("data:"):
        return {"type": "url", "url": address}
    media, marked, data = address.removeprefix("data:").partition(";base64,")
    if not marked:
        raise NotExpressibleError("a data URL that is not base64")
    return {"type": "base64", "media_type": media, "data": data}


def _put_tools(chat: Json, body: Json) -> None:
    tools = []
    for tool in chat.get("tools") or ():
        function = tool.get("function")
        if not isinstance(function, dict):
            raise NotExpressibleError("a tool that is not a function")
        schema = function.get("parameters") or {"type": "object"}
        found = {"name": function.get("name"), "input_schema": schema}
        found |= {key: function[key] for key in ("description", "strict") if function.get(key)}
        tools.append(found)
    if not tools:
        return
    body["tools"] = tools
    choice = chat.get("tool_choice")
    words: Json = {"auto": {"type": "auto"}, "none": {"type": "none"}, "required": {"type": "any"}}
    said: Json = {"type": "auto"}
    if isinstance(choice, dict):
        said = {"type": "tool", "name": (choice.get("function") or {}).get("name")}
    elif choice is not None:
        said = words.get(choice, said)
    if chat.get("parallel_tool_calls") is False and said["type"] != "none":
        said = {**said, "disable_parallel_tool_use": True}
    if choice is not None or len(said) > 1:
        body["tool_choice"] = said


def _put_output(chat: Json, body: Json) -> None:
    output: Json = {}
    form = chat.get("response_format") or {}
    if form.get("type") == "json_schema":
        schema = (form.get("json_schema") or {}).get("schema") or {}
        output["format"] = {"type": "json_schema", "schema": schema}
    elif form.get("type") not in (None, "text"):
        raise NotExpressibleError("Anthropic's messages have no JSON answers without a schema")
    if chat.get("reasoning_effort") in _EFFORTS:
        output["effort"] = chat["reasoning_effort"]
    if output:
        body["output_config"] = output


def from_messages(answer: Json) -> Json:
    """A whole message as a whole answer of chat. Raises :class:`BrokenStream`."""
    content = answer.get("content")
    if answer.get("type") != "message" or not isinstance(content, list):
        raise BrokenStream("the answer is no message")
    message: Json = {"role": "assistant", "content": None}
    calls = []
    for block in content:
        match block.get("type"):
            case "text":
                message["content"] = (message["content"] or "") + str(block.get("text", ""))
            case "thinking":
                thought = message.get("reasoning_content", "") + str(block.get("thinking", ""))
                message["reasoning_content"] = thought
            case "tool_use":
                arguments = _encode(block.get("input") or {}).decode()
                function = {"name": block.get("name"), "arguments": arguments}
                calls.append({"id": block.get("id"), "type": "function", "function": function})
    if calls:
        message["tool_calls"] = calls
    stop = answer.get("stop_reason")
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": _finish(stop)}
    if answer.get("stop_sequence"):
        choice["stop_reason"] = answer["stop_sequence"]
    usage = _usage(answer.get("usage"))
    head = {"id": answer.get("id"), "object": "chat.completion", "created": 0}
    return {**head, "model": answer.get("model"), "choices": [choice], "usage": usage}


class AnthropicEvents:
    """Turns the events of a streamed message into chunks of chat. `done` after ``message_stop``."""

    def __init__(self) -> None:
        self.done = False
        self._head: Json = {}
        self._usage: Json = {}
        self._kinds: dict[int, str] = {}
        self._calls: dict[int, int] = {}

    def feed(self, event: Json) -> Iterator[Json]:
        """The chunks for one event. Raises :class:`BrokenStream`."""
        kind = event.get("type")
        if kind != "message_start" and kind not in ("ping", "error") and not self._head:
            raise BrokenStream(f"a stream of messages begins with {str(kind)[:60]!r}")
        match kind:
            case "message_start":
                yield self._started(event)
            case "content_block_start":
                yield from self._opened(event)
            case "content_block_delta":
                yield from self._grown(event)
            case "message_delta":
                yield from self._finished(event)
            case "message_stop":
                self.done = True

    def _started(self, event: Json) -> Json:
        message = event.get("message")
        if self._head or not isinstance(message, dict):
            raise BrokenStream("a message starts twice, or without being one")
        head = {"id": message.get("id"), "object": "chat.completion.chunk", "created": 0}
        self._head = {**head, "model": message.get("model")}
        self._usage = dict(message.get("usage") or {})
        return self._chunk({"role": "assistant", "content": ""})

    def _opened(self, event: Json) -> Iterator[Json]:
        index, block = event.get("index"), event.get("content_block")
        if not isinstance(index, int) or not isinstance(block, dict) or index in self._kinds:
            raise BrokenStream("a block starts twice, or without being one")
        self._kinds[index] = str(block.get("type"))
        if block.get("type") == "tool_use":
            number = self._calls[index] = len(self._calls)
            function = {"name": block.get("name"), "arguments": ""}
            call = {"index": number, "id": block.get("id"), "type": "function"}
            yield self._chunk({"tool_calls": [{**call, "function": function}]})
        elif block.get("text"):
            yield self._chunk({"content": block["text"]})

    def _grown(self, event: Json) -> Iterator[Json]:
        index, delta = event.get("index"), event.get("delta")
        if index not in self._kinds or not isinstance(delta, dict):
            raise BrokenStream("a block grows that did not start")
        match delta.get("type"):
            case "text_delta":
                yield self._chunk({"content": delta.get("text")})
            case "thinking_delta":
                yield self._chunk({"reasoning_content": delta.get("thinking")})
            case "input_json_delta" if index in self._calls:
                function = {"arguments": delta.get("partial_json")}
                yield self._chunk(
                    {"tool_calls": [{"index": self._calls[index], "function": function}]}
                )

    def _finished(self, event: Json) -> Iterator[Json]:
        delta = event.get("delta") or {}
        self._usage |= {
            key: value for key, value in (event.get("usage") or {}).items() if value is not None
        }
        if delta.get("stop_reason"):
            more = {"stop_reason": delta["stop_sequence"]} if delta.get("stop_sequence") else {}
            yield self._chunk({}, finish_reason=_finish(delta["stop_reason"]), **more)
        yield {**self._head, "choices": [], "usage": _usage(self._usage)}

    def _chunk(self, delta: Json, *, finish_reason: str | None = None, **more: Any) -> Json:
        choice = {"index": 0, "delta": delta, "finish_reason": finish_reason, **more}
        return {**self._head, "choices": [choice]}


def _finish(stop: Any) -> str | None:
    return None if stop is None else _FINISHES.get(stop, str(stop))


def _usage(usage: Any) -> Json:
    """Tokens as OpenAI counts them: those from a cache, and to it, are of the prompt. None where
    they are no numbers.
    """
    usage = usage if isinstance(usage, dict) else {}
    cached = usage.get("cache_read_input_tokens") or 0
    written = usage.get("cache_creation_input_tokens") or 0
    fresh, said = usage.get("input_tokens"), usage.get("output_tokens")
    if not all(isinstance(count, int) for count in (fresh, said, cached, written)):
        return {"prompt_tokens": None, "completion_tokens": None, "total_tokens": None}
    prompt: int = fresh + cached + written
    found = {"prompt_tokens": prompt, "completion_tokens": said, "total_tokens": prompt + said}
    return {**found, **({"prompt_tokens_details": {"cached_tokens": cached}} if cached else {})}
