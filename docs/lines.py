"""docs/json.md: the lines that commands print with --json, from their types."""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import Enum
from inspect import cleandoc
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import click

from outlast.cli.documents.document import DOCUMENTS, VERSION, Document
from outlast.cli.documents.errors import ErrorDocument
from outlast.cli.documents.progress import ProgressDocument
from outlast.cli.feature import Listed
from outlast.cli.main import outlast
from outlast.cli.screen.render import type_name
from outlast.core import events as core_events
from outlast.core.digest import Digest, GitOid
from outlast.core.events import Again, Event, Progress
from outlast.core.names import RepoId

_INTRO = f"""# JSON

With `--json` a command prints on stdout what happens and its result: a JSON object a line
(`status`: one list on one line). Text for people is left out; exit statuses are the same.

- `type` says which line it is: the headings of this page. Results come last.
- `v` is the version of these lines: {VERSION}. Within a version, lines and fields are added. None
  is removed, and none gets another name, type, unit or meaning. Programs should pass over lines
  and fields that they do not know.
- A line has all fields of its table, unless the table says "may be left out". Sizes are in bytes.
- A command that fails prints the line [`error`](#error) last. stderr has its text, too.
- The log of `serve` goes to stderr, one JSON object for each request. It is not described here.
"""
_UNPRINTED = {Event, Progress, Again}
"""Events that make up lines of progress."""
_WORDS: Mapping[Any, str] = {
    str: "text",
    int: "number",
    float: "number",
    bool: "true or false",
    NoneType: "null",
    Any: "any",
    Path: "text (path)",
    RepoId: "text (`org/name`)",
    Digest: "text (sha256 in hex)",
    GitOid: "text (40 hex digits)",
}


@dataclasses.dataclass(frozen=True, slots=True)
class Field:
    """A field of a line, or of a part of it: its path, type and meaning."""

    path: str
    kind: str
    meaning: str


def json_page(features: Sequence[Listed]) -> str:
    """The page."""
    printed = by_command(features)
    parts = [_INTRO, "## Results\n"]
    for command, kinds in printed.items():
        parts.append(f"### outlast {command}\n")
        parts += [_section(kind, names_of(kind), "####") for kind in kinds]
    parts.append("## Events\n")
    parts.append("Commands print these while they work; which ones, depends on what happens.\n")
    parts.append(_section(ProgressDocument, names_of(ProgressDocument), "###"))
    parts += [_section(kind, [type_name(kind)], "###") for kind in events()]
    parts.append("## Errors\n")
    parts.append(_section(ErrorDocument, names_of(ErrorDocument), "###"))
    return "\n".join(parts)


def by_command(features: Sequence[Listed]) -> dict[str, list[type[Document]]]:
    """The lines of each command that has --json."""
    root = click.Context(outlast, obj=tuple(features))
    names = []
    for name in outlast.list_commands(root):
        command = outlast.get_command(root, name)
        assert command is not None
        below = [command]
        if isinstance(command, click.Group):
            found = (command.get_command(root, one) for one in command.list_commands(root))
            below = [one for one in found if one is not None]
        if any("--json" in parameter.opts for one in below for parameter in one.params):
            names.append(name)
    return {name: [kind for kind in DOCUMENTS if name in kind.printed_by] for name in names}


def all_commands(context: click.Context) -> Iterator[tuple[str, click.Command]]:
    """Every command below that of `context`, by name: those of groups as ``policy screen``, after
    their group.
    """
    group = context.command
    assert isinstance(group, click.Group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield name, command
        if isinstance(command, click.Group):
            inner = click.Context(command, parent=context, info_name=name)
            yield from ((f"{name} {rest}", found) for rest, found in all_commands(inner))


def events() -> list[type[Event]]:
    """Those that are printed."""
    kinds = [kind for kind in vars(core_events).values() if isinstance(kind, type)]
    return [kind for kind in kinds if issubclass(kind, Event) and kind not in _UNPRINTED]


def names_of(kind: type[Document]) -> list[str]:
    """The types that such a line may have."""
    return [str(name) for name in get_args(get_type_hints(kind)["type"])]


def _section(kind: type, names: Iterable[str], level: str) -> str:
    heading = ", ".join(f"`{name}`" for name in names)
    rows = ["| field | type | meaning |", "|---|---|---|"]
    rows += [f"| `{field.path}` | {field.kind} | {field.meaning} |" for field in fields_of(kind)]
    said = cleandoc(kind.__doc__ or "").replace("\n", " ").replace("``", "`")
    return "\n".join([f"{level} {heading}\n", f"{said}\n", *rows]) + "\n"


def fields_of(kind: type, prefix: str = "") -> Iterator[Field]:
    """The fields of a line beside `type` and `v`, each followed by those of its parts."""
    hints = get_type_hints(kind, include_extras=True)
    for field in dataclasses.fields(kind):
        if field.name == "type" and not prefix:
            continue
        said = hints[field.name]
        if get_origin(said) is not Annotated:
            raise SystemExit(f"{kind.__name__}.{field.name} does not say what it means")
        inner, meaning, *_ = get_args(said)
        name = f"{prefix}{field.metadata.get('name', field.name)}"
        left_out = "; may be left out" if field.metadata.get("omitted") else ""
        yield Field(name, _word(inner, omitted=bool(left_out)), f"{meaning}{left_out}")
        part, mark = _part(inner)
        if part is not None:
            yield from fields_of(part, f"{name}{mark}.")


def _word(kind: Any, *, omitted: bool = False) -> str:
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        kinds = [each for each in inner if each is not NoneType or not omitted]
        return " or ".join(map(_word, kinds))
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in inner)
    if origin is Mapping or origin is dict:
        return f"{_word(inner[1])} by name"
    if origin is not None and issubclass(origin, Sequence):
        return f"list of {_plural(inner[0])}"
    if isinstance(kind, type) and issubclass(kind, Enum):
        return ", ".join(f"`{each.value}`" for each in kind)
    return "object" if dataclasses.is_dataclass(kind) and kind not in _WORDS else _WORDS[kind]


def _plural(kind: Any) -> str:
    word = _word(kind)
    return f"{word}s" if word in {"text", "number", "object"} else word


def _part(kind: Any) -> tuple[type | None, str]:
    """The dataclass in a type, and how a path goes into it."""
    for each in (kind, *get_args(kind)):
        origin = get_origin(each)
        if isinstance(each, type) and dataclasses.is_dataclass(each) and each not in _WORDS:
            listed = get_origin(kind) is not None and issubclass(get_origin(kind) or str, Sequence)
            return each, "[]" if listed else ""
        if origin is Annotated:
            return _part(get_args(each)[0])
    return None, ""
