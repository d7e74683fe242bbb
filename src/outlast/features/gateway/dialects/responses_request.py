"""A request of OpenAI's responses as a chat body.

| responses | chat |
|---|---|
| `instructions`, role ``developer`` | messages of the system |
| ``function_call``, ``function_call_output`` | ``tool_calls`` of one message, messages of role ``tool`` |
| tools of type ``custom`` | functions with one text, ``input`` |
| ``reasoning`` items | ``reasoning_content`` of the next message; encrypted ones have no counterpart |
| `text.format`, `reasoning.effort`, `max_output_tokens` | ``response_format``, ``reasoning_effort``, ``max_tokens`` |
| tools that the provider runs itself | left out, and named in `dropped`; refused where one is enforced |

What needs a provider's memory is refused: `previous_response_id`, `conversation`, `background`,
`prompt`, and items that refer to others.
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
_REMEMBERED: Final = ("previous_response_id", "conversation", "background", "prompt")
_TRANSLATED: Final = frozenset(
    (
        "include",
        "input",
        "instructions",
        "max_output_tokens",
        "metadata",
        "reasoning",
        "store",
        "stream_options",
        "text",
        "tool_choice",
        "tools",
        "top_logprobs",
    )
)
_WITHOUT: Final = frozenset(
    ("client_metadata", "context_management", "max_tool_calls", "service_tier", "truncation")
)
_LOGPROBS: Final = "message.output_text.logprobs"
CUSTOM: Final = {
    "type": "object",
    "properties": {"input": {"type": "string"}},
    "required": ["input"],
    "additionalProperties": False,
}
"""The parameters of a tool that takes a text of any form."""


def to_chat(body: Json) -> tuple[Json, tuple[str, ...], frozenset[str]]:
    """The chat body, the names of the fields that have no counterpart in it, and the names of the
    tools of type ``custom``. Raises :class:`RequestRefused`.
    """
    for name in _REMEMBERED:
        if body.get(name):
            raise refused(f"'{name}' needs a memory of answers, which is not kept here", name)
    read_model(body)
    dropped = [name for name in body if name in _WITHOUT and body[name] not in (None, "disabled")]
    chat = {
        key: value
        for key, value in body.items()
        if key not in _TRANSLATED
        and key not in _WITHOUT
        and key not in _REMEMBERED
        and value is not None
    }
    instructions = body.get("instructions")
    chat["messages"] = _turns(body.get("input"), dropped)
    if instructions:
        first = {"role": "system", "content": read_text(body, "instructions", "instructions")}
        chat["messages"].insert(0, first)
    if not chat["messages"]:
        raise refused("'input' is empty", "input")
    limit = read_count(body, "max_output_tokens", least=1)
    if limit is not None:
        chat["max_tokens"] = limit
    if read_flag(body, "stream"):
        chat["stream_options"] = {"include_usage": True}
    custom = _put_tools(body, chat, dropped)
    _put_output(body, chat)
    return chat, tuple(dict.fromkeys(dropped)), custom


def _turns(given: Any, dropped: list[str]) -> list[Json]:
    if isinstance(given, str):
        return [{"role": "user", "content": given}]
    found: list[Json] = []
    thoughts: list[str] = []
    for number, item in enumerate(read_objects(given, "input")):
        place = f"input[{number}]"
        match item.get("type", "message"):
            case "message":
                found.append(_message(item, place, dropped))
            case "function_call" | "custom_tool_call" as kind:
                _add_call(found, item, kind, place, fresh=bool(thoughts))
            case "function_call_output" | "custom_tool_call_output":
                content = _parts(item.get("output"), place)
                ident = read_text(item, "call_id", place)
                found.append({"role": "tool", "tool_call_id": ident, "content": content})
            case "reasoning":
                if not (text := _thought(item)):
                    dropped.append("input.reasoning.encrypted_content")
                thoughts.append(text)
                continue
            case other:
                raise refused(f"{place} is of type {str(other)[:60]!r}, not known here", place)
        if thoughts and found[-1]["role"] == "assistant":
            found[-1]["reasoning_content"] = "".join(thoughts)
        thoughts = []
    return found


def _message(item: Json, place: str, dropped: list[str]) -> Json:
    role = read_text(item, "role", place)
    if role not in ("user", "assistant", "system", "developer"):
        raise refused(f"the role of {place} is not known", place)
    if item.get("phase"):
        dropped.append("input.phase")
    role = "system" if role == "developer" else role
    return {"role": role, "content": _parts(item.get("content"), place)}


def _parts(content: Any, place: str) -> Any:
    """Content as chat has it: a text where it is nothing but one text."""
    if isinstance(content, str):
        return content
    parts = [_part(part, place) for part in read_objects(content, place)]
    if len(parts) == 1 and parts[0]["type"] == "text":
        return parts[0]["text"]
    return parts


def _part(part: Json, place: str) -> Json:
    match part.get("type"):
        case "input_text" | "output_text" | "text":
            return {"type": "text", "text": read_text(part, "text", place)}
        case "refusal":
            return {"type": "text", "text": read_text(part, "refusal", place)}
        case "input_image" if isinstance(part.get("image_url"), str):
            image = {"url": part["image_url"]}
            detail = part.get("detail")
            image |= {"detail": detail} if isinstance(detail, str) else {}
            return {"type": "image_url", "image_url": image}
        case "input_file" if isinstance(part.get("file_data"), str):
            name = part.get("filename") or "document"
            return {"type": "file", "file": {"filename": name, "file_data": part["file_data"]}}
        case other:
            raise refused(f"{place} has a part of type {str(other)[:60]!r} without bytes", place)


def _add_call(found: list[Json], item: Json, kind: str, place: str, *, fresh: bool) -> None:
    """Calls that follow one another are of one message."""
    if kind == "function_call":
        arguments = read_text(item, "arguments", place)
    else:
        arguments = _encode({"input": read_text(item, "input", place)}).decode()
    function = {"name": read_text(item, "name", place), "arguments": arguments}
    call = {"id": read_text(item, "call_id", place), "type": "function", "function": function}
    if fresh or not found or found[-1]["role"] != "assistant":
        found.append({"role": "assistant", "content": None})
    found[-1].setdefault("tool_calls", []).append(call)


def _thought(item: Json) -> str:
    for key in ("content", "summary"):
        parts = item.get(key)
        if isinstance(parts, list) and parts:
            return "".join(str(part.get("text", "")) for part in parts if isinstance(part, dict))
    return ""


def _put_tools(body: Json, chat: Json, dropped: list[str]) -> frozenset[str]:
    tools, custom = list[Json](), set[str]()
    for tool in read_tools(body):
        kind = tool.get("type")
        if kind not in ("function", "custom"):
            dropped.append(f"tools.{str(kind)[:60]}")
            continue
        function: Json = {"name": read_text(tool, "name", "tools")}
        if kind == "custom":
            custom.add(function["name"])
            function["parameters"] = CUSTOM
        function |= {
            key: tool[key]
            for key in ("description", "parameters", "strict")
            if tool.get(key) is not None
        }
        tools.append({"type": "function", "function": function})
    if tools:
        chat["tools"] = tools
    names = {tool["function"]["name"] for tool in tools}
    choice = body.get("tool_choice")
    if choice is None or (choice in ("auto", "none") and not tools):
        return frozenset(custom)
    if choice in ("auto", "none", "required") and tools:
        chat["tool_choice"] = choice
    elif isinstance(choice, dict) and choice.get("name") in names:
        chat["tool_choice"] = {"type": "function", "function": {"name": choice["name"]}}
    else:
        raise refused("'tool_choice' asks for a tool that is not here", "tool_choice")
    return frozenset(custom)


def _put_output(body: Json, chat: Json) -> None:
    """What the answer is to look like, and how much thinking comes before it."""
    text = read_map(body, "text")
    form = read_map(text, "format")
    if form.get("type") == "json_schema":
        schema = {key: value for key, value in form.items() if key != "type"}
        chat["response_format"] = {"type": "json_schema", "json_schema": schema}
    elif form.get("type") not in (None, "text"):
        chat["response_format"] = form
    if text.get("verbosity"):
        chat["verbosity"] = text["verbosity"]
    effort = read_map(body, "reasoning").get("effort")
    if effort is not None:
        chat["reasoning_effort"] = effort
    top = read_count(body, "top_logprobs")
    if top or _LOGPROBS in (body.get("include") or ()):
        chat["logprobs"] = True
        chat["top_logprobs"] = top or 0
