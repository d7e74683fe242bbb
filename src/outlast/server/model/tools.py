"""Tool calls that the client insists on.

The engine lets a model talk before it calls a tool, for as long as it likes, and takes a choice of
one function for no choice at all. So an answer that has to be a call is asked for as JSON of the
tools' schema, which the engine enforces token by token, and written as a call afterwards.
"""

import json
import secrets
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]
_DEPTH = 100
"""Levels of a schema. Deeper ones are the client's mistake, or meant to harm."""


class SchemaError(ValueError):
    """A tool's schema that cannot be enforced."""


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that the model may call, and the JSON schema of its arguments."""

    name: str
    parameters: Json


def forced(body: Mapping[str, Any], tools: Iterable[Tool]) -> Json:
    """The request that makes the engine answer with a call of one of `tools`, and with nothing
    else. Raises :class:`SchemaError`.
    """
    asked = {
        key: value
        for key, value in body.items()
        if key not in ("stream", "stream_options", "parallel_tool_calls")
    }
    format_ = {"name": "call", "strict": True, "schema": _schema(tuple(tools))}
    return asked | {
        "tool_choice": "none",
        "response_format": {"type": "json_schema", "json_schema": format_},
    }


def _schema(tools: tuple[Tool, ...]) -> Json:
    places = {tool.name: f"tool{number}" for number, tool in enumerate(tools)}
    return {
        "$defs": {
            places[tool.name]: _moved(tool.parameters, f"#/$defs/{places[tool.name]}", _DEPTH)
            for tool in tools
        },
        "anyOf": [
            {
                "type": "object",
                "properties": {
                    "name": {"const": tool.name},
                    "arguments": {"$ref": f"#/$defs/{places[tool.name]}"},
                },
                "required": ["name", "arguments"],
                "additionalProperties": False,
            }
            for tool in tools
        ],
    }


def _moved(schema: Any, place: str, depth: int) -> Any:
    """`schema` with references that hold once it lies at `place` in a larger one."""
    if depth == 0:
        raise SchemaError(f"a tool's parameters are nested more than {_DEPTH} levels deep")
    if isinstance(schema, list):
        return [_moved(item, place, depth - 1) for item in schema]
    if not isinstance(schema, dict):
        return schema
    moved = {key: _moved(value, place, depth - 1) for key, value in schema.items()}
    reference = schema.get("$ref")
    if isinstance(reference, str):
        if not reference.startswith("#"):
            # The engine would look for it on the network.
            raise SchemaError("a tool's parameters refer to a schema elsewhere")
        moved["$ref"] = place + reference.removeprefix("#")
    return moved


def as_call(answer: Json, tools: Iterable[Tool]) -> Json:
    """The engine's answer to :func:`forced`, with the call where clients look for it. An answer
    that was cut at its limit of tokens stays text, and says so in `finish_reason`.
    """
    names = {tool.name for tool in tools}
    choices = [_choice(choice, names) for choice in answer.get("choices", ())]
    return answer | {"choices": choices}


def _choice(choice: Json, names: set[str]) -> Json:
    message = choice.get("message") or {}
    try:
        call = json.loads(message.get("content") or "")
    except ValueError:
        return choice
    if not isinstance(call, dict) or call.get("name") not in names:
        return choice
    arguments = json.dumps(call.get("arguments", {}), ensure_ascii=False)
    written = {
        "id": f"call_{secrets.token_hex(12)}",
        "type": "function",
        "function": {"name": call["name"], "arguments": arguments},
    }
    return choice | {
        "finish_reason": "tool_calls",
        "message": message | {"content": None, "tool_calls": [written]},
    }


def as_events(answer: Json, *, usage: bool) -> Iterator[Json]:
    """A whole answer as the chunks of a streamed one; with `usage` the last tells the tokens."""
    head: Json = {key: answer[key] for key in ("id", "created", "model") if key in answer}
    head["object"] = "chat.completion.chunk"
    for choice in answer.get("choices", ()):
        index, message = choice.get("index", 0), choice.get("message") or {}
        delta = {key: value for key, value in message.items() if key != "tool_calls"}
        if "tool_calls" in message:
            delta["tool_calls"] = [
                {"index": number, **call} for number, call in enumerate(message["tool_calls"])
            ]
        yield head | {"choices": [{"index": index, "delta": delta, "finish_reason": None}]}
        last = {"index": index, "delta": {}, "finish_reason": choice.get("finish_reason")}
        yield head | {"choices": [last]}
    if usage:
        yield head | {"choices": [], "usage": answer.get("usage")}
