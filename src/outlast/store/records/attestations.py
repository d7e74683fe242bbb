"""Signed statements about manifests, as the files that were signed: who signed them, and whether
that counts, is not known here.

A statement lies in the folder of the manifest that it is about, under the sha256 of its own bytes:
a bit that rots is seen. It is never changed.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from outlast.core.digest import Digest
from outlast.core.errors import MalformedError, NotArchivedError, PolicyError
from outlast.store import disk
from outlast.store.layout import Layout
from outlast.store.writer import WriteSession

SUFFIX: Final = ".dsse.json"
MAX_ATTESTATION: Final = 1024 * 1024
"""Bytes of one. Guess: those of outlast take 1 to 4 KB, and 16 signatures by RSA 16 KB."""
MOST: Final = 256
"""Statements about one manifest. Guess: two observers who look once a month for ten years."""
MOST_FROM_OTHERS: Final = 192
"""Of these, how many may come from other archives, which could send any number of them: so there
is room for what the operator adds."""


@dataclass(frozen=True, slots=True)
class StoredAttestation:
    """The bytes of a statement that lies in the archive, and their sha256."""

    digest: Digest
    data: bytes


@dataclass(frozen=True, slots=True)
class AttestationFault:
    """A file below ``attestations/`` that is not what its name says."""

    path: Path
    why: str


class Attestations:
    """The statements of an archive. Thread-safe; several processes may add at once."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    @disk.reported
    def add(
        self, writer: WriteSession, manifest: Digest, data: bytes, *, most: int = MOST
    ) -> Digest | None:
        """Keeps a statement about a manifest that is here, durably; its digest, None where it was
        here already. Raises :class:`MalformedError` where it is too large,
        :class:`NotArchivedError` without the manifest, and :class:`PolicyError` where there are
        `most` statements about it.
        """
        if len(data) > MAX_ATTESTATION:
            raise MalformedError(f"a statement of {len(data)} bytes exceeds {MAX_ATTESTATION}")
        digest = Digest.of(data)
        path = self.path(manifest, digest)
        with disk.reporting(path):
            if not self._layout.manifest(manifest).exists():
                raise NotArchivedError(f"the manifest {manifest.short}… is not here")
            if path.exists():
                return None
            if len(self.names(manifest)) >= most:
                raise PolicyError(
                    f"there are {most} statements about {manifest.short}… already",
                    hint=f"delete those that are not needed: {path.parent}",
                )
            writer.write(path, data)
            disk.touch(self._layout.attestations)
        return digest

    @disk.reported
    def names(self, manifest: Digest) -> list[Digest]:
        """The statements about a manifest, by name; reads none of them."""
        found = (name.removesuffix(SUFFIX) for name in self._listed(manifest))
        return [Digest(name) for name in sorted(found) if Digest.is_valid(name)]

    def of(self, manifest: Digest) -> Iterator[StoredAttestation]:
        """The first `MOST` statements about a manifest, by name, one after the other. What is not
        what its name says is left out: `faults` tells.
        """
        for digest in self.names(manifest)[:MOST]:
            path = self.path(manifest, digest)
            with disk.reporting(path):
                data = _read(path)
            if data is not None and Digest.of(data) == digest:
                yield StoredAttestation(digest, data)

    def stamp(self, manifest: Digest) -> tuple[int, int] | None:
        """Changes with the statements about a manifest; None where there are none."""
        try:
            stat = os.stat(self._root / manifest.hex)
        except FileNotFoundError:
            return None
        return stat.st_mtime_ns, stat.st_ino

    def manifests(self) -> list[Digest]:
        """The manifests with a folder of statements, sorted."""
        found = sorted(filter(Digest.is_valid, disk.listed(self._root)))
        return [Digest(name) for name in found if (self._root / name).is_dir()]

    def faults(self) -> Iterator[AttestationFault]:
        """Files that are damaged, too large, or not ours."""
        for name in disk.listed(self._root):
            if not (Digest.is_valid(name) and (self._root / name).is_dir()):
                yield AttestationFault(self._root / name, "no folder of a manifest")
        for manifest in self.manifests():
            with disk.reporting(self._root / manifest.hex):
                names = sorted(self._listed(manifest))
            for name in names:
                path = self._root / manifest.hex / name
                digest = name.removesuffix(SUFFIX)
                if name == digest or not Digest.is_valid(digest):
                    yield AttestationFault(path, "no statement is called so")
                elif (data := _read(path)) is None:
                    yield AttestationFault(path, "it is no plain file, or is too large")
                elif Digest.of(data).hex != digest:
                    yield AttestationFault(path, "its bytes have changed")

    def garbage(
        self, *, dry_run: bool, keeps: Callable[[Digest, bytes], bool] = lambda _m, _d: False
    ) -> Iterator[tuple[str, int]]:
        """Deletes the statements about manifests that are not here any more, but those that it
        `keeps`; yields the path in the archive and the bytes of each.
        """
        for manifest in self.manifests():
            if self._layout.manifest(manifest).exists():
                continue
            for name in sorted(self._listed(manifest)):
                path = self._root / manifest.hex / name
                with disk.reporting(path):
                    data = _read(path)
                    if data is not None and keeps(manifest, data):
                        continue
                    size = path.lstat().st_size
                    if not dry_run:
                        disk.remove(path)
                        disk.remove_empty_parents(path, self._root)
                yield self._layout.name_of(path), size

    def delete(self, manifest: Digest) -> int:
        """Deletes all statements about a manifest; how many there were."""
        names = self._listed(manifest)
        for name in names:
            path = self._root / manifest.hex / name
            with disk.reporting(path):
                disk.remove(path)
                disk.remove_empty_parents(path, self._root)
        return len(names)

    def path(self, manifest: Digest, digest: Digest) -> Path:
        """The file of a statement."""
        return self._root / manifest.hex / f"{digest}{SUFFIX}"

    @property
    def _root(self) -> Path:
        return self._layout.attestations

    def _listed(self, manifest: Digest) -> list[str]:
        return disk.listed(self._root / manifest.hex)


def _read(path: Path) -> bytes | None:
    """The bytes of a file; None where it is too large, is no plain file, or went meanwhile."""
    data = disk.read_plain(path, MAX_ATTESTATION + 1)
    return None if data is None or len(data) > MAX_ATTESTATION else data
