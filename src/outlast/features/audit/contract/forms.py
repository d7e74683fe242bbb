"""Whether answers have the form that was asked for: a JSON schema, a tool call.

The values that are allowed are made up, so that no model says them unless it is made to.
"""

import json
from collections.abc import Sequence
from random import Random
from typing import Any, Final

from outlast.features.audit.contract.clauses import Found, broken, kept, untestable
from outlast.features.audit.contract.interview import Interview

_LETTERS: Final = "bcdfghjkmnpqrstvwxz"
_ROOM: Final = 64
"""Tokens of an answer in a form."""
_SHOWN: Final = 60


def json_schema(interview: Interview) -> Found:
    """An answer under a strict schema is valid."""
    codes = _codes(interview.random)
    schema = {"name": "wanted", "strict": True, "schema": _of(codes)}
    form = {"type": "json_schema", "json_schema": schema}
    answer = interview.ask(_question(codes), most=_ROOM, response_format=form)
    if _valid(answer.text, codes):
        return kept("an answer has the form of its schema")
    if answer.finish == "length" and answer.text.lstrip().startswith("{"):
        return untestable(f"an answer in the form of a schema is longer than {_ROOM} tokens")
    return broken(f"an answer has not the form of its schema: {answer.text[:_SHOWN]!r}")


def tool_call(interview: Interview) -> Found:
    """A tool that has to be called is called, with valid arguments."""
    codes = _codes(interview.random)
    tool = {
        "name": "store_code",
        "description": "Stores a code, and whether that is urgent.",
        "parameters": _of(codes),
    }
    answer = interview.ask(
        _question(codes),
        most=_ROOM,
        tools=[{"type": "function", "function": tool}],
        tool_choice="required",
    )
    if not answer.calls:
        return broken("a tool that has to be called is not called")
    name, arguments = answer.calls[0]
    if name == "store_code" and _valid(arguments, codes):
        return kept("a tool that has to be called is called with valid arguments")
    return broken(f"a tool is called with what is not valid: {name}({arguments[:_SHOWN]})")


def _codes(random: Random) -> list[str]:
    return ["".join(random.choices(_LETTERS, k=5)) for _ in range(3)]


def _of(codes: Sequence[str]) -> dict[str, Any]:
    """The schema of an object with one of these codes."""
    fields = {"code": {"type": "string", "enum": list(codes)}, "urgent": {"type": "boolean"}}
    return {
        "type": "object",
        "properties": fields,
        "required": ["code", "urgent"],
        "additionalProperties": False,
    }


def _question(codes: Sequence[str]) -> str:
    return f"Store one of the codes {', '.join(codes)}, which is urgent."


def _valid(text: str, codes: Sequence[str]) -> bool:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return False
    if not isinstance(found, dict) or found.keys() != {"code", "urgent"}:
        return False
    return found["code"] in codes and isinstance(found["urgent"], bool)
