"""What is to be published next: entries that were added to an own catalogue, and those to remove.

They lie in one small file beside its metadata. The manifests of added entries are put in place
below ``targets/`` at once: until an entry is published, nothing refers to them.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tuf.api.metadata import TargetFile

from outlast.core.digest import Digest
from outlast.core.errors import CorruptError, MalformedError
from outlast.core.manifest import Revision, load_json
from outlast.features.trust.catalogue.entries import CatalogueEntry
from outlast.features.trust.catalogue.folders import read_small, write_small
from outlast.features.trust.catalogue.names import TargetName, target_path
from outlast.store import disk
from outlast.store.archive import Archive

_NAME: Final = "staged.json"
_LIMIT: Final = 256 << 20
_MODE: Final = 0o644


@dataclass(slots=True)
class Staged:
    """Entries to add, by their paths; and paths to remove."""

    added: dict[str, CatalogueEntry] = field(default_factory=dict)
    removed: set[str] = field(default_factory=set)

    def __bool__(self) -> bool:
        return bool(self.added or self.removed)

    def add(self, entry: CatalogueEntry) -> None:
        self.removed.discard(entry.name.path)
        self.added[entry.name.path] = entry

    def remove(self, path: str) -> None:
        self.added.pop(path, None)
        self.removed.add(path)


def read_staged(folder: Path) -> Staged:
    """Raises :class:`CorruptError`."""
    path = folder / _NAME
    data = read_small(path, _LIMIT)
    if data is None:
        return Staged()
    try:
        said = load_json(data, _LIMIT)
        found = Staged(removed={str(TargetName.parse(one).path) for one in said["removed"]})
        for where, target in said["added"].items():
            found.add(CatalogueEntry.of_target(where, TargetFile.from_dict(target, where)))
    except (MalformedError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise CorruptError(
            f"{path} cannot be read: {error}", hint="remove it, and add the models again"
        ) from error
    return found


def write_staged(folder: Path, staged: Staged) -> None:
    added: dict[str, Any] = {
        path: entry.to_target().to_dict() for path, entry in staged.added.items()
    }
    document = {"added": added, "removed": sorted(staged.removed)}
    write_small(folder / _NAME, json.dumps(document, indent=1).encode())


def clear_staged(folder: Path) -> None:
    with disk.reporting(folder):
        disk.remove_durably(folder / _NAME)


def put_manifest(folder: Path, archive: Archive, digest: Digest, name: TargetName) -> int:
    """Puts the manifest of an archived revision where the catalogue has it; its bytes."""
    source = archive.layout.manifest(digest)
    final = folder / target_path(name.path, digest.hex)
    with disk.reporting(final):
        data = source.read_bytes()
        if Digest.of(data) != digest:
            raise CorruptError(
                f"the manifest {digest.short}… is damaged", hint="'outlast scrub' may mend it"
            )
        if not final.exists():
            write_small(final, data, _MODE)
    return len(data)


def name_of(revision: Revision) -> TargetName:
    """How a catalogue names a revision."""
    return TargetName(revision.repo, revision.id)
