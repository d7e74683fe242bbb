"""Tables of the configuration file as declared structs: which keys there are, and of which types.

A feature declares its own section in the same way.
"""

import difflib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, TypeAlias, TypeVar, get_args

import msgspec
from msgspec import Meta, Struct, ValidationError

from outlast.core.errors import BadConfigError

S = TypeVar("S", bound="ConfigSection")
Table = Mapping[str, Any]

# What a key may hold. The description is the error, the hint what to write; {} is the key.
Flag: TypeAlias = Annotated[bool, Meta(description="the setting {!r} is neither true nor false")]
Port: TypeAlias = Annotated[
    int,
    Meta(
        ge=0,
        le=65535,
        description="{!r} is not a port from 0 to 65535",
        extra={"hint": "0 is any free port"},
    ),
]
Text: TypeAlias = Annotated[str, Meta(description="the setting {!r} is not a text")]
Texts: TypeAlias = Annotated[
    tuple[str, ...] | str, Meta(description="the setting {!r} is not a list of texts")
]
"""One text stands for a list of one."""
Amount: TypeAlias = Annotated[
    str | int | float, Meta(description="the setting {!r} is neither a text nor a number")
]
"""A rate or size: a text as ``"50GB"``, or a number of bytes."""
SubTable: TypeAlias = Annotated[
    dict[str, Any],
    Meta(description="the setting {!r} is not a table", extra={"hint": "write [{}]"}),
]
_SHOWN: Final = 200


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a setting means. It stands beside the key's type, and `outlast config`, the file that
    `outlast config --init` writes and the tables of the guide are made of it.
    """

    text: str
    """One sentence or two for a person who reads the file: plain text, no Markdown but code."""
    more: str = ""
    """What the guide says beyond that, in Markdown."""
    default: str = ""
    """The default in words, where the value does not say it."""
    example: Any = None
    """What the file shows where the default cannot be written."""
    flag: str = ""
    environment: tuple[str, ...] = ()
    """Variables that go before the file; the first one that is set holds."""
    follows: str = ""
    """A variable that the default follows, as ``XDG_DATA_HOME``."""
    file_first: bool = False
    """Whether the file goes before the variables."""
    at: str = ""
    """Where :class:`~outlast.cli.config.file.Config` has the value, as ``swarm.rates.up``; empty
    for the settings of features, which are shown as the file says them.
    """
    off_by: str = ""
    """The setting that turns this one off."""
    unit: str = ""
    """``bytes``, ``bytes/s`` or ``days``."""
    secret: bool = False
    """Whether the value is never shown, only that it is set."""


class ConfigSection(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="kebab"):
    """A table. Its fields are the keys (``peer_port`` is ``peer-port``), of the types above."""


def read_section(kind: type[S], table: Table, where: str, others: Collection[str] = ()) -> S:
    """What a table says. `where` names it in errors (empty: the top of the file), and `others` are
    keys that it may have beside those of `kind`. Raises :class:`BadConfigError` for a key that it
    may not have, or that holds something else than declared.
    """
    known = {key: value for key, value in table.items() if key not in others}
    try:
        return msgspec.convert(known, kind)
    except (ValidationError, UnicodeError):
        raise _problem(kind, known, where, others) from None


def _problem(
    kind: type[ConfigSection], table: Table, where: str, others: Collection[str]
) -> BadConfigError:
    """The first thing that is wrong with a table, in our words."""
    fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    place = f"{where}: " if where else ""
    if unknown := table.keys() - fields.keys():
        return _unknown(min(unknown), sorted({*fields, *others}), place)
    for key, value in table.items():
        declared = fields[key].type
        try:
            msgspec.convert(value, declared)
        except (ValidationError, UnicodeError):
            meta = _meta(declared)
            hint = (meta.extra or {}).get("hint", "")
            text = place + (meta.description or "").format(key)
            return BadConfigError(text, hint=hint.format(key))
    for key, field in fields.items():
        if field.required and key not in table:
            return BadConfigError(f"{place}the setting {key!r} is missing")
    raise AssertionError(f"nothing is wrong with {where or 'the file'}")


def _unknown(key: str, known: Sequence[str], place: str) -> BadConfigError:
    near = difflib.get_close_matches(key[:_SHOWN], known, 1)
    hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"
    return BadConfigError(f"{place}unknown key {key[:_SHOWN]!r}", hint=hint)


def meaning_of(declared: Any) -> Meaning | None:
    """What is said beside the type of a key."""
    said = (part for part in getattr(declared, "__metadata__", ()) if isinstance(part, Meaning))
    return next(said, None)


def _meta(declared: Any) -> Meta:
    """What a key may hold: of its type, or of the first part of a union that says it."""
    for part in getattr(declared, "__metadata__", ()):
        if isinstance(part, Meta):
            return part
    return _meta(get_args(declared)[0])


def keep_list_path(section: str, text: str) -> Path:
    """A path that the setting ``lists`` of a section names; ``~`` is the user's home. Raises
    :class:`BadConfigError`.
    """
    try:
        path = Path(text).expanduser()
    except RuntimeError:
        path = Path()
    if not path.is_absolute() or "\0" in text:
        raise BadConfigError(
            f"{section}: the setting 'lists': not an absolute path: {text[:200]!r}",
            hint="write /etc/outlast/models.txt or ~/models.txt",
        )
    return path
