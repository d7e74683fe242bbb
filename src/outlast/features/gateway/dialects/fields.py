"""Fields of a request's body, checked as they are read."""

from typing import Any

from outlast.features.gateway.dialects.asked import refused
from outlast.features.gateway.dialects.strict_json import NotStrictError, parse_strict
from outlast.features.gateway.seams import Json, RequestRefused

_MODEL_CHARACTERS = 256
_TOOLS = 1024


def read_object(body: bytes) -> Json:
    """The body of a request as an object. Raises :class:`RequestRefused`."""
    try:
        value = parse_strict(body)
    except NotStrictError as error:
        message = f"the request's body is not JSON that can be used: {error}"
        raise RequestRefused(400, "invalid_request_error", message) from None
    if not isinstance(value, dict):
        raise refused("the request's body is not a JSON object")
    return value


def read_model(body: Json) -> str:
    """The model's name: 1 to 256 characters."""
    model = body.get("model")
    if not isinstance(model, str) or not 0 < len(model) <= _MODEL_CHARACTERS:
        raise refused("'model' is missing, or not a text of at most 256 characters", "model")
    return model


def read_flag(body: Json, name: str) -> bool:
    """True or false; absent and null are false."""
    value = body.get(name)
    if value is not None and not isinstance(value, bool):
        raise refused(f"'{name}' is neither true nor false", name)
    return value is True


def read_count(body: Json, name: str, *, least: int = 0) -> int | None:
    """A whole number; None where it is absent or null."""
    value = body.get(name)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise refused(f"'{name}' is not a whole number from {least}", name)
    return value


def read_objects(value: Any, name: str) -> list[Json]:
    """A list of objects."""
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise refused(f"'{name}' is not a list of objects", name)
    return value


def read_text(holder: Json, key: str, place: str) -> str:
    """A text of an object that lies at `place`."""
    value = holder.get(key)
    if not isinstance(value, str):
        raise refused(f"'{key}' is missing in {place}, or not a text", place)
    return value


def read_tools(body: Json) -> list[Json]:
    """The list of tools, of at most 1,024; empty where it is absent or null."""
    tools = body.get("tools")
    if tools is None:
        return []
    found = read_objects(tools, "tools")
    if len(found) > _TOOLS:
        raise refused(f"'tools' has more than {_TOOLS} entries", "tools")
    return found


def read_map(body: Json, name: str) -> Json:
    """An object; empty where it is absent or null."""
    value = body.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise refused(f"'{name}' is not an object", name)
    return value
