"""Who is behind a name on a hub: the table of the package, and before it the operator's."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

import msgspec

from outlast.core.errors import BadConfigError
from outlast.core.names import RepoId
from outlast.features.trust.rules.countries import COUNTRIES, UNKNOWN
from outlast.features.trust.rules.data_files import packaged, parse_toml, read_bounded

_FILE: Final = "publishers.toml"


@dataclass(frozen=True, slots=True)
class Publisher:
    """An organisation of a hub, and what is known of it. `country` is two letters of ISO 3166-1, of
    the country from which `legal_entity` is run; `parent` owns it ("": nothing that is known).
    `checked`: the day on which the entity's name was compared with a text, and which one; empty: it
    was not.
    """

    organisation: str
    legal_entity: str = UNKNOWN
    country: str = UNKNOWN
    parent: str = ""
    source: str = ""
    date: str = ""
    checked: str = ""


class PublisherRow(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="kebab"
):
    """One table of the file."""

    entity: str = UNKNOWN
    country: str = UNKNOWN
    parent: str = ""
    source: str
    date: str
    checked: str = ""


class _PublishersFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    publishers: dict[str, PublisherRow]


class Publishers:
    """Finds publishers by the first part of a model's name, in upper or lower case."""

    def __init__(self, rows: Mapping[str, Publisher]) -> None:
        self._rows = rows

    def of(self, repo: RepoId) -> Publisher:
        """The publisher of a model; what is not known of it is "unknown"."""
        return self.named(organisation(repo))

    def named(self, organisation: str) -> Publisher:
        """The same of an organisation."""
        return self._rows.get(organisation.lower()) or Publisher(organisation.lower())

    def __len__(self) -> int:
        return len(self._rows)


def organisation(repo: RepoId) -> str:
    """Who published a model: the first part of its name, in lower case; empty for the oldest
    models, which have one part.
    """
    first, slash, _ = repo.name.lower().partition("/")
    return first if slash else ""


def read_publishers(path: Path | None) -> Publishers:
    """The table of the package, with the rows of the operator's file `path` in place of its own.
    Raises :class:`BadConfigError`.
    """
    own: dict[str, Publisher] = {}
    if path is not None:
        own = _parse(read_bounded(path, "publishers"), str(path))
    return Publishers({**_packaged(), **own})


@cache
def _packaged() -> Mapping[str, Publisher]:
    return _parse(packaged(_FILE), _FILE)


def _parse(data: bytes | str, where: str) -> dict[str, Publisher]:
    found: dict[str, Publisher] = {}
    for name, row in parse_toml(_PublishersFile, data, where).publishers.items():
        if row.country not in {*COUNTRIES, UNKNOWN}:
            raise BadConfigError(
                f"{where}: {name}: not a country: {row.country[:50]!r}",
                hint="write two letters of ISO 3166-1, or unknown",
            )
        if name.lower() in found:
            raise BadConfigError(f"{where}: {name} is there twice")
        found[name.lower()] = Publisher(
            name.lower(),
            row.entity or UNKNOWN,
            row.country,
            row.parent,
            row.source,
            row.date,
            row.checked,
        )
    return found
