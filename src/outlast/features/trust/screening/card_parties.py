"""Whom a model's card names as those who made it."""

import re
from collections.abc import Iterator
from typing import Final

from outlast.codec.memory import read
from outlast.core.errors import OutlastError, one_line
from outlast.core.manifest import Revision
from outlast.store.archive import Archive

_CARD: Final = "README.md"
_LARGEST: Final = 1 << 20
"""Bytes of the largest card that is read."""
_FRONT: Final = 64 * 1024
_MOST: Final = 50
"""Names that are taken of a card."""
_LONGEST: Final = 200
_KEYS: Final = "authors?|creator|model_creator|developers?|organi[sz]ation|publisher"
_KEY: Final = re.compile(rf"(?:{_KEYS})[ \t]*:(.*)", re.IGNORECASE)
_ITEM: Final = re.compile(r"\s*-\s+(?:name\s*:\s*)?(.+)")


def read_authors(data: bytes) -> tuple[str, ...]:
    """The names in a card's front matter: a text, a list in brackets, or a list of lines. What is
    written otherwise is passed over.
    """
    found: dict[str, None] = {}
    for value in _values(data[:_FRONT].decode(errors="replace")):
        name = " ".join(value.split(" #", maxsplit=1)[0].strip().strip("'\"").split())
        if name and len(name) <= _LONGEST and any(map(str.isalpha, name)):
            found[one_line(name)] = None
        if len(found) == _MOST:
            break
    return tuple(found)


def authors_of(archive: Archive, revision: Revision) -> tuple[str, ...] | None:
    """Those that the card of a revision names; None where it has a card that cannot be read."""
    for entry in revision.files:
        if entry.path != _CARD or entry.sha256 is None or entry.size > _LARGEST:
            continue
        try:
            with archive.open_blob(entry.sha256) as blob:
                return read_authors(read(blob, 0, blob.size))
        except OutlastError:
            return None
    return ()


def _values(text: str) -> Iterator[str]:
    lines = iter(text.splitlines())
    if next(lines, "").strip() != "---":
        return
    listed = False
    for line in lines:
        if line.strip() == "---":
            return
        if listed and (item := _ITEM.fullmatch(line)):
            yield item[1]
            continue
        found = _KEY.fullmatch(line)
        value = found[1].strip() if found else ""
        listed = found is not None and not value
        if value.startswith("["):
            yield from value.strip("[]").split(",")
        elif value:
            yield value
