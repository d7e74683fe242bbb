"""What a request asks for, and what the stand-in is going to answer: before any form of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.providersim.text import (
    arguments_of,
    of_schema,
    pieces,
    plain,
    prompt_of,
    rest_of,
    split_prompt,
)


class AskError(Exception):
    """A request that a real provider refuses with 400."""


@dataclass(frozen=True)
class Say:
    """An answer in pieces: `thoughts`, then `tokens`, then `calls` as (name, pieces of JSON)."""

    prompt: str
    tokens: list[str]
    finish: str
    prompt_tokens: int
    calls: list[tuple[str, list[str]]] = field(default_factory=list)
    thoughts: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "".join(self.tokens)

    @property
    def usage(self) -> dict[str, int]:
        said = len(self.tokens) + len(self.thoughts) + sum(len(parts) for _, parts in self.calls)
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": said,
            "total_tokens": self.prompt_tokens + said,
        }


def say_chat(body: Mapping[str, Any], tokens: int) -> Say:
    """The answer to a chat body of OpenAI's. The last message of the assistant is continued with
    vLLM's ``continue_final_message``, or by llama.cpp's rule: it always is.
    """
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise AskError("'messages' is missing")
    begun = ""
    if body.get("continue_final_message") and body.get("add_generation_prompt", True):
        raise AskError("continue_final_message and add_generation_prompt exclude each other")
    if messages[-1].get("role") == "assistant":
        begun = plain(messages[-1].get("content"))
        messages = messages[:-1]
    elif body.get("continue_final_message"):
        raise AskError("the final message is not the assistant's")
    prompt = prompt_of(messages)
    calls = _calls(body, messages[-1] if messages else {})
    if calls:
        return Say(prompt, [], "tool_calls", len(prompt.split()), calls)
    thoughts = ["let ", "me ", "think"] if "think" in str(body.get("model")) and not begun else []
    limit = body.get("max_completion_tokens") or body.get("max_tokens")
    wanted = body.get("response_format") or {}
    if wanted.get("type") == "json_schema":
        every = pieces(arguments_of(wanted["json_schema"].get("schema") or {}))
        return _limited(prompt, every, limit, thoughts)
    if wanted.get("type") == "json_object":
        return _limited(prompt, pieces('{"answer": "oak"}'), limit, thoughts)
    return _limited(prompt, _continued(prompt, tokens, begun), limit, thoughts)


def say_completion(body: Mapping[str, Any], tokens: int) -> Say:
    """The answer to a completion's body, which may hold the beginning of the answer."""
    given = body.get("prompt", "")
    if isinstance(given, list):
        given = given[0] if given and isinstance(given[0], str) else repr(given)
    prompt, begun = split_prompt(str(given), tokens)
    return _limited(prompt, _continued(prompt, tokens, begun), body.get("max_tokens"), [])


def say_messages(body: Mapping[str, Any], tokens: int) -> Say:
    """The answer to a body of Anthropic's messages."""
    if not isinstance(body.get("max_tokens"), int):
        raise AskError("max_tokens: Field required")
    chat = dict(body)
    system = body.get("system")
    turns = list(body.get("messages") or [])
    for turn in turns:
        if turn.get("role") not in ("user", "assistant"):
            raise AskError("messages: roles are user and assistant")
    last = turns[-1] if turns else {}
    if (
        last.get("role") == "assistant"
        and plain(last.get("content")) != plain(last.get("content")).rstrip()
    ):
        raise AskError("final assistant content cannot end with trailing whitespace")
    chat["messages"] = ([{"role": "system", "content": system}] if system else []) + turns
    chat["tools"] = [
        {
            "type": "function",
            "function": {"name": tool["name"], "parameters": tool.get("input_schema") or {}},
        }
        for tool in body.get("tools") or ()
    ]
    choice = body.get("tool_choice") or {}
    chat["tool_choice"] = {
        "any": "required",
        "none": "none",
        "tool": {"type": "function", "function": {"name": choice.get("name")}},
    }.get(choice.get("type", ""), "auto")
    format_ = (body.get("output_config") or {}).get("format") or body.get("output_format")
    if format_:
        chat["response_format"] = {
            "type": "json_schema",
            "json_schema": {"schema": format_["schema"]},
        }
    return say_chat(chat, tokens)


def _continued(prompt: str, tokens: int, begun: str) -> list[str]:
    rest = rest_of(prompt, tokens, begun)
    if rest is None:  # another model's text: it becomes a part of what is answered
        return rest_of(prompt + begun, tokens, "") or []
    return rest


def _limited(prompt: str, every: list[str], limit: int | None, thoughts: list[str]) -> Say:
    short = limit is not None and limit < len(every)
    said = every[:limit] if short else every
    return Say(prompt, said, "length" if short else "stop", len(prompt.split()), thoughts=thoughts)


def _calls(body: Mapping[str, Any], last: Mapping[str, Any]) -> list[tuple[str, list[str]]]:
    """A call where one is enforced, or the last message says "use a tool" (or "two tools")."""
    tools = [one["function"] for one in body.get("tools") or () if one.get("type") == "function"]
    choice = body.get("tool_choice")
    if not tools or choice == "none" or last.get("role") == "tool":
        return []
    text = plain(last.get("content"))
    if isinstance(choice, Mapping):
        tools = [tool for tool in tools if tool["name"] == choice["function"]["name"]]
    elif "two tools" in text:
        tools = (tools * 2)[:2]
    elif choice != "required" and "use a tool" not in text:
        return []
    else:
        tools = tools[:1]
    return [(tool["name"], pieces(arguments_of(tool.get("parameters") or {}))) for tool in tools]


__all__ = ["AskError", "Say", "of_schema", "say_chat", "say_completion", "say_messages"]
