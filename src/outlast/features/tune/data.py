"""Training data: a file of JSON lines, checked before anything is loaded.

Three kinds of rows are known, one kind a file: ``{"messages": [{"role", "content"}, …]}``,
``{"prompt", "completion"}`` and ``{"text"}``. Everything that is wrong is told with its line.
"""

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Final

from outlast.core.digest import Digest
from outlast.core.errors import BadDataError, MalformedError, NotFoundError, UsageError, one_line
from outlast.core.manifest import load_json
from outlast.store import disk

MAX_FILE: Final = 4 << 30
"""Bytes of a file. Guess: a LoRA is trained on far less; more is work for several machines."""
MAX_LINE: Final = 4 << 20
"""Bytes of a row. Guess: a context of a million tokens has about as many characters."""
MAX_ROWS: Final = 1_000_000
MOST_TOLD: Final = 20
"""Problems that are told one by one; the rest is counted."""
MOST_HELD_OUT: Final = 200
"""Rows. Guess: their mean is known to a few percent, and measuring takes little."""
_CONTAINERS: Final = 10_000
_ROLES: Final = ("system", "user", "assistant")
_KINDS: Final = (("messages",), ("prompt", "completion"), ("text",))


@dataclass(frozen=True, slots=True)
class Segment:
    """A part of a row as text; the model learns to write what is `learned`."""

    text: str
    learned: bool


@dataclass(frozen=True, slots=True)
class Row:
    """A row that is right. `line` counts from 1; `key` is the sha256 of its content as canonical
    JSON. One of `messages` and `segments` is empty.
    """

    line: int
    key: bytes
    messages: tuple[tuple[str, str], ...] = ()
    segments: tuple[Segment, ...] = ()


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with a line."""

    line: int
    what: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.what}"


@dataclass(slots=True)
class Rows:
    """The rows of a file without repeated ones; `repeated` are the lines that were the same as an
    earlier one, `extra` the keys that are not used. `digest` is the sha256 of the file.
    """

    rows: list[Row] = field(default_factory=list)
    repeated: list[int] = field(default_factory=list)
    extra: set[str] = field(default_factory=set)
    kind: str = ""
    size: int = 0
    digest: Digest = field(default_factory=lambda: Digest.of(b""))


def read_rows(path: Path) -> Rows:
    """Reads and checks a whole file. Raises :class:`BadDataError` with the problems and their
    lines, and :class:`NotFoundError`.
    """
    if not path.is_file():
        raise NotFoundError(f"no file at {path}", hint="--data names a file of JSON lines")
    with disk.reporting(path), path.open("rb") as file:
        return read_open(file, str(path))


def read_open(file: BinaryIO, name: str) -> Rows:
    """The same from an open file, which `name` names in messages."""
    size = os.fstat(file.fileno()).st_size
    if size > MAX_FILE:
        raise BadDataError(f"{name} has {size} bytes, and the bound is {MAX_FILE}")
    found = Rows(size=size)
    problems: list[Problem] = []
    hasher, seen = hashlib.sha256(), set[bytes]()
    for number, line in _lines(file, hasher):
        if not line.strip():
            continue
        try:
            row = _row(number, line, found)
        except (MalformedError, _RowError) as error:
            problems.append(Problem(number, str(error)))
            continue
        if row.key in seen:
            found.repeated.append(number)
            continue
        seen.add(row.key)
        found.rows.append(row)
        if len(found.rows) > MAX_ROWS:
            raise BadDataError(f"{name} has more than {MAX_ROWS} rows")
    refuse(name, problems)
    if not found.rows:
        raise BadDataError(f"{name} has no rows", hint="a row is a JSON object on a line")
    found.digest = Digest(hasher.hexdigest())
    return found


def refuse(name: str, problems: Sequence[Problem]) -> None:
    """Raises :class:`BadDataError` where there are problems: the first ones, with their lines."""
    if not problems:
        return
    told = "; ".join(str(problem) for problem in problems[:MOST_TOLD])
    more = f"; and {len(problems) - MOST_TOLD} more lines" if len(problems) > MOST_TOLD else ""
    raise BadDataError(
        f"{one_line(name, 100)}: {one_line(told, 400)}{more}", problems=tuple(map(str, problems))
    )


def split(rows: Sequence[Row], share: float) -> tuple[list[Row], list[Row]]:
    """The rows to learn from and those that are held out: `share` of them, at least one unless it
    is 0, at most :data:`MOST_HELD_OUT`. Which they are follows from their content alone, so that a
    row stays on its side when others are added. Raises :class:`UsageError` where none would be
    left to learn from.
    """
    count = 0 if share == 0 else min(MOST_HELD_OUT, max(1, round(len(rows) * share)))
    if count >= len(rows):
        raise UsageError(
            f"{len(rows)} rows are too few to hold some out",
            hint="add rows, or --held-out 0 measures nothing",
        )
    held = {row.key for row in sorted(rows, key=lambda row: row.key)[:count]}
    return [r for r in rows if r.key not in held], [r for r in rows if r.key in held]


class _RowError(Exception):
    """What is wrong with a row."""


def _lines(file: BinaryIO, hasher: Any) -> Iterator[tuple[int, bytes]]:
    number = 0
    while line := file.readline(MAX_LINE + 1):
        number += 1
        hasher.update(line)
        if len(line) > MAX_LINE:
            raise BadDataError(f"line {number} has more than {MAX_LINE} bytes")
        yield number, line


def _row(number: int, line: bytes, found: Rows) -> Row:
    try:
        text = line.decode()
    except UnicodeDecodeError as error:
        raise _RowError(f"not UTF-8 at byte {error.start + 1}") from None
    said = load_json(text.strip().encode(), MAX_LINE, containers=_CONTAINERS)
    if not isinstance(said, dict):
        raise _RowError("not a JSON object")
    kind = next((keys for keys in _KINDS if keys[0] in said), None)
    if kind is None:
        raise _RowError("has neither messages, nor prompt and completion, nor text")
    if found.kind not in {"", kind[0]}:
        raise _RowError(f"has {kind[0]}, and earlier rows have {found.kind}")
    if "tools" in said:
        raise _RowError("has tools, which cannot be trained on here")
    found.kind = kind[0]
    found.extra |= said.keys() - set(kind)
    content = {key: said.get(key) for key in kind}
    messages = _messages(content["messages"]) if kind[0] == "messages" else ()
    segments = () if messages else _segments(kind, content)
    plain = json.dumps(content, sort_keys=True, ensure_ascii=False).encode()
    return Row(number, hashlib.sha256(plain).digest(), messages, segments)


def _messages(said: object) -> tuple[tuple[str, str], ...]:
    if not isinstance(said, list) or not said:
        raise _RowError("messages is not a list of messages")
    found = []
    for place, message in enumerate(said, 1):
        if not isinstance(message, dict):
            raise _RowError(f"message {place} is not an object")
        role = message.get("role")
        if role not in _ROLES:
            raise _RowError(f"message {place} has the role {role!r:.40}: not one of {_ROLES}")
        if unused := message.keys() - {"role", "content", "name"}:
            raise _RowError(f"message {place} has {min(unused)!r:.40}, which cannot be trained on")
        found.append((str(role), _text(message.get("content"), f"message {place}")))
    roles = [role for role, _ in found]
    if "system" in roles[1:]:
        raise _RowError("a system message is not the first")
    if roles[-1] != "assistant":
        raise _RowError("the last message is not the assistant's: there is nothing to learn")
    if "user" not in roles[: roles.index("assistant")]:
        raise _RowError("the assistant speaks before the user")
    return tuple(found)


def _segments(kind: tuple[str, ...], said: dict[str, Any]) -> tuple[Segment, ...]:
    last = kind[-1]
    texts = [_text(said[key], key, empty=key != last) for key in kind]
    return tuple(Segment(t, k == last) for t, k in zip(texts, kind, strict=True) if t)


def _text(value: object, what: str, *, empty: bool = False) -> str:
    if not isinstance(value, str):
        raise _RowError(f"{what} has no text")
    if not empty and not value.strip():
        raise _RowError(f"{what} is empty")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise _RowError(f"{what} has half of a character (a lone surrogate)") from None
    return value
