"""Retired words: words.toml lists them, and what to write instead."""

import re
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from tests.lint.sources import ROOT

_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
GLOBS: tuple[str, ...] = ("src/**/*.py", "src/**/*.pyi", "native/**/*", "docs/**/*.md", "*.md")
GLOBS += tuple(
    f"{folder}/**/*.{kind}" for folder in ("tests", "bench", "demo") for kind in ("py", "md")
)


@dataclass(frozen=True)
class Word:
    """A retired word. A pattern without capitals matches in any case."""

    pattern: re.Pattern[str]
    instead: str

    @classmethod
    def of(cls, pattern: str, instead: str) -> "Word":
        flags = 0 if re.search("[A-Z]", pattern) else re.IGNORECASE
        return cls(re.compile(rf"(?<![A-Za-z])(?:{pattern})(?![A-Za-z])", flags), instead)


@dataclass(frozen=True)
class Rules:
    """`kept` are (glob of paths, text) that stand for something else there."""

    words: tuple[Word, ...]
    kept: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Use:
    """A retired word in a line of a file."""

    path: str
    line: int
    text: str
    instead: str


def load(table: Path = Path(__file__).parent / "words.toml") -> Rules:
    """The rules in `table`."""
    document = tomllib.loads(table.read_text())
    return Rules(
        words=tuple(Word.of(pattern, instead) for pattern, instead in document["words"].items()),
        kept=tuple((entry["path"], entry["text"]) for entry in document["kept"]),
    )


def uses_in(path: str, text: str, rules: Rules) -> Iterator[Use]:
    """Every retired word in the text of the file `path`; names in camel case are taken apart."""
    kept = {word.lower() for glob, word in rules.kept if fnmatchcase(path, glob)}
    for number, line in enumerate(text.splitlines(), start=1):
        spaced = _CAMEL.sub(" ", line)
        for word in rules.words:
            for match in word.pattern.finditer(spaced):
                if match[0].lower() not in kept:
                    yield Use(path, number, match[0], word.instead)


def uses(rules: Rules, root: Path = ROOT) -> Iterator[Use]:
    """Every retired word in the sources and documents below `root`."""
    files = {file for glob in GLOBS for file in root.glob(glob) if file.is_file()}
    for file in sorted(files):
        path = file.relative_to(root).as_posix()
        yield from uses_in(path, file.read_text(), rules)


def retired(found: Iterable[Use]) -> list[str]:
    """A message for each use."""
    return [f"{use.path}:{use.line}: {use.text!r} is retired: {use.instead}" for use in found]
