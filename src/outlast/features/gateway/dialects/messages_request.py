"""A request of Anthropic's messages as a chat body.

| messages | chat |
|---|---|
| `system` | a first message of the system; blocks are joined by an empty line |
| image, document | ``image_url``, ``file``; base64 becomes a data URL |
| ``tool_use``, ``tool_result`` | ``tool_calls``, messages of role ``tool``; images of a result follow as a message of the user |
| ``thinking`` blocks | ``reasoning_content``; signatures and redacted thoughts have no counterpart |
| `thinking`, `output_config.effort` | ``reasoning_effort`` |
| `output_config.format` | ``response_format`` with the same JSON schema |
| tools that the provider runs itself | left out, and named in `dropped`; refused where one is enforced |
"""  # noqa: E501 - a table

from typing import Any, Final

import msgspec

from outlast.features.gateway.dialects.asked import refused
from outlast.features.gateway.dialects.fields import (
    read_count,
    read_flag,
    read_map,
    read_model,
    read_objects,
    read_text,
    read_tools,
)
from outlast.features.gateway.seams import Json

_encode: Final = msgspec.json.Encoder().encode
_TRANSLATED: Final = frozenset(
    (
        "max_tokens",
        "messages",
        "metadata",
        "output_config",
        "output_format",
        "stop_sequences",
        "system",
        "thinking",
        "tool_choice",
        "tools",
    )
)
_WITHOUT: Final = frozenset(
    (
        "cache_control",
        "container",
        "context_management",
        "inference_geo",
        "mcp_servers",
        "service_tier",
        "speed",
    )
)
_EFFORTS: Final = ((4096, "low"), (16384, "medium"))
"""Tokens of thinking up to which an effort stands. Guess: OpenAI gives no figures."""


def to_chat(body: Json) -> tuple[Json, tuple[str, ...]]:
    """The chat body, and the names of the fields that have no counterpart in it. Fields that are
    unknown here pass on as they are. Raises :class:`RequestRefused`.
    """
    dropped = [name for name in body if name in _WITHOUT and body[name]]
    if read_count(body, "max_tokens", least=1) is None:
        raise refused("'max_tokens' is missing", "max_tokens")
    read_model(body)
    chat = {
        key: value
        for key, value in body.items()
        if key not in _TRANSLATED and key not in _WITHOUT and value is not None
    }
    chat["messages"] = _system(body) + _turns(body, dropped)
    chat["max_tokens"] = body["max_tokens"]
    if read_flag(body, "stream"):
        chat["stream_options"] = {"include_usage": True}
    if body.get("stop_sequences"):
        chat["stop"] = body["stop_sequences"]
    user = read_map(body, "metadata").get("user_id")
    if user is not None:
        chat["user"] = user
    _put_tools(body, chat, dropped)
    _put_output(body, chat)
    return chat, tuple(dict.fromkeys(dropped))


def _system(body: Json) -> list[Json]:
    system = body.get("system")
    if not system:
        return []
    if isinstance(system, str):
        return [{"role": "system", "content": system}]
    texts = [read_text(block, "text", "system") for block in read_objects(system, "system")]
    return [{"role": "system", "content": "\n\n".join(texts)}]


def _turns(body: Json, dropped: list[str]) -> list[Json]:
    turns = read_objects(body.get("messages"), "messages")
    if not turns:
        raise refused("'messages' is empty", "messages")
    found: list[Json] = []
    for number, turn in enumerate(turns):
        place = f"messages[{number}]"
        role, content = read_text(turn, "role", place), turn.get("content")
        if role not in ("user", "assistant", "system"):
            raise refused(f"the role of {place} is neither user nor assistant", place)
        if isinstance(content, str):
            found.append({"role": role, "content": content})
            continue
        blocks = read_objects(content, f"{place}.content")
        if role == "assistant":
            found.append(_assistant(blocks, place, dropped))
        else:
            found += _user(role, blocks, place, dropped)
    return found


def _assistant(blocks: list[Json], place: str, dropped: list[str]) -> Json:
    texts, thoughts, calls = [], [], []
    for block in blocks:
        kind = block.get("type")
        if kind == "text":
            texts.append(read_text(block, "text", place))
        elif kind == "thinking":
            thoughts.append(read_text(block, "thinking", place))
        elif kind == "tool_use":
            arguments = _encode(read_map(block, "input")).decode()
            function = {"name": read_text(block, "name", place), "arguments": arguments}
            ident = read_text(block, "id", place)
            calls.append({"id": ident, "type": "function", "function": function})
        else:
            dropped.append(f"messages.{_word(kind)}")
    turn: Json = {"role": "assistant", "content": "".join(texts) if texts or not calls else None}
    if thoughts:
        turn["reasoning_content"] = "".join(thoughts)
    if calls:
        turn["tool_calls"] = calls
    return turn


def _user(role: str, blocks: list[Json], place: str, dropped: list[str]) -> list[Json]:
    """The results of tools, and then what the user says beside them."""
    results: list[Json] = []
    parts: list[Json] = []
    for block in blocks:
        if block.get("type") != "tool_result":
            parts.append(_part(block, place))
            continue
        ident = read_text(block, "tool_use_id", place)
        texts, others = _result(block.get("content"), place)
        results.append({"role": "tool", "tool_call_id": ident, "content": texts})
        parts += others
        if block.get("is_error"):
            dropped.append("messages.tool_result.is_error")
    if len(parts) == 1 and parts[0]["type"] == "text":
        return [*results, {"role": role, "content": parts[0]["text"]}]
    return [*results, {"role": role, "content": parts}] if parts or not results else results


def _result(content: Any, place: str) -> tuple[str, list[Json]]:
    """The text of a tool's result, and what of it is no text."""
    if content is None or isinstance(content, str):
        return content or "", []
    parts = [_part(block, place) for block in read_objects(content, f"{place}.content")]
    texts = [part["text"] for part in parts if part["type"] == "text"]
    return "\n".join(texts), [part for part in parts if part["type"] != "text"]


def _part(block: Json, place: str) -> Json:
    kind = block.get("type")
    if kind == "text":
        return {"type": "text", "text": read_text(block, "text", place)}
    if kind not in ("image", "document"):
        raise refused(f"{place} has a block of type {_word(kind)}, which is not known", place)
    source = read_map(block, "source")
    match source.get("type"):
        case "base64":
            media = read_text(source, "media_type", place)
            address = f"data:{media};base64,{read_text(source, 'data', place)}"
        case "url":
            address = read_text(source, "url", place)
        case "text" if kind == "document":
            return {"type": "text", "text": read_text(source, "data", place)}
        case other:
            raise refused(f"{place} has a source of type {_word(other)}: send its bytes", place)
    if kind == "image":
        return {"type": "image_url", "image_url": {"url": address}}
    name = block.get("title") or "document"
    return {"type": "file", "file": {"filename": name, "file_data": address}}


def _put_tools(body: Json, chat: Json, dropped: list[str]) -> None:
    tools: list[Json] = []
    for tool in read_tools(body):
        if tool.get("type") not in (None, "custom"):
            dropped.append(f"tools.{_word(tool['type'])}")
            continue
        function: Json = {
            "name": read_text(tool, "name", "tools"),
            "parameters": read_map(tool, "input_schema"),
        }
        function |= {key: tool[key] for key in ("description", "strict") if key in tool}
        tools.append({"type": "function", "function": function})
    if tools:
        chat["tools"] = tools
    choice = read_map(body, "tool_choice")
    if not choice:
        return
    if tools and choice.get("disable_parallel_tool_use"):
        chat["parallel_tool_calls"] = False
    names = {tool["function"]["name"] for tool in tools}
    match choice.get("type"):
        case "auto" | "none" as word:
            if tools:
                chat["tool_choice"] = word
        case "any" if tools:
            chat["tool_choice"] = "required"
        case "tool" if choice.get("name") in names:
            chat["tool_choice"] = {"type": "function", "function": {"name": choice["name"]}}
        case _:
            raise refused("'tool_choice' asks for a tool that is not here", "tool_choice")


def _put_output(body: Json, chat: Json) -> None:
    """What the answer is to look like, and how much thinking comes before it."""
    output = read_map(body, "output_config")
    form = read_map(output, "format") or read_map(body, "output_format")
    if form:
        if form.get("type") != "json_schema":
            raise refused("'output_config.format' is not a JSON schema", "output_config")
        schema = {"name": "answer", "strict": True, "schema": read_map(form, "schema")}
        chat["response_format"] = {"type": "json_schema", "json_schema": schema}
    thinking = read_map(body, "thinking")
    if output.get("effort"):
        chat["reasoning_effort"] = output["effort"]
    elif thinking.get("type") == "enabled":
        budget = read_count(thinking, "budget_tokens") or 0
        fitting = (effort for tokens, effort in _EFFORTS if budget <= tokens)
        chat["reasoning_effort"] = next(fitting, "high")


def _word(value: object) -> str:
    """The type of something, for a message: short, on one line."""
    return str(value)[:60].encode("ascii", "replace").decode().replace("\n", " ")
