"""A catalogue of 20,000 revisions, followed by ours and by python-tuf.

A full sync is from a local folder, in seconds of CPU time: ours fetches and verifies all lists,
writes them durably, and indexes all names; python-tuf's client refreshes, and looks all names up.
Each is a process of its own (`case_ours`, `case_theirs`), so that its memory is its own, too.
"""

import hashlib
from datetime import UTC, datetime
from pathlib import Path

from bench.trust.paths import PATHS
from outlast.core.digest import Digest, GitOid
from outlast.core.names import RepoId
from outlast.features.trust.catalogue.entries import CatalogueEntry
from outlast.features.trust.catalogue.making.keyfiles import KeyRing
from outlast.features.trust.catalogue.making.making import InitWishes, init
from outlast.features.trust.catalogue.making.publish import publish
from outlast.features.trust.catalogue.making.staging import read_staged, write_staged
from outlast.features.trust.catalogue.names import TargetName
from outlast.features.trust.catalogue.places import FolderPlace
from outlast.features.trust.catalogue.sync import sync


class Stand:
    """A catalogue with so many revisions, of a hundredth as many organisations."""

    def __init__(self, root: Path, count: int) -> None:
        self.root = root
        self.folder = root / "catalogue"
        self.now = datetime.now(UTC).replace(microsecond=0)
        keys = root / "keys"
        init(self.folder, "bench", keys, wishes=InitWishes(), passphrase=None, now=self.now)
        self.ring = KeyRing([keys], lambda path: path.name.encode())
        self.names = [f"org{n % (count // 100)}/model-{n}" for n in range(count)]
        paths = (_entry(name).name.path for name in self.names)
        (root / PATHS).write_text("\n".join(paths))
        self.publish(*self.names)

    def publish(self, *names: str) -> None:
        staged = read_staged(self.folder)
        for name in names:
            staged.add(_entry(name))
        write_staged(self.folder, staged)
        publish(self.folder, self.ring, self.now)

    def one_change(self, home: Path) -> int:
        """Bytes that the follower in `home` receives for one more revision."""
        self.names.append("org0/one-more")
        self.publish(self.names[-1])
        done = sync(home, "bench", FolderPlace(self.folder), datetime.now(UTC))
        assert len(done.added) == 1
        return done.received


def _entry(name: str) -> CatalogueEntry:
    revision = hashlib.sha1(name.encode()).hexdigest()
    target = TargetName(RepoId.parse(name), GitOid(revision))
    manifest = Digest.of(name.encode())
    source = ("https://huggingface.co",)
    return CatalogueEntry(target, manifest, 3000, 1, 12, 16_000_000_000, source)
