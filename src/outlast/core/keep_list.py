"""Keep-lists: text files that say which models an archive is to hold, a model a line.

::

    # models.txt
    Qwen/Qwen3-0.6B
    meta-llama/Llama-3.2-1B@v1.0      exclude=original/*
    unsloth/gemma-3-GGUF              include=*Q4_K_M* include=*.json
    datasets/squad                    copies=3 where=lan,site-b,s3

A list of follows (see `outlast.features.watch.follows`) is written in the same way. Its lines may
name patterns, and say with how many bytes and how urgently they are archived; `budget=` and
`priority=` may stand in a keep-list too, so that one file serves both.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from outlast.core.errors import BadListError, BadNameError
from outlast.core.names import RepoId, Target
from outlast.core.sizes import bytes_of

MAX_BYTES: Final = 1 << 20
MAX_MODELS: Final = 10_000
MAX_GLOBS: Final = 100
"""Of one line."""
MAX_GLOB: Final = 1024
"""Characters of a glob: no path is longer."""
MAX_COPIES: Final = 100

_BLANKS: Final = " \t"
_SHOWN: Final = 80
"""Characters of a wrong word that a message repeats."""
_FORM: Final = "a line is org/name[@ref] [include=GLOB ...] [exclude=GLOB ...]"
_PATTERN: Final = re.compile(r"(search|collections)[:/]|.*/\*\Z")
_KEYS: Final = ("include", "exclude", "budget", "priority", "copies", "where")
_SITE: Final = re.compile("[a-z0-9][a-z0-9._-]{0,31}")
SITE_HINT: Final = "a site is up to 32 small letters, digits, '.', '_' and '-', as site-b"
_FOR_FOLLOWS: Final = (
    "patterns are for 'outlast follow', and for lists that the setting watch.lists names"
)


class Priority(StrEnum):
    """What goes first where not all can be polled or archived at once."""

    HIGH = "high"
    NORMAL = "normal"
    LOW = "low"


@dataclass(frozen=True, slots=True, order=True)
class Goal:
    """How many copies of a model there are to be on nodes of one operator. With `where` they are at
    these sites: at least one at each, and none counts that is elsewhere.
    """

    copies: int
    where: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ListLine:
    """What the line of this `number` (from 1) says: the name or pattern of its first word, and what
    stands after it. `where` names the line in messages.
    """

    number: int
    where: str
    name: str
    globs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Those that begin with ``include=`` and with ``exclude=``, by that word."""
    budget: int | None = None
    """Bytes."""
    priority: Priority = Priority.NORMAL
    goal: Goal | None = None


@dataclass(frozen=True, slots=True)
class KeepLine:
    """What the line of this `number` (from 1) asks for: a model, and which of its files, as globs;
    without globs all. `goal`: how many copies of that, on this and other nodes.
    """

    number: int
    target: Target
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    goal: Goal | None = None

    @property
    def ref(self) -> str:
        """The branch, tag or commit that is meant."""
        return self.target.ref or "main"


def parse_keep_list(data: bytes, name: str) -> tuple[KeepLine, ...]:
    """The lines of a keep-list that name a model, in their order. `name` is that of the file, for
    messages. Raises :class:`BadListError` for the first line that is wrong, and for a list that
    names nothing: such a list is more likely a mishap than a wish.
    """
    found: list[KeepLine] = []
    lines_of: dict[tuple[RepoId, str], int] = {}
    for said in read_lines(data, name):
        globs = said.globs
        target = _target(said)
        line = KeepLine(said.number, target, globs["include"], globs["exclude"], said.goal)
        key = (line.target.repo.folded, line.ref)
        if (first := lines_of.setdefault(key, line.number)) != line.number:
            raise BadListError(
                f"{said.where}: {line.target} is on line {first} already",
                hint="write all globs of a model on one line",
            )
        found.append(line)
    if not found:
        raise BadListError(f"{name} names no model", hint=_FORM)
    return tuple(found)


def _target(line: ListLine) -> Target:
    try:
        return Target.parse(line.name)
    except BadNameError as error:
        hint = _FOR_FOLLOWS if _PATTERN.match(line.name) else error.hint
        raise BadListError(f"{line.where}: {error}", hint=hint) from None


def read_lines(data: bytes, name: str) -> Iterator[ListLine]:
    """The lines of a list that are neither blank nor comments, in their order; the first word of
    each may still be anything that can be printed. Raises :class:`BadListError` for what is wrong,
    and for more than `MAX_MODELS` lines.
    """
    count = 0
    for number, text in texts(data, name):
        line = _parse(number, text, f"{name}, line {number}")
        if line is None:
            continue
        count += 1
        if count > MAX_MODELS:
            raise BadListError(
                f"{line.where}: more than {MAX_MODELS:,} models",
                hint="split it into several lists",
            )
        yield line


def texts(data: bytes, name: str) -> Iterator[tuple[int, str]]:
    """The lines with their numbers. They end in LF or CR LF; a byte order mark may come first.
    Raises :class:`BadListError` where `data` is too large or no text.
    """
    if len(data) > MAX_BYTES:
        raise BadListError(
            f"{name} has more than {MAX_BYTES} bytes", hint="split it into several lists"
        )
    for number, raw in enumerate(data.removeprefix(b"\xef\xbb\xbf").split(b"\n"), 1):
        try:
            text = raw.removesuffix(b"\r").decode()
        except UnicodeDecodeError:
            raise BadListError(
                f"{name}, line {number}: not UTF-8", hint="save the list as UTF-8"
            ) from None
        yield number, text


def _parse(number: int, text: str, where: str) -> ListLine | None:
    """None if the line is blank or a comment."""
    words = [word for word in re.split(f"[{_BLANKS}]+", text) if word]
    comment = next((at for at, word in enumerate(words) if word.startswith("#")), len(words))
    del words[comment:]
    if not words:
        return None
    for word in words:
        if not word.isprintable():
            raise BadListError(f"{where}: a character that cannot be printed: {_shown(word)}")
    if len(words) - 1 > MAX_GLOBS:
        raise BadListError(f"{where}: more than {MAX_GLOBS} globs", hint="use wider globs")
    given: dict[str, list[str]] = {key: [] for key in _KEYS}
    for word in words[1:]:
        key, equals, value = word.partition("=")
        if key not in given or not equals or not 0 < len(value) <= MAX_GLOB:
            raise BadListError(f"{where}: not include=GLOB or exclude=GLOB: {_shown(word)}",
                               hint=f"{_FORM}; write a space in a glob as ?")  # fmt: skip
        given[key].append(value)
    return ListLine(
        number,
        where,
        words[0],
        {key: tuple(given[key]) for key in ("include", "exclude")},
        _budget(_one(given, "budget", where), where),
        _priority(_one(given, "priority", where), where),
        _goal(_one(given, "copies", where), _one(given, "where", where), where),
    )


def _one(given: Mapping[str, list[str]], key: str, where: str) -> str:
    """The value of a word that a line may have once; empty if it is not there."""
    values = given[key]
    if len(values) > 1:
        raise BadListError(f"{where}: {key}= stands there twice", hint="leave one of them out")
    return values[0] if values else ""


def _budget(text: str, where: str) -> int | None:
    if not text:
        return None
    if (budget := bytes_of(text)) is None:
        raise BadListError(
            f"{where}: not a size: budget={_shown(text)}", hint="write it like budget=500GB"
        )
    return budget


def _priority(text: str, where: str) -> Priority:
    try:
        return Priority(text or Priority.NORMAL)
    except ValueError:
        known = ", ".join(f"priority={one}" for one in Priority)
        raise BadListError(f"{where}: not a priority: {_shown(text)}", hint=known) from None


def _goal(copies: str, sites: str, where: str) -> Goal | None:
    if not copies:
        if sites:
            raise BadListError(
                f"{where}: where= without copies=", hint="write it like copies=2 where=lan,site-b"
            )
        return None
    if not re.fullmatch("[1-9][0-9]{0,2}", copies) or int(copies) > MAX_COPIES:
        raise BadListError(
            f"{where}: not a number of copies: copies={_shown(copies)}",
            hint=f"write it like copies=3, up to {MAX_COPIES}",
        )
    names = tuple(sites.split(",")) if sites else ()
    if wrong := [name for name in names if not is_site(name)]:
        raise BadListError(f"{where}: not the name of a site: {_shown(wrong[0])}", hint=SITE_HINT)
    if len({*names}) < len(names):
        raise BadListError(f"{where}: a site stands there twice", hint="leave one of them out")
    if len(names) > int(copies):
        raise BadListError(
            f"{where}: {len(names)} sites for copies={copies}",
            hint=f"each site gets a copy: write copies={len(names)}, or fewer sites",
        )
    return Goal(int(copies), names)


def is_site(name: str) -> bool:
    """Whether `name` may be that of a site."""
    return _SITE.fullmatch(name) is not None


def _shown(word: str) -> str:
    return repr(word if len(word) <= _SHOWN else word[:_SHOWN] + "…")
