"""Keep-lists: text files that say which models an archive is to hold, a model a line.

::

    # models.txt
    Qwen/Qwen3-0.6B
    meta-llama/Llama-3.2-1B@v1.0      exclude=original/*
    unsloth/gemma-3-GGUF              include=*Q4_K_M* include=*.json
    datasets/squad
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from outlast.core.errors import BadListError, BadNameError
from outlast.core.names import RepoId, Target

MAX_BYTES: Final = 1 << 20
MAX_MODELS: Final = 10_000
MAX_GLOBS: Final = 100
"""Of one line."""
MAX_GLOB: Final = 1024
"""Characters of a glob: no path is longer."""

_BLANKS: Final = " \t"
_SHOWN: Final = 80
"""Characters of a wrong word that a message repeats."""
_FORM: Final = "a line is org/name[@ref] [include=GLOB ...] [exclude=GLOB ...]"


@dataclass(frozen=True, slots=True)
class KeepLine:
    """What the line of this `number` (from 1) asks for: a model, and which of its files, as globs;
    without globs all.
    """

    number: int
    target: Target
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    @property
    def ref(self) -> str:
        """The branch, tag or commit that is meant."""
        return self.target.ref or "main"


def parse_keep_list(data: bytes, name: str) -> tuple[KeepLine, ...]:
    """The lines of a keep-list that name a model, in their order. `name` is that of the file, for
    messages. Raises :class:`BadListError` for the first line that is wrong, and for a list that
    names nothing: such a list is more likely a mishap than a wish.
    """
    if len(data) > MAX_BYTES:
        raise BadListError(
            f"{name} has more than {MAX_BYTES} bytes", hint="split it into several lists"
        )
    found: list[KeepLine] = []
    lines_of: dict[tuple[RepoId, str], int] = {}
    for number, text in _texts(data, name):
        where = f"{name}, line {number}"
        line = _parse(number, text, where)
        if line is None:
            continue
        key = (_folded(line.target.repo), line.ref)
        if (first := lines_of.setdefault(key, number)) != number:
            raise BadListError(
                f"{where}: {line.target} is on line {first} already",
                hint="write all globs of a model on one line",
            )
        found.append(line)
        if len(found) > MAX_MODELS:
            raise BadListError(
                f"{where}: more than {MAX_MODELS:,} models", hint="split it into several lists"
            )
    if not found:
        raise BadListError(f"{name} names no model", hint=_FORM)
    return tuple(found)


def _texts(data: bytes, name: str) -> Iterator[tuple[int, str]]:
    """The lines with their numbers. They end in LF or CR LF; a byte order mark may come first."""
    for number, raw in enumerate(data.removeprefix(b"\xef\xbb\xbf").split(b"\n"), 1):
        try:
            text = raw.removesuffix(b"\r").decode()
        except UnicodeDecodeError:
            raise BadListError(
                f"{name}, line {number}: not UTF-8", hint="save the list as UTF-8"
            ) from None
        yield number, text


def _parse(number: int, text: str, where: str) -> KeepLine | None:
    """None if the line is blank or a comment."""
    words = [word for word in re.split(f"[{_BLANKS}]+", text) if word]
    comment = next((at for at, word in enumerate(words) if word.startswith("#")), len(words))
    del words[comment:]
    if not words:
        return None
    for word in words:
        if not word.isprintable():
            raise BadListError(f"{where}: a character that cannot be printed: {_shown(word)}")
    try:
        target = Target.parse(words[0])
    except BadNameError as error:
        raise BadListError(f"{where}: {error}", hint=error.hint) from None
    globs: dict[str, list[str]] = {"include": [], "exclude": []}
    for word in words[1:]:
        key, equals, glob = word.partition("=")
        if key not in globs or not equals or not 0 < len(glob) <= MAX_GLOB:
            raise BadListError(f"{where}: not include=GLOB or exclude=GLOB: {_shown(word)}",
                               hint=f"{_FORM}; write a space in a glob as ?")  # fmt: skip
        globs[key].append(glob)
    if len(words) - 1 > MAX_GLOBS:
        raise BadListError(f"{where}: more than {MAX_GLOBS} globs", hint="use wider globs")
    return KeepLine(number, target, tuple(globs["include"]), tuple(globs["exclude"]))


def _folded(repo: RepoId) -> RepoId:
    """For hubs, names that differ only in case are one model."""
    return RepoId(repo.kind, repo.name.lower())


def _shown(word: str) -> str:
    return repr(word if len(word) <= _SHOWN else word[:_SHOWN] + "…")
