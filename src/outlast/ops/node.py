"""A node: what a process is to its neighbours while it serves or pulls.

It seeds what may be shared, knows who else is there, and says what it wants. Everything that it
hears is checked where it is used.
"""

import datetime as dt
import os
import socket
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from outlast.codec.merkle import PIECE, Tree
from outlast.codec.payload import Payload
from outlast.model.cancel import Cancel
from outlast.model.closing import Closing
from outlast.model.control import Control
from outlast.model.digest import Digest
from outlast.model.errors import (
    Cancelled,
    CorruptError,
    MalformedError,
    NotArchivedError,
    OutlastError,
)
from outlast.model.events import FileProblem, Note
from outlast.model.status import TransferStatus
from outlast.ops import payloads
from outlast.ops.pool import DaemonPool
from outlast.ops.sharing import Sharing
from outlast.sources.http import HttpClient
from outlast.sources.peer import PeerSource
from outlast.store.archive import Archive
from outlast.swarm.beacon import Beacon
from outlast.swarm.datagrams import Heard
from outlast.swarm.election import Election
from outlast.swarm.events import (
    PayloadDamaged,
    PeerBanned,
    SessionEvent,
    TorrentFailed,
    TrackerAnswered,
)
from outlast.swarm.schedule import Rates, rates_at
from outlast.swarm.session import Session
from outlast.swarm.settings import SwarmSettings

TICK: Final = 0.25
_ASK_TIMEOUT: Final = 3.0
_ASKERS: Final = 16
_AGAIN: Final = 30.0
_STATIC_AGAIN: Final = 5.0
_RESOLVE_AGAIN: Final = 60.0
_MOST_ADDRESSES: Final = 4
_FAILURES: Final = 3
_MOST_NEIGHBOURS: Final = 256
_MOST_TRACKERS: Final = 64


@dataclass(frozen=True, slots=True)
class Neighbour:
    """Another node: its id (20 bytes), how to ask it, and where its swarm listens."""

    node: bytes
    host: str
    peer_port: int
    swarm_port: int
    static: bool
    source: PeerSource = field(compare=False)

    @property
    def swarm_address(self) -> tuple[str, int]:
        return self.host, self.swarm_port

    @property
    def tracker(self) -> str:
        """The URL that its tracker is announced to."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.peer_port}/announce"


@dataclass(frozen=True, slots=True)
class Arriving:
    """A payload on its way to restore a blob of `size` bytes: `pieces` says how many of its pieces
    are here.
    """

    payload: Payload
    size: int
    tree: Tree
    pieces: Callable[[], int]

    @property
    def have(self) -> int:
        """Bytes of the blob that what is here would restore; not all, for it is not verified."""
        share = min(self.payload.size, self.pieces() * PIECE) / self.payload.size
        return min(self.size - 1, int(share * self.size))


class Reporting(Protocol):
    """A transfer that can say how it goes."""

    def statuses(self) -> Sequence[TransferStatus]: ...


@dataclass(slots=True)
class _Contact:
    """Somebody who may be a node, at an address; what came of asking."""

    host: str
    peer_port: int
    static: bool
    due: float
    asking: bool = False
    failures: int = 0
    heard: float = 0.0
    neighbour: Neighbour | None = None


class Node(Closing):
    """Thread-safe. Start it when its API answers; `changed` wakes whoever waits for news."""

    def __init__(
        self,
        archive: Archive,
        sharing: Sharing,
        settings: SwarmSettings,
        http: HttpClient,
        control: Control,
        *,
        lan: bool = True,
    ) -> None:
        """`http` asks peers. `lan`: looks for neighbours, and can be found."""
        self._lan = lan and not settings.private
        self.id: Final = os.urandom(20)
        self.archive = archive
        self.sharing = sharing
        self.settings = settings
        self.changed = threading.Condition()
        self.election = Election(self.id, time.monotonic())
        self._http = http
        self._control = control
        self._lock = threading.Lock()
        self._contacts: dict[tuple[str, int], _Contact] = {}
        self._static_hosts: frozenset[str] = frozenset()
        self._resolved: dict[tuple[str, int], tuple[str, ...]] = {}
        self._resolve_at = 0.0
        self._banned: dict[str, int] = {}
        self._damaged: dict[Digest, str] = {}
        """The stamps of files that are damaged, by their roots; by their blobs where those are not
        known."""
        self._stamps: dict[Digest, str] = {}
        self._arriving: dict[Digest, Arriving] = {}
        self._came: set[bytes] = set()
        self.guides: set[Reporting] = set()
        """Of the transfers that are under way."""
        self.received = 0
        """Bytes that came from peers by HTTP."""
        self._trackers: OrderedDict[str, tuple[int, str]] = OrderedDict()
        self._stop = threading.Event()
        self._cancel = Cancel()
        self._pool = DaemonPool(_ASKERS, "neighbour")
        self._beacon: Beacon | None = None
        self._peer_port = 0
        self._seeded: dict[Digest, Payload] = {}
        self._seen_version = -1
        self._offered: set[Digest] = set()
        self._rates: Rates | None = None
        self.session = Session(settings, (), self._heard_session)
        self._threads: list[threading.Thread] = []

    @property
    def private(self) -> bool:
        return self.settings.private

    @property
    def peer_port(self) -> int:
        return self._peer_port

    def start(self, peer_port: int) -> None:
        """The node's API answers at `peer_port`: neighbours may know."""
        self._peer_port = peer_port
        if self._lan:
            self._beacon = Beacon(self.id, peer_port, self._heard_beacon, problem=self._problem)
            self._beacon.start()
        self._resolve_all(time.monotonic())
        for work, name in ((self._keep, "node"), (self._keep_seeding, "seeding")):
            thread = threading.Thread(target=work, name=name, daemon=True)
            thread.start()
            self._threads.append(thread)

    def close(self) -> None:
        self._stop.set()
        self._cancel.set()
        if self._beacon is not None:
            self._beacon.close()
        with self.changed:
            self.changed.notify_all()
        for thread in self._threads:
            thread.join()
        self.session.close()

    # Who is there

    def neighbours(self) -> list[Neighbour]:
        """The nodes that answered, static peers first."""
        with self._lock:
            found = [c.neighbour for c in self._contacts.values() if c.neighbour is not None]
        found.sort(key=lambda n: (n.static, ":" not in n.host, "%" not in n.host))
        unique = {neighbour.node: neighbour for neighbour in found}
        return sorted(unique.values(), key=lambda n: (not n.static, n.node))

    def is_static(self, host: str) -> bool:
        """Whether an address is that of a static peer."""
        return host.partition("%")[0] in self._static_hosts

    def expects(self) -> bool:
        """Whether somebody may be there who has not answered yet."""
        with self._lock:
            return any(c.asking and not c.failures for c in self._contacts.values())

    def await_neighbours(self, seconds: float) -> list[Neighbour]:
        """The neighbours, as soon as there is one, and those known so far have answered."""
        until = time.monotonic() + seconds
        with self.changed:
            while time.monotonic() < until and not self._stop.is_set():
                self._control.cancel.check()
                if (found := self.neighbours()) and not self.expects():
                    return found
                self.changed.wait(min(0.1, max(0.01, until - time.monotonic())))
        return self.neighbours()

    def _heard_beacon(self, heard: Heard) -> None:
        now = time.monotonic()
        if self.election.hear(heard, now):
            self.speak()
            self._wake()
        self._meet(heard.address, heard.peer_port, static=False)

    def _resolve_all(self, now: float) -> None:
        """Looks up the static peers: the network may not have been there, and names move."""
        with self._lock:
            if now < self._resolve_at:
                return
            known = self.settings.peers and all(p in self._resolved for p in self.settings.peers)
            self._resolve_at = now + (_RESOLVE_AGAIN if known else _STATIC_AGAIN)
        for host, port in self.settings.peers:
            self._pool.submit(self._resolve, host, port)

    def _resolve(self, host: str, port: int) -> None:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            return
        hosts = tuple(dict.fromkeys(str(info[4][0]) for info in found))[:_MOST_ADDRESSES]
        with self._lock:
            if self._resolved.get((host, port)) != hosts and not self._stop.is_set():
                self._resolved[host, port] = hosts
                names = (name for each in self._resolved.values() for name in each)
                self._static_hosts = frozenset(name.partition("%")[0] for name in names)
                self.session.set_static(self._static_hosts)
        for name in hosts:
            self._meet(name, port, static=True)

    def _meet(self, host: str, port: int, *, static: bool) -> None:
        with self._lock:
            contact = self._contacts.get((host, port))
            if contact is None:
                if len(self._contacts) >= _MOST_NEIGHBOURS and not static:
                    return
                contact = _Contact(host, port, static, due=0.0)
                self._contacts[host, port] = contact
            contact.static = contact.static or static
            contact.heard = time.monotonic()
            known = contact.neighbour is not None
        if not known:
            self._ask(contact)

    def _ask(self, contact: _Contact) -> None:
        with self._lock:
            if contact.asking:
                return
            contact.asking = True
        self._pool.submit(self._introduce, contact)

    def _introduce(self, contact: _Contact) -> None:
        source = PeerSource(self._http, contact.host, contact.peer_port)
        found: Neighbour | None = None
        try:
            about = source.node(_ASK_TIMEOUT)
            if about.node != self.id:
                found = Neighbour(
                    *(about.node, contact.host, contact.peer_port, about.swarm_port),
                    *(contact.static, source),
                )
        except OutlastError:
            pass
        now = time.monotonic()
        with self._lock:
            contact.asking = False
            before = contact.neighbour
            if found is not None:
                contact.failures = 0
                contact.heard = now
                # The source remembers what it learnt: it stays while the node does.
                contact.neighbour = before if before == found else found
                contact.due = now + _AGAIN
            else:
                contact.failures += 1
                contact.due = now + (_STATIC_AGAIN if contact.static else _ASK_TIMEOUT)
                if contact.failures >= _FAILURES:
                    contact.neighbour = None
                    if not contact.static:
                        self._contacts.pop((contact.host, contact.peer_port), None)
        self._wake()

    def _wake(self) -> None:
        with self.changed:
            self.changed.notify_all()

    def _problem(self, text: str) -> None:
        self._control.emit(Note(text))

    # What is wanted, and on its way

    @property
    def elects(self) -> bool:
        """Whether there may be others to share the origin with."""
        return self._beacon is not None

    def speak(self) -> None:
        """Decides the elections, and says what is new."""
        wishes = self.election.tick(time.monotonic())
        if wishes and self._beacon is not None:
            self._beacon.want(wishes)

    def came(self, key: bytes) -> None:
        """All of what goes by `key` is here: others hear of it."""
        self._came.add(key)
        self.election.have(key)

    @property
    def awaited(self) -> int:
        """How many neighbours want something that came while this node ran."""
        now = time.monotonic()
        return max((self.election.crowd(key, now) for key in self._came), default=0)

    def note_arriving(self, arriving: Arriving) -> None:
        """A payload is being fetched: others may ask for its tree, and what is here of it."""
        with self._lock:
            self._arriving[arriving.payload.blob] = arriving

    def forget_arriving(self, payload: Payload) -> None:
        with self._lock:
            known = self._arriving.get(payload.blob)
            if known is not None and known.payload == payload:
                del self._arriving[payload.blob]

    def arriving(self, blob: Digest) -> Arriving | None:
        """What of a blob is on its way."""
        with self._lock:
            return self._arriving.get(blob)

    def arriving_tree(self, root: Digest) -> tuple[Digest, Tree] | None:
        """The tree of a payload that is on its way, and the blob that it is to restore."""
        with self._lock:
            for one in self._arriving.values():
                if one.payload.root == root:
                    return one.payload.blob, one.tree
        return None

    # Seeding

    def _keep(self) -> None:
        while not self._stop.wait(TICK):
            now = time.monotonic()
            self.speak()
            with self._lock:
                due = [c for c in self._contacts.values() if c.due <= now and not c.asking]
            for contact in due:
                self._ask(contact)
            self._resolve_all(now)
            self._apply_rates()

    def _apply_rates(self) -> None:
        settings = self.settings
        rates = rates_at(settings.rates, settings.schedule, dt.datetime.now())  # noqa: DTZ005
        if rates != self._rates:
            self._rates = rates
            self.session.set_rates(rates)

    @property
    def rates(self) -> Rates:
        """The caps that hold now."""
        return self._rates or self.settings.rates

    def _keep_seeding(self) -> None:
        told = ""
        while not self._stop.is_set():
            try:
                if self.sharing.version != self._seen_version:
                    self._seed_all()
            except Cancelled:
                return
            except (OSError, OutlastError) as error:  # the disk's; it may pass
                if str(error) != told:
                    told = str(error)
                    self._problem(f"not all is offered: {told}")
                self._stop.wait(_AGAIN)
            self._stop.wait(1.0)

    def _seed_all(self) -> None:
        """Offers what may be shared, and no longer what may not, or is gone; then reads what was
        never read as a whole, unless something changes meanwhile.
        """
        version = self.sharing.version
        blobs = self.sharing.blobs()
        wanted: set[Digest] = set()
        unread: list[Digest] = []
        for blob, restricted in blobs.items():
            self._cancel.check()
            held = payloads.held(self.archive, blob)
            if not held:
                unread.append(blob)
            elif not self._is_damaged(held[0].root, blob):
                wanted.add(held[0].root)
                self.seed(held[0], restricted=restricted)
        for root in self._offered - wanted:  # what just came is not listed yet, and stays
            self._unseed(root)
        self._offered = wanted
        for blob in unread:
            if self.sharing.version != version:
                return
            payload = self._read(blob)
            if payload is not None:
                self.seed(payload, restricted=blobs[blob])
                wanted.add(payload.root)
        self._seen_version = version

    def _is_damaged(self, name: Digest, blob: Digest) -> bool:
        """Whether the file that holds a blob still is the one that was found damaged."""
        return name in self._damaged and self._damaged[name] == payloads.stamp(self.archive, blob)

    def _read(self, blob: Digest) -> Payload | None:
        """What holds a blob whose tree is not known: reads it."""
        if self._is_damaged(blob, blob):
            return None
        try:
            form = self.archive.form_of(blob).form
            payloads.tree(self.archive, blob, form, self._cancel)
            held = payloads.held(self.archive, blob)
        except NotArchivedError:
            return None
        except (CorruptError, MalformedError) as error:
            self._damaged[blob] = payloads.stamp(self.archive, blob)
            self._control.emit(FileProblem(blob.hex, str(error), error.code))
            return None
        return held[0] if held else None

    def seed(
        self, payload: Payload, *, restricted: bool, peers: Iterable[tuple[str, int]] = ()
    ) -> None:
        """Offers a payload, if it is not offered yet. `peers` are told at once."""
        torrent = self.session.torrent(payload.root)
        if (
            torrent is not None
            and torrent.seeds
            and torrent.restricted != (restricted or self.private)
        ):
            torrent.close()
            torrent = None
        if torrent is None:
            tree = self.archive.tree(payload.blob, payload.form)
            if tree is None or tree.root != payload.root:
                return
            path = payloads.path(self.archive, payload)
            torrent = self.session.seed(tree, path, restricted=restricted)
            self._stamps[payload.root] = payloads.stamp(self.archive, payload.blob)
            self._seeded[payload.root] = payload
        torrent.connect(peers)

    def _unseed(self, root: Digest) -> None:
        self._seeded.pop(root, None)
        self._stamps.pop(root, None)
        torrent = self.session.torrent(root)
        if torrent is not None and torrent.seeds:
            torrent.close()

    @property
    def seeding(self) -> int:
        """How many payloads are offered."""
        return len(self._seeded)

    def form_of(self, root: Digest) -> str:
        """As what the payload with this root holds its blob; empty where it is not known."""
        payload = self._seeded.get(root)
        if payload is not None:
            return payload.form.value
        with self._lock:
            forms = (a.payload.form.value for a in self._arriving.values())
            roots = (a.payload.root for a in self._arriving.values())
            return dict(zip(roots, forms, strict=True)).get(root, "")

    @property
    def trackers(self) -> Mapping[str, tuple[int, str]]:
        """By URL: how many peers a tracker named last, and what is wrong with it."""
        with self._lock:
            return dict(self._trackers)

    def silent_for(self, neighbour: Neighbour) -> float:
        """Seconds since a neighbour was heard, or answered."""
        with self._lock:
            contact = self._contacts.get((neighbour.host, neighbour.peer_port))
            return 0.0 if contact is None else time.monotonic() - contact.heard

    @property
    def banned(self) -> Mapping[str, int]:
        """Addresses of peers that sent wrong bytes, and how often that was found."""
        with self._lock:
            return dict(self._banned)

    def _heard_session(self, event: SessionEvent) -> None:
        match event:
            case PayloadDamaged(root, piece) if root in self._seeded:
                self._damaged[root] = self._stamps.get(root, "")
                blob = self._seeded[root].blob
                text = f"piece {piece} of what holds blob {blob.short}… is damaged"
                self._control.emit(FileProblem(blob.hex, text, CorruptError.code))
            case PeerBanned(_, address):
                with self._lock:
                    self._banned[address] = self._banned.get(address, 0) + 1
                self._control.emit(Note(f"peer banned: {address} sent wrong bytes"))
            case TrackerAnswered(_, url, peers, problem):
                with self._lock:
                    self._trackers[url] = peers, problem
                    self._trackers.move_to_end(url)
                    while len(self._trackers) > _MOST_TRACKERS:
                        self._trackers.popitem(last=False)
            case TorrentFailed(root, reason):
                if root in self._seeded:
                    self._damaged[root] = self._stamps.get(root, "")
                self._control.emit(Note(f"a torrent stopped ({root.short}…): {reason}"))
            case _:
                pass
