"""Which names a followed catalogue lists, and in which list: derived from its lists, which are
signed, and made anew where it does not fit them. It says where to look, and nothing else.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from outlast.core.errors import CorruptError, MalformedError
from outlast.core.manifest import load_json
from outlast.core.names import RepoId
from outlast.features.trust.catalogue.folders import read_small, write_small
from outlast.features.trust.catalogue.names import TargetName
from outlast.features.trust.catalogue.tuning import TUNING
from outlast.store.records.sealed import seal, unseal

INDEX_FILE: Final = "index.json"
"""In the folder of a followed catalogue."""
_VERSION: Final = 1
_PER_ENTRY: Final = 400
"""Bytes of an entry, at most nearly always: a path has at most 250."""


@dataclass(slots=True)
class IndexedList:
    """A list at a version, signed for by its delegator at another: which paths count in it, and
    which entries were left out.
    """

    version: int
    above: int
    delegator: str
    paths: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()


@dataclass(slots=True)
class CatalogueIndex:
    """All lists of a catalogue, by name."""

    lists: dict[str, IndexedList] = field(default_factory=dict)

    @property
    def count(self) -> int:
        return sum(len(found.paths) for found in self.lists.values())

    @property
    def refused(self) -> list[str]:
        return [text for found in self.lists.values() for text in found.refused]

    def by_model(self) -> dict[RepoId, list[tuple[str, str]]]:
        """For each model, its name folded: the path of each revision, and the list that has it."""
        found: dict[RepoId, list[tuple[str, str]]] = {}
        for name, one in self.lists.items():
            for path in one.paths:
                found.setdefault(TargetName.parse(path).repo.folded, []).append((path, name))
        return found


def read_index(folder: Path) -> CatalogueIndex:
    """What was derived; nothing where that cannot be read."""
    try:
        data = read_small(folder / INDEX_FILE, TUNING.entries * _PER_ENTRY)
        if data is None:
            return CatalogueIndex()
        body = unseal(INDEX_FILE, data)
        if body is None:
            return CatalogueIndex()
        said = load_json(body, TUNING.entries * _PER_ENTRY)
        if said["v"] != _VERSION:
            return CatalogueIndex()
        return CatalogueIndex({name: _read(one) for name, one in said["lists"].items()})
    except (CorruptError, MalformedError, KeyError, TypeError, ValueError, AttributeError):
        return CatalogueIndex()


def _read(one: Any) -> IndexedList:
    return IndexedList(
        int(one["version"]),
        int(one["above"]),
        str(one["delegator"]),
        tuple(map(str, one["paths"])),
        tuple(map(str, one["refused"])),
    )


def write_index(folder: Path, index: CatalogueIndex) -> None:
    lists = {
        name: {
            "version": one.version,
            "above": one.above,
            "delegator": one.delegator,
            "paths": one.paths,
            "refused": one.refused,
        }
        for name, one in index.lists.items()
    }
    data = json.dumps({"v": _VERSION, "lists": lists}, separators=(",", ":")).encode()
    write_small(folder / INDEX_FILE, seal(INDEX_FILE, data + b"\n"))
