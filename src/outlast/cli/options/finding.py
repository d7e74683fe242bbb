"""What features find, beside hubs and nodes: the words of ``--from`` that are theirs."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from outlast.cli.feature import Finder, Listed, finders
from outlast.sources.base import Source
from outlast.sources.http import HttpClient


@dataclass(frozen=True, slots=True)
class PlacesFound:
    """The words of ``--from``: those of features (`words`, with who answers), and the others."""

    by: tuple[Finder, ...]
    words: tuple[str, ...]
    others: tuple[str, ...]

    def sources(self, home: Path, http: HttpClient) -> list[Source]:
        """What to ask after the hubs: all that features have, or what the words name."""
        if self.others and not self.words:
            return []
        found: list[Source] = []
        for finder in self.by:
            own = [word for word in self.words if is_of(finder, word)]
            if own or not self.words:
                found += finder.sources(home, http, own)
        return found


def found_by(features: Sequence[Listed], words: Sequence[str]) -> PlacesFound:
    """Which of the words are whose."""
    by = tuple(finders(features))
    own = tuple(word for word in words if any(is_of(finder, word) for finder in by))
    return PlacesFound(by, own, tuple(word for word in words if word not in own))


def is_of(finder: Finder, word: str) -> bool:
    """Whether a word of ``--from`` is this feature's."""
    return word == finder.word or word.startswith(f"{finder.word}:")
