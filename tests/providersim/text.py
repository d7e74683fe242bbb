"""What the stand-in says: token i of the answer to a prompt is always the same, and carries its
number, so that a lost, doubled or foreign token shows.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

_WORDS = (
    "ash",
    "birch",
    "cedar",
    "elm",
    "fir",
    "hazel",
    "larch",
    "maple",
    "oak",
    "pine",
    "é",
    "榕",
)


def token(prompt: str, number: int) -> str:
    """Token `number` (from 0) of the answer to `prompt`."""
    seed = hashlib.sha256(f"{number}\0{prompt}".encode("utf-8", "surrogatepass")).digest()
    return f"{number}:{_WORDS[seed[0] % len(_WORDS)]}{seed[1]:02x} "


def answer_text(prompt: str, tokens: int) -> str:
    """The whole answer to `prompt`."""
    return "".join(token(prompt, number) for number in range(tokens))


def rest_of(prompt: str, tokens: int, begun: str) -> list[str] | None:
    """The tokens that follow `begun`; the first may be a part of one. None where `begun` is not how
    the answer to `prompt` begins.
    """
    every = [token(prompt, number) for number in range(tokens)]
    if not "".join(every).startswith(begun):
        return None
    left = len(begun)
    rest = []
    for one in every:
        if left < len(one):
            rest.append(one[left:])
        left = max(0, left - len(one))
    return rest


def split_prompt(prompt: str, tokens: int) -> tuple[str, str]:
    """A completion's prompt as (the prompt, what of its answer it already holds). An answer is
    known by its first two characters.
    """
    place = prompt.find("0:")
    while place >= 0:
        if rest_of(prompt[:place], tokens, prompt[place:]) is not None:
            return prompt[:place], prompt[place:]
        place = prompt.find("0:", place + 1)
    return prompt, ""


def plain(content: Any) -> str:
    """The text of a message's content: a string, or parts; of other parts their kind."""
    if isinstance(content, str):
        return content
    if content is None:
        return ""
    parts = content if isinstance(content, list) else [content]
    return "".join(
        str(part.get("text", f"<{part.get('type')}>")) if isinstance(part, Mapping) else str(part)
        for part in parts
    )


def prompt_of(messages: Sequence[Mapping[str, Any]]) -> str:
    """A conversation as one text: a line for each message."""
    return "".join(
        f"{one.get('role')}: {plain(one.get('content'))}"
        + "".join(_call(call) for call in one.get("tool_calls") or ())
        + "\n"
        for one in messages
    )


def _call(call: Mapping[str, Any]) -> str:
    function = call.get("function") or {}
    return f"<{function.get('name')} {function.get('arguments')}>"


def of_schema(schema: Mapping[str, Any], depth: int = 0) -> Any:
    """A value that fits a JSON schema of the usual kinds."""
    for key in ("const", "default"):
        if key in schema:
            return schema[key]
    if schema.get("enum"):
        return schema["enum"][0]
    for key in ("anyOf", "oneOf"):
        if schema.get(key):
            return of_schema(schema[key][0], depth)
    kind = schema.get("type", "object" if "properties" in schema else "string")
    if isinstance(kind, list):
        kind = kind[0]
    if kind == "object" and depth < 8:
        inner = schema.get("properties") or {}
        return {name: of_schema(one, depth + 1) for name, one in inner.items()}
    if kind == "array":
        return [of_schema(schema.get("items") or {}, depth + 1)]
    plain_values: Mapping[str, Any] = {"integer": 7, "number": 1.5, "boolean": True, "null": None}
    return plain_values.get(kind, "oak")


def pieces(text: str, size: int = 4) -> list[str]:
    """`text` in pieces of `size` characters, as a model streams JSON."""
    return [text[start : start + size] for start in range(0, len(text), size)]


def arguments_of(schema: Mapping[str, Any]) -> str:
    """The arguments of a call of a tool with this schema, as JSON."""
    return json.dumps(of_schema(schema))
