"""A catalogue of 20,000 revisions, followed by ours and by python-tuf.

A full sync is from a local folder, in seconds of CPU time: ours fetches and verifies all lists,
writes them durably, and indexes all names; python-tuf's client refreshes, and looks all names up.
Each is a process of its own (`bench.trust.worker`), so that its memory is its own, too.
"""

import hashlib
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from tuf.api.exceptions import DownloadHTTPError
from tuf.ngclient import Updater
from tuf.ngclient.fetcher import FetcherInterface

from outlast.core.digest import Digest, GitOid
from outlast.core.names import RepoId
from outlast.features.trust.catalogue.entries import CatalogueEntry
from outlast.features.trust.catalogue.making.keyfiles import KeyRing
from outlast.features.trust.catalogue.making.making import InitWishes, init
from outlast.features.trust.catalogue.making.publish import publish
from outlast.features.trust.catalogue.making.staging import read_staged, write_staged
from outlast.features.trust.catalogue.names import TargetName
from outlast.features.trust.catalogue.places import FolderPlace
from outlast.features.trust.catalogue.sync import follow, sync

_NAMES: Final = "names.txt"


class LocalFetcher(FetcherInterface):
    """python-tuf's client on a local folder."""

    def _fetch(self, url: str) -> Iterator[bytes]:
        try:
            yield Path(unquote(urlsplit(url).path)).read_bytes()
        except FileNotFoundError:
            raise DownloadHTTPError("there is none", 404) from None


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
        (root / _NAMES).write_text("\n".join(self.names))
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


def full_sync(folder: Path, home: Path) -> float:
    """Ours, into an empty archive in `home`, in seconds of CPU time."""
    home.mkdir()
    place, now = FolderPlace(folder), datetime.now(UTC)
    began = time.process_time()
    follow(home, "bench", place, _first_root(folder), now)
    done = sync(home, "bench", place, now)
    took = time.process_time() - began
    assert done.entries == len(_names(folder))
    return took


def peers_sync(folder: Path, home: Path) -> float:
    """The same work of python-tuf's client: what it looks up it has verified."""
    home.mkdir()
    paths = [_entry(name).name.path for name in _names(folder)]
    began = time.process_time()
    client = Updater(
        str(home),
        f"file://{folder}/metadata/",
        fetcher=LocalFetcher(),
        bootstrap=_first_root(folder),
    )
    client.refresh()
    found = sum(client.get_targetinfo(path) is not None for path in paths)
    took = time.process_time() - began
    assert found == len(paths)
    return took


def _first_root(folder: Path) -> bytes:
    return (folder / "metadata" / "1.root.json").read_bytes()


def _names(folder: Path) -> list[str]:
    return (folder.parent / _NAMES).read_text().split()


def _entry(name: str) -> CatalogueEntry:
    revision = hashlib.sha1(name.encode()).hexdigest()
    target = TargetName(RepoId.parse(name), GitOid(revision))
    manifest = Digest.of(name.encode())
    source = ("https://huggingface.co",)
    return CatalogueEntry(target, manifest, 3000, 1, 12, 16_000_000_000, source)
