"""`python -m bench.catalogue`: a catalogue of 20,000 revisions, followed by ours and by python-tuf.

A full sync is from a local folder, in seconds of CPU time: ours fetches and verifies all lists,
writes them durably, and indexes all names; python-tuf's client refreshes, and looks all names up.
Prints a table and writes bench/results/catalogue.json.
"""

import argparse
import hashlib
import os
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from tuf.api.exceptions import DownloadHTTPError
from tuf.ngclient import Updater
from tuf.ngclient.fetcher import FetcherInterface

from bench.rows import Row, Target, absolute, alternate, commit, machine, paired, print_table, write
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

ROOT: Final = Path(__file__).parent.parent.parent
RESULT: Final = ROOT / "bench" / "results" / "catalogue.json"
PEER: Final = "python-tuf"
_SYNC: Final = Target("≤", 3.0)
_BYTES: Final = Target("≤", 100_000, absolute=True)


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
        self._calls = 0
        self.publish(*self.names)

    def publish(self, *names: str) -> None:
        staged = read_staged(self.folder)
        for name in names:
            staged.add(_entry(name))
        write_staged(self.folder, staged)
        publish(self.folder, self.ring, self.now)

    def ours(self) -> float:
        """A full sync into an empty archive, in seconds of CPU time."""
        self._calls += 1
        home = self.root / f"home-{self._calls}"
        home.mkdir()
        place = FolderPlace(self.folder)
        began = time.process_time()
        follow(home, "bench", place, self.first_root(), self.now)
        done = sync(home, "bench", place, self.now)
        took = time.process_time() - began
        assert done.entries == len(self.names)
        return took

    def theirs(self) -> float:
        """The same work of python-tuf's client: what it looks up it has verified."""
        self._calls += 1
        home = self.root / f"peer-{self._calls}"
        home.mkdir()
        began = time.process_time()
        client = Updater(
            str(home),
            f"file://{self.folder}/metadata/",
            fetcher=LocalFetcher(),
            bootstrap=self.first_root(),
        )
        client.refresh()
        found = sum(
            client.get_targetinfo(_entry(name).name.path) is not None for name in self.names
        )
        took = time.process_time() - began
        assert found == len(self.names)
        return took

    def first_root(self) -> bytes:
        return (self.folder / "metadata" / "1.root.json").read_bytes()

    def one_change(self) -> int:
        """Bytes that a follower receives for one more revision."""
        home, place = self.root / "home-1", FolderPlace(self.folder)
        self.names.append("org0/one-more")
        self.publish(self.names[-1])
        done = sync(home, "bench", place, self.now)
        assert len(done.added) == 1
        return done.received


def _entry(name: str) -> CatalogueEntry:
    revision = hashlib.sha1(name.encode()).hexdigest()
    target = TargetName(RepoId.parse(name), GitOid(revision))
    manifest = Digest.of(name.encode())
    source = ("https://huggingface.co",)
    return CatalogueEntry(target, manifest, 3000, 1, 12, 16_000_000_000, source)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=20_000, help="revisions")
    parser.add_argument("--pairs", type=int, default=3, help="paired measurements")
    options = parser.parse_args()
    load, at = os.getloadavg(), commit(ROOT)
    with tempfile.TemporaryDirectory() as folder:
        stand = Stand(Path(folder), options.count)
        samples = alternate({"outlast": stand.ours, PEER: stand.theirs}, options.pairs)
        rows: list[Row] = [
            paired(f"full sync of {options.count:,}", "CPU s", samples, PEER, target=_SYNC),
            absolute("sync of one change", "bytes", [float(stand.one_change())], target=_BYTES),
        ]
        print_table(rows)
        if options.count == parser.get_default("count"):
            write(RESULT, machine(Path(folder), load), at, rows)
            print(f"written to {os.path.relpath(RESULT)}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
