"""Values in systemd's units (systemd.syntax, systemd.service): what is special there is escaped."""

import re
from pathlib import Path
from typing import Final

from outlast.core.errors import UsageError

_PLAIN: Final = re.compile(r"[A-Za-z0-9_@+=:,./-]+\Z")
_NOT_IN_PROGRAMS: Final = "$'\"\\"
_SHOWN: Final = 80


def argument(text: str) -> str:
    """A word of a command line, so that the program gets `text`. Not for the program itself, in
    which variables are not expanded.
    """
    return quoted(text).replace("$", "$$")


def quoted(text: str) -> str:
    """A word of a setting that takes several. Specifiers (``%h``) in `text` stay words."""
    escaped = _checked(text).replace("%", "%%")
    if _PLAIN.match(escaped.replace("%", "")):
        return escaped
    return '"' + escaped.replace("\\", "\\\\").replace('"', '\\"') + '"'


def whole(path: Path) -> str:
    """A path that is all of a setting's value: blanks and quotes are not special there."""
    text = _checked(str(path))
    if text != text.strip() or text.endswith("\\"):
        raise UsageError(
            f"a unit cannot name {text[:_SHOWN]!r}: it ends in a blank or a backslash",
            hint="use another path",
        )
    return text.replace("%", "%%")


def program(path: Path) -> str:
    """The program of a command line. In its path systemd takes no quotes and no backslash, and a
    ``$`` has no escape.
    """
    special = next((c for c in str(path) if c in _NOT_IN_PROGRAMS), None)
    if special is not None:
        raise UsageError(
            f"a unit cannot run {str(path)[:_SHOWN]!r}: there is a {special} in it",
            hint="install outlast in another folder",
        )
    return quoted(str(path))


def _checked(text: str) -> str:
    """Raises :class:`UsageError` for what no line of a unit can hold."""
    if any(not c.isprintable() and c != " " for c in text):
        raise UsageError(
            f"a unit cannot hold {text[:_SHOWN]!r}: there is a character that cannot be printed",
            hint="use another name",
        )
    return text
