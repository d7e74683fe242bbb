"""Compares what commands print with --json to the types that declare it, strictly."""

import dataclasses
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import Enum
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from docs.lines import by_command, events
from outlast.cli.documents.document import VERSION
from outlast.cli.documents.errors import ErrorDocument
from outlast.cli.documents.progress import ProgressDocument
from outlast.cli.screen.render import type_name
from outlast.core.digest import Digest, GitOid
from outlast.core.names import RepoId
from outlast.features import FEATURES

COMMANDS = by_command(FEATURES)
EVENTS = {type_name(kind): kind for kind in events()}
_SCALARS: Mapping[Any, tuple[type, ...]] = {
    str: (str,),
    Path: (str,),
    RepoId: (str,),
    bool: (bool,),
    int: (int,),
    float: (int, float),
    NoneType: (NoneType,),
}
_KINDS = {str: "text", bool: "truth", int: "number", float: "number", NoneType: "null"}


def problems(command: str, line: Any) -> list[str]:
    """What is wrong with a line of a command. It must be one of the command's results, an event or
    an error: with each field that is declared, of the declared type, and with no other.
    """
    if not isinstance(line, dict):
        return [f"not an object: {line!r}"]
    if line.get("v") != VERSION or type(line["v"]) is not int:
        return [f"no version: {line!r}"]
    found = [
        list(_wrong(kind, line, "", name))
        for name, kind in lines_of(command)
        if name == line.get("type")
    ]
    return min(found, key=len) if found else [f"{command} has no line {line.get('type')!r}"]


def lines_of(command: str) -> Iterator[tuple[str, type]]:
    """The types and classes of all lines that a command may print."""
    yield from results_of(command)
    yield from EVENTS.items()
    yield "error", ErrorDocument
    yield "progress", ProgressDocument


def results_of(command: str) -> Iterator[tuple[str, type]]:
    """Those that are not events or errors."""
    for kind in COMMANDS[command]:
        for name in get_args(get_type_hints(kind)["type"]):
            yield name, kind


def matches(kind: type, line: Mapping[str, Any]) -> bool:
    """Whether a line of a result is of this class."""
    return not list(_wrong(kind, line, "", str(line["type"])))


def _wrong(kind: type, value: Any, path: str, name: str = "") -> Iterator[str]:
    """What is wrong with the fields of a line of type `name`, or of a part of one."""
    if not isinstance(value, dict):
        yield f"{path}: not an object: {value!r}"
        return
    hints = get_type_hints(kind)
    known = {} if not name else {"type": str, "v": int}
    for field in dataclasses.fields(kind):
        key = field.metadata.get("name", field.name)
        known[key] = hints[field.name]
        if key not in value and not field.metadata.get("omitted"):
            yield f"{path}.{key}: missing"
    yield from (f"{path}.{key}: not declared" for key in value.keys() - known.keys())
    for key in value.keys() & known.keys():
        yield from _wrong_value(known[key], value[key], f"{path}.{key}")


def _wrong_value(kind: Any, value: Any, path: str) -> Iterator[str]:  # noqa: C901 - a case each
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        found = [list(_wrong_value(each, value, path)) for each in inner]
        yield from min(found, key=len)
    elif origin is Literal:
        if value not in inner:
            yield f"{path}: not one of {inner}: {value!r}"
    elif kind in (Digest, GitOid):
        digits = 64 if kind is Digest else 40
        if not (isinstance(value, str) and re.fullmatch(f"[0-9a-f]{{{digits}}}", value)):
            yield f"{path}: not {digits} hex digits: {value!r}"
    elif isinstance(kind, type) and issubclass(kind, Enum):
        if value not in [each.value for each in kind]:
            yield f"{path}: not one of {[*kind]}: {value!r}"
    elif origin is not None:
        yield from _wrong_items(origin, inner, value, path)
    elif dataclasses.is_dataclass(kind) and kind is not RepoId:
        assert isinstance(kind, type)
        yield from _wrong(kind, value, path)
    elif kind is not Any and type(value) not in _SCALARS[kind]:
        yield f"{path}: not {kind.__name__}: {value!r}"


def _wrong_items(origin: Any, inner: Sequence[Any], value: Any, path: str) -> Iterator[str]:
    if issubclass(origin, Mapping):
        if not isinstance(value, dict):
            yield f"{path}: not an object: {value!r}"
            return
        for key, item in value.items():
            yield from _wrong_value(inner[1], item, f"{path}[{key!r}]")
    elif not isinstance(value, list):
        yield f"{path}: not a list: {value!r}"
    else:
        for number, item in enumerate(value):
            yield from _wrong_value(inner[0], item, f"{path}[{number}]")


# What a version promises


def promised() -> dict[str, dict[str, str]]:
    """By command and line, each field and what JSON has there."""
    found: dict[str, dict[str, str]] = {}
    named = [
        (f"{command} {line}", kind) for command in COMMANDS for line, kind in results_of(command)
    ]
    named += [*EVENTS.items(), ("error", ErrorDocument)]
    for name, kind in named:
        # A command may have two results of one name.
        found[name if name not in found else f"{name} {kind.__name__}"] = dict(_fields(kind))
    return found


def _fields(kind: type, prefix: str = "") -> Iterator[tuple[str, str]]:
    hints = get_type_hints(kind)
    for field in dataclasses.fields(kind):
        path = f"{prefix}{field.metadata.get('name', field.name)}"
        yield path, " or ".join(sorted(set(_kinds(hints[field.name]))))
        for part in _parts(hints[field.name]):
            yield from _fields(part, f"{path}.")


def _kinds(kind: Any) -> Iterable[str]:
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return [word for each in inner for word in _kinds(each)]
    if origin is Literal:
        return [_KINDS[type(value)] for value in inner]
    if origin is not None:
        return ["object" if issubclass(origin, Mapping) else "list"]
    if kind in _KINDS:
        return [_KINDS[kind]]
    plain = kind in (Digest, GitOid, RepoId, Path) or (
        isinstance(kind, type) and issubclass(kind, Enum)
    )
    return ["any" if kind is Any else "text" if plain else "object"]


def _parts(kind: Any) -> Iterator[type]:
    for each in (kind, *get_args(kind)):
        if dataclasses.is_dataclass(each) and each not in {Digest, GitOid, RepoId}:
            assert isinstance(each, type)
            yield each
