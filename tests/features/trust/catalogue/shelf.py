"""A catalogue for tests: an operator, its keys, and entries without archives behind them."""

import hashlib
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from outlast.core.digest import Digest, GitOid
from outlast.core.errors import UsageError
from outlast.core.names import RepoId
from outlast.features.trust.catalogue.entries import CatalogueEntry
from outlast.features.trust.catalogue.making.keyfiles import KeyRing, new_key, read_public
from outlast.features.trust.catalogue.making.making import (
    InitWishes,
    MadeCatalogue,
    init,
    set_publisher,
)
from outlast.features.trust.catalogue.making.publish import Published, locked, publish
from outlast.features.trust.catalogue.making.staging import read_staged, write_staged
from outlast.features.trust.catalogue.names import TargetName, target_path
from outlast.features.trust.catalogue.places import FolderPlace
from outlast.features.trust.catalogue.sync import Synced, follow, sync

NOW = datetime(2031, 5, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)


def refuse_to_ask(path: Path) -> bytes:
    raise UsageError(f"asked for the passphrase of {path}")


def entry(
    name: str, sequence: int = 1, *, data: bytes = b"{}", sources: tuple[str, ...] = ()
) -> CatalogueEntry:
    """An entry of ``org/name``; its revision follows from the name and the sequence."""
    revision = GitOid(hashlib.sha1(f"{name} {sequence}".encode()).hexdigest())
    target = TargetName(RepoId.parse(name), revision)
    return CatalogueEntry(target, Digest.of(data), len(data), sequence, 2, 1000, sources)


@dataclass
class Shelf:
    """A catalogue in `root`/catalogue, with its keys in `root`/keys."""

    root: Path
    now: datetime = NOW
    wishes: InitWishes = field(default_factory=InitWishes)

    @property
    def folder(self) -> Path:
        return self.root / "catalogue"

    @property
    def keys(self) -> Path:
        return self.root / "keys"

    def init(self) -> MadeCatalogue:
        return init(
            self.folder, "acme", self.keys, wishes=self.wishes, passphrase=None, now=self.now
        )

    def ring(self, *folders: Path) -> KeyRing:
        return KeyRing(folders or [self.keys], refuse_to_ask)

    def stage(self, *entries: CatalogueEntry, data: bytes | None = None) -> None:
        """Without `data` their manifests are not there."""
        with locked(self.folder):
            staged = read_staged(self.folder)
            for one in entries:
                staged.add(one)
                if data is not None:
                    path = self.folder / target_path(one.name.path, one.manifest.hex)
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_bytes(data)
            write_staged(self.folder, staged)

    def unstage(self, *paths: str) -> None:
        staged = read_staged(self.folder)
        for path in paths:
            staged.remove(path)
        write_staged(self.folder, staged)

    def publish(self, *entries: CatalogueEntry, ring: KeyRing | None = None) -> Published:
        if entries:
            self.stage(*entries)
        return publish(self.folder, ring or self.ring(), self.now)

    def publisher(self, organisation: str, *names: str, threshold: int = 1) -> Path:
        """A publisher with a key of each name; the folder of the keys."""
        folder = self.root / f"keys of {organisation}"
        for name in names:
            if not (folder / f"{name}.pem").exists():
                new_key(folder / f"{name}.pem", None)
        keys = [read_public(folder / f"{name}.pub") for name in names]
        ring = self.ring(self.keys, folder)
        set_publisher(self.folder, organisation, keys, ring, self.now, threshold=threshold)
        return folder


def follow_it(home: Path, shelf: Shelf, *, root: bool = True) -> None:
    place = FolderPlace(shelf.folder)
    given = (shelf.folder / "metadata" / "1.root.json").read_bytes() if root else None
    follow(home, "acme", place, given, shelf.now)


def sync_it(home: Path, shelf: Shelf) -> Synced:
    return sync(home, "acme", FolderPlace(shelf.folder), shelf.now)
