"""Retired words: words.toml lists them, what to write instead, and the rooms that are done."""

import re
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from tests.lint.sources import PACKAGE, ROOT

_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
GLOBS = ("src/**/*.py", "src/**/*.pyi", "native/**/*", "docs/**/*.md", "*.md")


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
    """`done` are rooms that must be free of the words; `kept` are (glob of paths, text) that stand
    for something else there.
    """

    words: tuple[Word, ...]
    done: tuple[str, ...]
    kept: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Use:
    """A retired word in a line of a file."""

    room: str
    path: str
    line: int
    text: str
    instead: str


def load(table: Path = Path(__file__).parent / "words.toml") -> Rules:
    """The rules in `table`."""
    document = tomllib.loads(table.read_text())
    return Rules(
        words=tuple(Word.of(pattern, instead) for pattern, instead in document["words"].items()),
        done=tuple(document["done"]),
        kept=tuple((entry["path"], entry["text"]) for entry in document["kept"]),
    )


def room_of(path: str) -> str:
    """The folder of a module (below the package) or of a native file; a document is its own."""
    below = path.removeprefix(f"src/{PACKAGE}/")
    return below if below.endswith(".md") else below.rpartition("/")[0] or below


def uses_in(path: str, text: str, rules: Rules) -> Iterator[Use]:
    """Every retired word in the text of the file `path`; names in camel case are taken apart."""
    kept = {word.lower() for glob, word in rules.kept if fnmatchcase(path, glob)}
    for number, line in enumerate(text.splitlines(), start=1):
        spaced = _CAMEL.sub(" ", line)
        for word in rules.words:
            for match in word.pattern.finditer(spaced):
                if match[0].lower() not in kept:
                    yield Use(room_of(path), path, number, match[0], word.instead)


def uses(rules: Rules, root: Path = ROOT) -> Iterator[Use]:
    """Every retired word in the sources and documents below `root`."""
    files = {file for glob in GLOBS for file in root.glob(glob) if file.is_file()}
    for file in sorted(files):
        path = file.relative_to(root).as_posix()
        yield from uses_in(path, file.read_text(), rules)


def retired(rules: Rules, found: Iterable[Use]) -> list[str]:
    """A message for each use in a room that is done."""
    return [
        f"{use.path}:{use.line}: {use.text!r} is retired: {use.instead}"
        for use in found
        if use.room in rules.done
    ]


def counts(rules: Rules, found: Iterable[Use]) -> str:
    """A line for each room that has retired words: how many, and which."""
    rooms: dict[str, Counter[str]] = {}
    for use in found:
        rooms.setdefault(use.room, Counter())[use.text.lower()] += 1
    lines = []
    for room, words in sorted(rooms.items(), key=lambda item: -item[1].total()):
        listed = ", ".join(f"{word} {count}" for word, count in words.most_common())
        lines.append(f"{words.total():5} {room}{' (done)' * (room in rules.done)}: {listed}")
    return "\n".join(lines)
