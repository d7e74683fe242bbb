"""Manifests of revisions that were removed, while evidence of them is kept: without the manifest it
could not be checked any more. A sealed file each, `trust/removed/<sha256>`: a line with the time,
and the bytes of the manifest.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from outlast.core.digest import Digest
from outlast.core.errors import CorruptError, IntegrityError, MalformedError, one_line
from outlast.core.manifest import Revision
from outlast.store import disk
from outlast.store.layout import Layout
from outlast.store.records.sealed import seal, unseal

MOST_MANIFEST: Final = 256 << 20
"""Bytes: a manifest of the most files that one may have."""
_MODE: Final = 0o644


@dataclass(frozen=True, slots=True)
class RemovedRevision:
    """A revision that is here no more, since `removed` (ISO 8601, UTC)."""

    revision: Revision
    removed: str


class RemovedManifests:
    """Those of an archive. Safe with other processes: a file appears whole or not at all."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    def note(self, manifest: Digest, data: bytes, when: str) -> None:
        """Keeps the bytes of a manifest that is about to go."""
        path = self._path(manifest)
        body = when.encode() + b"\n" + data
        with disk.reporting(path):
            disk.make_dir(path.parent)
            temp = path.with_name(f".{path.name}.part")
            name = self._layout.name_of(path)
            disk.write_temp(temp, seal(name, body), _MODE)
            disk.publish(temp, path)

    def of(self, manifest: Digest) -> RemovedRevision | None:
        """The revision of a manifest that was removed. Raises :class:`CorruptError`."""
        path = self._path(manifest)
        with disk.reporting(path):
            data = disk.read_plain(path, MOST_MANIFEST)
        if data is None:
            return None
        body = unseal(self._layout.name_of(path), data)
        if body is None:
            raise CorruptError(f"{path} has changed")
        when, _, text = body.partition(b"\n")
        try:
            revision = Revision.from_bytes(text)
        except (MalformedError, IntegrityError) as error:
            raise CorruptError(f"{path} holds no manifest: {error}") from None
        if Digest.of(text) != manifest:
            raise CorruptError(f"{path} holds another manifest")
        return RemovedRevision(revision, one_line(when.decode("ascii", "replace"), 40))

    def names(self) -> Iterator[Digest]:
        """The manifests that are kept so, and are not here again, by name."""
        for name in sorted(filter(Digest.is_valid, disk.listed(self._root))):
            if not self._layout.manifest(Digest(name)).exists():
                yield Digest(name)

    def holds(self, manifest: Digest) -> bool:
        """Whether a manifest is kept so."""
        return self._path(manifest).exists()

    def delete(self, manifest: Digest) -> None:
        with disk.reporting(self._path(manifest)):
            disk.remove(self._path(manifest))

    @property
    def _root(self) -> Path:
        return self._layout.trust / "removed"

    def _path(self, manifest: Digest) -> Path:
        return self._root / manifest.hex
