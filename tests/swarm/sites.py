"""Nodes in one process, on loopback: they know each other as static peers; no datagram is sent."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from io import BytesIO
from pathlib import Path
from typing import Generic, TypeVar

from outlast.codec.hashing import TreeHasher, names_of
from outlast.codec.memory import InMemory
from outlast.codec.merkle import Tree
from outlast.codec.payload import Form
from outlast.core.cancel import Cancel
from outlast.core.control import Control
from outlast.core.digest import Digest, GitOid
from outlast.core.errors import UnreachableError
from outlast.core.events import Event, FileDone, Note, SourceBanned
from outlast.core.manifest import FileEntry, Revision
from outlast.core.names import RepoId, Target
from outlast.fetch.file_filter import Selection
from outlast.fetch.source_state import Patience
from outlast.fetch.transfer import Wishes
from outlast.intake.form_policy import PLAIN, FormWishes
from outlast.node.node import Node
from outlast.node.policy import SharePolicy, Sharing
from outlast.node.scope import Neighbourhood
from outlast.node.tuning import TUNING as NODE_TUNING
from outlast.node.tuning import Tuning as NodeTuning
from outlast.ops import pull as ops
from outlast.p2p.tuning import TUNING, Tuning
from outlast.server.node.api import Holdings, NodeInfo
from outlast.server.node.peer_port import PeerServer
from outlast.sources.base import Listing, RangeReader, RemoteRef, RepoClaims, Source
from outlast.sources.peer import peer_client
from outlast.sources.settings import HttpSettings
from outlast.store.archive import Archive
from outlast.store.encoding import Encoding
from outlast.store.records.refs import Ref
from outlast.swarm.settings import HostPort, SwarmSettings
from outlast.swarm.tracker.tracker import Tracker

SECONDS = 120.0
T = TypeVar("T")
COMMIT = GitOid("c" * 40)
MODEL = RepoId.parse("org/model")
SHORT = Patience(tries=2)


@dataclass(slots=True)
class Site:
    """A node with its archive; `events` are all that it said."""

    home: Path
    archive: Archive
    node: Node
    server: PeerServer
    control: Control
    events: list[Event] = field(default_factory=list)

    @property
    def address(self) -> HostPort:
        return "127.0.0.1", self.server.port

    def around(self, *, http: bool = True, named: bool = False) -> Neighbourhood:
        return Neighbourhood(self.node, http=http, named=named)

    def meet(self, stranger: "Site") -> None:
        """Hears another node, which its operator did not name, and asks it who it is."""
        self.node.contacts.meet(*stranger.address, static=False)
        name = f"peer 127.0.0.1:{stranger.server.port}"
        until(lambda: name in {n.source.name for n in self.around().near()}, f"{name} answers")

    def pull(
        self,
        target: str = "org/model",
        *sources: Source,
        http: bool = True,
        forms: FormWishes = PLAIN,
        patience: Patience = SHORT,
        connections: int = 4,
        tuning: Tuning = TUNING,
        named: bool = False,
    ) -> ops.Pulled:
        return ops.pull(
            self.archive,
            Target.parse(target),
            sources,
            selection=Selection((), ()),
            wishes=Wishes(
                connections=connections,
                patience=patience,
                metadata_patience=patience,
                forms=forms,
            ),
            control=self.control,
            around=self.around(http=http, named=named),
            tuning=tuning,
        )

    def hold(
        self,
        files: Mapping[str, bytes],
        repo: RepoId = MODEL,
        commit: GitOid | None = COMMIT,
        git: GitOid | None = None,
    ) -> Revision:
        """Archives files as a commit with the ref main, all of their names known; `git` is what it
        calls the git id of each.
        """
        entries = []
        with self.archive.writer() as writer:
            for path, data in files.items():
                names = names_of(data)
                self.archive.put(writer, data, names)
                entries.append(FileEntry(path, len(data), git_sha1=git).with_names(names))
            revision = Revision.of(repo, commit, entries)
            self.archive.put_revision(writer, revision)
            ref = Ref("main", revision.id, "test", "2026-01-01T00:00:00+00:00", "branch", None)
            self.archive.refs.put(writer, repo, ref)
        return revision

    def claim(self, path: str, real: bytes, false: bytes, repo: RepoId = MODEL) -> None:
        """Archives `false` as if it were `real`, with the tree of what it is: a liar's archive."""
        digest, names = Digest.of(real), names_of(false)
        assert names.merkle_root is not None
        with self.archive.writer() as writer:
            temp = writer.temp()
            temp.write_bytes(false)
            writer.publish_blob(temp, digest, len(false))
            tree = Tree(len(false), names.merkle_root, names.layer)
            self.archive.forms.note_tree(digest, Form.PLAIN, tree)
            entry = FileEntry(path, len(real), sha256=digest, merkle_root=names.merkle_root)
            self.archive.put_revision(writer, Revision.of(repo, COMMIT, [entry]))

    def claim_capsule(self, path: str, real: bytes, false: bytes, repo: RepoId = MODEL) -> None:
        """Archives a capsule of `false` as if it restored `real`, which is as long."""
        digest = Digest.of(real)
        with (
            self.archive.writer() as writer,
            Encoding(writer, InMemory(false), bases=[]) as encoding,
        ):
            encoding.finish(digest)
            hasher = TreeHasher()
            hasher.update(memoryview(encoding.path.read_bytes()))
            assert writer.publish_capsule(encoding.path, digest, len(real), hasher.tree())
            entry = FileEntry(path, len(real)).with_names(names_of(real))
            self.archive.put_revision(writer, Revision.of(repo, COMMIT, [entry]))

    def files(self, target: str = "org/model") -> dict[str, bytes]:
        """What it holds of a model, as its bytes are."""
        parsed = Target.parse(target)
        found = {}
        for entry in self.archive.revision(parsed.repo, parsed.ref).files:
            assert entry.sha256 is not None
            with self.archive.open(entry.sha256) as file:
                found[entry.path] = file.read()
        return found

    @property
    def done(self) -> set[str]:
        return {event.path for event in self.events if isinstance(event, FileDone)}

    @property
    def banned(self) -> set[str]:
        return {event.source for event in self.events if isinstance(event, SourceBanned)}

    @property
    def notes(self) -> list[str]:
        return [event.text for event in self.events if isinstance(event, Note)]

    def seeds(self) -> int:
        """How many payloads it offers."""
        return sum(torrent.seeds for torrent in self.node.session.torrents())


@contextmanager
def site(
    home: Path,
    *peers: "Site | HostPort",
    settings: SwarmSettings | None = None,
    policy: SharePolicy | None = None,
    port: int = 0,
    files: Mapping[str, bytes] | None = None,
    read_timeout: float = 5.0,
    swarm_port: int = 0,
    tuning: NodeTuning = NODE_TUNING,
) -> Iterator[Site]:
    """A node that runs until the block ends. `port`: of its API; `swarm_port`: what it says that
    its swarm's is.
    """
    addresses = tuple(one.address if isinstance(one, Site) else one for one in peers)
    chosen = replace(settings or SwarmSettings(), peers=addresses)
    with ExitStack() as stack:
        archive = stack.enter_context(Archive(home, create=True))
        events: list[Event] = []
        control = Control(events.append, Cancel())
        sharing = Sharing(archive, policy or SharePolicy())
        http = peer_client(HttpSettings(read_timeout=read_timeout))
        node = stack.enter_context(
            Node(archive, sharing, chosen, http, control, lan=False, tuning=tuning)
        )
        info = NodeInfo(node.id, "0.0", swarm_port or node.session.port, node.private)
        holdings = Holdings(
            *(archive, sharing, node.in_flight.find, node.in_flight.arriving, node.in_flight.tree),
            trusted=node.contacts.is_static,
            rates=lambda: node.rates,
        )
        server = stack.enter_context(PeerServer(info, holdings, Tracker()))
        server.start("127.0.0.1", port)
        made = Site(home, archive, node, server, control, events)
        if files is not None:
            made.hold(files)
        node.start(server.port)
        yield made


@dataclass(slots=True, weakref_slot=True, eq=False)
class Origin:
    """A hub that knows files by their sha256 alone; it gives them unless it is `dark`. `sent`
    counts bytes.
    """

    files: Mapping[str, bytes]
    dark: bool = False
    facts: RepoClaims = field(default_factory=lambda: RepoClaims(False, False, (), {}))
    sent: int = 0
    name: str = "http://origin"

    def describe(self, repo: RepoId, ref: str, timeout: float | None = None) -> Listing:
        del ref, timeout
        entries = [FileEntry(p, len(d), sha256=Digest.of(d)) for p, d in self.files.items()]
        return Listing(repo, COMMIT, tuple(entries), self.facts)

    def refs(self, repo: RepoId, timeout: float | None = None) -> Sequence[RemoteRef]:
        del repo, timeout
        return []

    def open(
        self, repo: RepoId, commit: GitOid, entry: FileEntry, start: int, stop: int
    ) -> RangeReader:
        del repo, commit
        if self.dark:
            raise UnreachableError("it is dark")
        self.sent += stop - start
        return _Bytes(start, BytesIO(self.files[entry.path][start:stop]))


@dataclass(slots=True)
class _Bytes:
    start: int
    data: BytesIO

    def readinto(self, buffer: memoryview) -> int:
        return self.data.readinto(buffer)

    def close(self) -> None:
        pass


class Running(Generic[T]):
    """A call in a thread of its own."""

    def __init__(self, call: Callable[[], T]) -> None:
        self._future: Future[T] = Future()
        self._call = call
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        try:
            self._future.set_result(self._call())
        except BaseException as error:
            self._future.set_exception(error)

    @property
    def over(self) -> bool:
        return self._future.done()

    def result(self, seconds: float = SECONDS) -> T:
        """What it returned; raises what it raised, or where it does not end."""
        return self._future.result(seconds)


def until(holds: Callable[[], object], what: str, seconds: float = SECONDS) -> None:
    """Waits until something holds; that it never does is a failure."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, f"never: {what}"
        time.sleep(0.01)
