"""Values of JSON from outside, each of the type that it must have."""

import datetime as dt
import re
from collections.abc import Collection, Mapping, Sequence
from itertools import pairwise
from typing import Any, Final

from outlast.core.digest import Digest
from outlast.core.errors import MalformedError

_MISSING: Final = object()
_MOST: Final = (1 << 53) - 1
"""The largest number that canonical JSON has."""
_MOST_TEXT: Final = 4096
"""Characters of a text: a name, a tag or a fact."""


class Fields:
    """The keys of one object. Everything raises :class:`MalformedError`."""

    def __init__(self, found: Mapping[str, Any]) -> None:
        self._found = found

    def __contains__(self, key: str) -> bool:
        return key in self._found

    def get(self, key: str) -> Any:
        return self._found.get(key)

    def text(self, key: str, default: str | None = None) -> str:
        value = self._found.get(key, default)
        if not _is_text(value):
            raise MalformedError(f"{key!r} is not a text, or too long")
        return str(value)

    def one_of(self, key: str, values: Collection[str]) -> str:
        value = self.text(key, "")
        if value not in values:
            raise MalformedError(f"{key!r} has an unknown value: {value[:40]!r}")
        return value

    def number(self, key: str, most: int = _MOST) -> int:
        value = self._found.get(key)
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= most:
            raise MalformedError(f"{key!r} is not a number from 0 to {most}")
        return value

    def boolean(self, key: str) -> bool:
        value = self._found.get(key)
        if not isinstance(value, bool):
            raise MalformedError(f"{key!r} is neither true nor false")
        return value

    def items(self, key: str, *, required: bool = True) -> Sequence[Any]:
        value = self._found.get(key, _MISSING if required else [])
        if not isinstance(value, list):
            raise MalformedError(f"{key!r} is not a list")
        return value

    def texts(self, key: str, *, required: bool = True) -> Sequence[str]:
        found = self.items(key, required=required)
        if not all(map(_is_text, found)):
            raise MalformedError(f"{key!r} is not a list of texts")
        return found

    def digests(self, key: str) -> tuple[Digest, ...]:
        """Sorted, each once."""
        found = tuple(map(Digest, self.texts(key)))
        if any(one >= other for one, other in pairwise(found)):
            raise MalformedError(f"{key!r} is not sorted, or has something twice")
        return found

    def text_map(self, key: str) -> dict[str, str]:
        found = self._found.get(key)
        if not isinstance(found, dict) or not all(map(_is_text, (*found, *found.values()))):
            raise MalformedError(f"{key!r} is not an object of texts")
        return found


def _is_text(value: object) -> bool:
    """Whether it is a text of some length that UTF-8 has: halves of characters are none."""
    if not isinstance(value, str) or len(value) > _MOST_TEXT:
        return False
    try:
        value.encode()
    except UnicodeError:
        return False
    return True


def fields(value: object, known: Collection[str]) -> Fields:
    """The keys of an object, which must be among the `known`."""
    if not isinstance(value, dict):
        raise MalformedError("expected a JSON object")
    if unknown := value.keys() - set(known):
        raise MalformedError(f"unknown key {min(unknown)!r}")
    return Fields(value)


def check_type(document: Fields, wanted: str) -> None:
    """Refuses a document of another type, and says so if it is of a newer outlast."""
    found = document.text("type", "")
    if found == wanted:
        return
    stem = re.escape(wanted.rstrip("0123456789"))
    if re.fullmatch(stem + r"[0-9]{1,9}", found):
        raise MalformedError(f"a newer outlast made this: its type is {found!r}", hint="update it")
    raise MalformedError(f"expected {wanted!r}, not {found[:60]!r}")


def moment(text: str) -> str:
    """`text`, if it is empty or a time with its zone (ISO 8601)."""
    if not text:
        return text
    try:
        found = dt.datetime.fromisoformat(text)
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        raise MalformedError(f"not a time: {text[:40]!r}")
    return text
