"""What `pull`, `locate` and `search` ask: light, until a catalogue is followed."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from outlast.core.errors import NotFoundError
from outlast.core.names import RepoId
from outlast.core.offer import Offer
from outlast.features.trust.catalogue.folders import followed_names
from outlast.features.trust.catalogue.library import has_library, require_tuf
from outlast.sources.base import Source
from outlast.sources.http import HttpClient

if TYPE_CHECKING:
    from outlast.features.trust.catalogue.using.source import CatalogueSource


def _source(home: Path, http: HttpClient, name: str = "") -> "CatalogueSource":
    require_tuf()
    from outlast.features.trust.catalogue.using import source  # noqa: PLC0415 - of [trust]

    return source.CatalogueSource(home, http, name)


def _is_used(home: Path) -> bool:
    """Whether anything is followed, and can be read."""
    return bool(followed_names(home)) and has_library()


class CatalogueFinder:
    """Implements :class:`outlast.cli.feature.Finder`."""

    word: Final = "catalogue"

    def sources(self, home: Path, http: HttpClient, words: Sequence[str]) -> list[Source]:
        known = followed_names(home)
        names = [word.partition(":")[2] for word in words]
        for name in names:
            if name and name not in known:
                raise NotFoundError(
                    f"no catalogue {name[:60]!r} is followed",
                    hint="'outlast catalogue ls' lists them",
                )
        if not known or not (words or has_library()):
            return []
        return [_source(home, http, name) for name in (names or [""])]

    def sources_of(self, home: Path, http: HttpClient, repo: RepoId) -> list[Source]:
        return _source(home, http).sources_of(repo) if _is_used(home) else []

    def disputes(self, home: Path, http: HttpClient, repo: RepoId) -> list[str]:
        return _source(home, http).disputes(repo) if _is_used(home) else []

    def offers(self, home: Path, http: HttpClient, query: str) -> list[tuple[str, Offer]]:
        return _source(home, http).offers(query) if _is_used(home) else []


FINDER: Final = CatalogueFinder()
