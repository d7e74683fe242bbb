"""A peer port in this process, over a small archive; and what it is asked with."""

import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from typing import Any

from outlast.codec.format import BaseRef
from outlast.codec.hashing import names_of
from outlast.codec.merkle import Tree
from outlast.codec.payload import Form
from outlast.core.cancel import Cancel
from outlast.core.digest import Digest, GitOid
from outlast.core.manifest import FileEntry, Revision
from outlast.core.names import RepoId
from outlast.core.offer import Offer
from outlast.node import payloads
from outlast.node.in_flight import Arriving, InFlight
from outlast.server.node.api import Holdings, NodeInfo, TrackerAnswers
from outlast.server.node.peer_port import PeerServer
from outlast.server.tuning import TUNING
from outlast.sources.base import RangeReader
from outlast.sources.http import HttpClient
from outlast.sources.peer import PeerSource, peer_client
from outlast.sources.peer_documents import CopiesSaid
from outlast.sources.settings import HttpSettings
from outlast.store.archive import Archive
from outlast.swarm.schedule import Rates
from tests.noise import noise
from tests.serve.forms import floats, pack
from tests.serve.wire import Reply, once

V1 = "/outlast/v1"
NODE = bytes(range(20))
OPEN, SECRET = RepoId.parse("org/open"), RepoId.parse("org/secret")
COMMIT = GitOid("c" * 40)
PLAIN = noise(1, 3 * (1 << 20) + 77)
WEIGHTS = floats(4)
SMALL = b'{"hidden_size": 64}'
FILES = {"config.json": SMALL, "plain.bin": PLAIN, "model.safetensors": WEIGHTS, "empty": b""}
SECRETS = {"weights.bin": Random(2).randbytes(70_000)}


def sha(data: bytes) -> Digest:
    return Digest.of(data)


def archive_files(archive: Archive, repo: RepoId, files: dict[str, bytes]) -> Revision:
    """Archives files as one commit; those in `config.json` go by their git blob id too."""
    entries = []
    with archive.writer() as writer:
        for path, data in files.items():
            names = names_of(data)
            archive.put(writer, data, names)
            git = GitOid.of_blob(data) if path.endswith(".json") else None
            entries.append(FileEntry(path, len(data), git_sha1=git).with_names(names))
        revision = Revision.of(repo, COMMIT, entries)
        archive.put_revision(writer, revision)
    return revision


@dataclass(slots=True)
class Shares:
    """What an archive shares, as a test says."""

    offered: list[Offer] = field(default_factory=list)
    manifests: dict[Digest, bytes] = field(default_factory=dict)
    closed: set[Digest] = field(default_factory=set)
    """Manifests and blobs for static peers only."""
    known: set[Digest] = field(default_factory=set)

    def share(self, revision: Revision, *refs: str, restricted: bool = False) -> Offer:
        names = {e.sha256 for e in revision.files if e.sha256 is not None}
        offer = Offer(
            revision.repo,
            revision.id,
            revision.digest,
            refs,
            len(revision.files),
            revision.size,
            partial=revision.partial,
            restricted=restricted,
        )
        self.offered.append(offer)
        self.manifests[revision.digest] = revision.to_bytes()
        self.known |= names
        if restricted:
            self.closed |= names | {revision.digest}
        return offer

    def offers(self, query: str = "", *, trusted: bool, base: Digest | None = None) -> list[Offer]:
        return [
            offer
            for offer in self.offered
            if query.lower() in str(offer.repo).lower()
            and (trusted or not offer.restricted)
            and (base is None or base in offer.made_from)
        ]

    def manifest(self, digest: Digest, *, trusted: bool) -> bytes | None:
        return self.manifests.get(digest) if trusted or digest not in self.closed else None

    def tells_of(self, manifest: Digest, *, trusted: bool) -> bool:
        return self.manifest(manifest, trusted=trusted) is not None

    def allows(self, blob: Digest, *, trusted: bool) -> bool:
        return blob in self.known and (trusted or blob not in self.closed)

    def allows_capsule(self, bases: Iterable[BaseRef], *, trusted: bool) -> bool:
        return all(self.allows(base.sha256, trusted=trusted) for base in bases)


class Trackers:
    """A tracker that repeats what it is asked."""

    def announce(self, query: str, address: str, *, trusted: bool, host: str) -> bytes:
        return f"announce {address} {query} {trusted} {host}".encode()

    def scrape(self, query: str, address: str) -> bytes:
        return f"scrape {address} {query}".encode()


@dataclass(slots=True)
class Peer:
    """A node that others ask."""

    archive: Archive
    shares: Shares = field(default_factory=Shares)
    trusts: bool = False
    private: bool = False
    node: bytes = NODE
    rates: Rates = field(default_factory=Rates)
    in_flight: dict[Digest, InFlight] = field(default_factory=dict)
    arriving: dict[Digest, Arriving] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    copies: CopiesSaid | None = None
    tracker: TrackerAnswers = field(default_factory=Trackers)
    server: PeerServer = field(init=False)

    def _trusted(self, address: str) -> bool:
        assert threading.current_thread().name == "peers"
        self.asked.append(address)
        return self.trusts

    def _in_flight_tree(self, root: Digest) -> tuple[Digest, Tree] | None:
        trees = {a.tree.root: (blob, a.tree) for blob, a in self.in_flight.items()}
        return trees.get(root)

    @contextmanager
    def serving(self, host: str = "127.0.0.1", port: int = 0, **more: Any) -> Iterator["Peer"]:
        info = NodeInfo(self.node, "0.0", 6881, self.private)
        holdings = Holdings(
            self.archive,
            self.shares,  # type: ignore[arg-type]
            self.in_flight.get,
            self.arriving.get,
            self._in_flight_tree,
            self._trusted,
            lambda: self.rates,
            lambda: self.copies,
        )
        with PeerServer(info, holdings, self.tracker, **more) as self.server:
            self.server.start(host, port)
            yield self

    @contextmanager
    def beside(self, **tuned: Any) -> Iterator[None]:
        """Serves at another port, with other numbers, while the block runs."""
        before = self.server
        try:
            with self.serving(tuning=replace(TUNING, **tuned)):
                yield
        finally:
            self.server = before

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.port}"

    def source(self, http: HttpClient | None = None) -> PeerSource:
        return PeerSource(http or client(), "127.0.0.1", self.server.port)


def client(read_timeout: float = 10.0) -> HttpClient:
    return peer_client(HttpSettings(read_timeout=read_timeout))


def get(peer: Peer, path: str, **headers: str) -> Reply:
    """Asks for something below the API's root, on a connection of its own."""
    return once(peer.url, V1 + path, **headers)


def fill(home: Path, packed: Sequence[bytes] = (WEIGHTS,)) -> Peer:
    """A node with an open model, some of it as capsules, and one for static peers."""
    archive = Archive(home, create=True)
    shares = Shares()
    shares.share(archive_files(archive, OPEN, FILES), "main", "v1.0")
    shares.share(archive_files(archive, SECRET, SECRETS), "main", restricted=True)
    for data in packed:
        pack(home, sha(data).hex)
        for form in (Form.CAPSULE, Form.PLAIN):
            payloads.tree(archive, sha(data), form, Cancel())
    return Peer(archive, shares)


def read(reader: RangeReader) -> bytes:
    """All that a reader has."""
    buffer, data = memoryview(bytearray(1 << 16)), bytearray()
    while count := reader.readinto(buffer):
        data += buffer[:count]
    reader.close()
    return bytes(data)
