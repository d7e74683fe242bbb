"""A node: what a process is to its neighbours while it serves or pulls.

It seeds what may be shared, knows who else is there, and says what it wants. Everything that it
hears is checked where it is used.
"""

import datetime as dt
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Protocol

from outlast.codec.payload import Payload
from outlast.core.cancel import Cancel
from outlast.core.closing import Closing
from outlast.core.control import Control
from outlast.core.digest import Digest
from outlast.core.errors import (
    Cancelled,
    CorruptError,
    OutlastError,
)
from outlast.core.events import FileProblem, Note
from outlast.core.status import TransferStatus
from outlast.node.download_limit import PeerDownloadLimit
from outlast.node.in_flight import InFlightTable
from outlast.node.peers import AGAIN, Contacts, Neighbour
from outlast.node.policy import Sharing
from outlast.node.seeder import Offering
from outlast.sources.http import HttpClient
from outlast.store.archive import Archive
from outlast.swarm.client.events import (
    PayloadDamaged,
    PeerBanned,
    SessionEvent,
    TorrentFailed,
    TrackerAnswered,
)
from outlast.swarm.client.session import TorrentSession
from outlast.swarm.lan.beacon import Beacon
from outlast.swarm.lan.datagrams import Heard
from outlast.swarm.lan.election import Election
from outlast.swarm.schedule import Rates, rates_at
from outlast.swarm.settings import SwarmSettings

TICK: Final = 0.25
_MOST_TRACKERS: Final = 64
_FOLLOW: Final = 1.0
_FOLLOW_AT_LEAST: Final = 10.0
_REST: Final = 20
"""What is shared is followed that often (seconds); or in one part of so many of the time."""


class Reporting(Protocol):
    """A transfer that can say how it goes."""

    def statuses(self) -> Sequence[TransferStatus]: ...


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
        self._control = control
        self._lock = threading.Lock()
        self._banned: dict[str, int] = {}
        self._came: set[bytes] = set()
        self.coordinators: set[Reporting] = set()
        """Of the transfers that are under way."""
        self.received = 0
        """Bytes that came from peers by HTTP."""
        self._trackers: OrderedDict[str, tuple[int, str]] = OrderedDict()
        self._stop = threading.Event()
        self._cancel = Cancel()
        self._beacon: Beacon | None = None
        self._peer_port = 0
        self._rates: Rates | None = None
        self.incoming = PeerDownloadLimit(lambda: self.rates)
        self.in_flight = InFlightTable()
        self.session = TorrentSession(settings, (), self._heard_session)
        self.contacts = Contacts(
            *(self.id, http, settings.peers),
            changed=self.wake,
            static=self.session.set_static,
        )
        self._offering = Offering(archive, sharing, self.session, control.emit, self._cancel)
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
        for work, name in ((self._keep, "node"), (self._keep_seeding, "seeding")):
            thread = threading.Thread(target=work, name=name, daemon=True)
            thread.start()
            self._threads.append(thread)

    def close(self) -> None:
        self._stop.set()
        self._cancel.set()
        if self._beacon is not None:
            self._beacon.close()
        self.contacts.close()
        self.wake()
        for thread in self._threads:
            thread.join()
        self.session.close()

    # Who is there

    def await_neighbours(self, seconds: float) -> list[Neighbour]:
        """The neighbours, as soon as there is one, and those known so far have answered."""
        until = time.monotonic() + seconds
        with self.changed:
            while time.monotonic() < until and not self._stop.is_set():
                self._control.cancel.check()
                if (found := self.contacts.neighbours()) and not self.contacts.expects():
                    return found
                self.changed.wait(min(0.1, max(0.01, until - time.monotonic())))
        return self.contacts.neighbours()

    def _heard_beacon(self, heard: Heard) -> None:
        now = time.monotonic()
        if self.election.hear(heard, now):
            self.speak()
            self.wake()
        self.contacts.meet(heard.address, heard.peer_port, static=False)

    def wake(self) -> None:
        """There is news for whoever waits for some."""
        with self.changed:
            self.changed.notify_all()

    def _problem(self, text: str) -> None:
        self._control.emit(Note(text))

    # What is wanted, and on its way

    @property
    def elects(self) -> bool:
        """Whether there may be others to share the origin with."""
        return self._beacon is not None

    def speak(self) -> bool:
        """Decides the elections, and says what is new; whether something is."""
        wishes = self.election.tick(time.monotonic())
        if wishes and self._beacon is not None:
            self._beacon.want(wishes)
        return bool(wishes)

    def came(self, key: bytes) -> None:
        """All of what goes by `key` is here: others hear of it."""
        self._came.add(key)
        self.election.have(key)

    @property
    def awaited(self) -> int:
        """How many neighbours want something that came while this node ran."""
        now = time.monotonic()
        return max((self.election.count_wanting(key, now) for key in self._came), default=0)

    # Seeding

    def _keep(self) -> None:
        while not self._stop.is_set():
            if self.speak():
                self.wake()
            self.contacts.tick(time.monotonic())
            self._apply_rates()
            # The end of the grace is waited for by all that is to be fetched.
            self._stop.wait(min(TICK, self.election.grace(time.monotonic()) or TICK))

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
            began = time.monotonic()
            try:
                self._offering.follow()
            except Cancelled:
                return
            except (OSError, OutlastError) as error:  # the disk's; it may pass
                if str(error) != told:
                    told = str(error)
                    self._problem(f"not all is offered: {told}")
                self._stop.wait(AGAIN)
            # Of many blobs not for each that comes: what a pull brings is handed on otherwise.
            took = time.monotonic() - began
            self._stop.wait(min(max(_FOLLOW, _REST * took), _FOLLOW_AT_LEAST))

    @property
    def seeding(self) -> int:
        """How many payloads are offered."""
        return len(self._offering)

    def seed(
        self, payload: Payload, *, restricted: bool, peers: Iterable[tuple[str, int]] = ()
    ) -> None:
        """Offers a payload, if it is not offered yet. `peers` are told at once."""
        self._offering.seed(payload, restricted=restricted, peers=peers)

    def form_of(self, root: Digest) -> str:
        """As what the payload with this root holds its blob; empty where it is not known."""
        payload = self._offering.payload(root) or self.in_flight.payload(root)
        return "" if payload is None else payload.form.value

    @property
    def trackers(self) -> Mapping[str, tuple[int, str]]:
        """By URL: how many peers a tracker named last, and what is wrong with it."""
        with self._lock:
            return dict(self._trackers)

    @property
    def banned(self) -> Mapping[str, int]:
        """Addresses of peers that had a part in wrong pieces, and how often they were banned."""
        with self._lock:
            return dict(self._banned)

    def _heard_session(self, event: SessionEvent) -> None:
        match event:
            case PayloadDamaged(root, piece):
                payload = self._offering.damaged(root)
                if payload is not None:
                    blob = payload.blob
                    text = f"piece {piece} of what holds blob {blob.short}… is damaged"
                    self._control.emit(FileProblem(blob.hex, text, CorruptError.code))
            case PeerBanned(_, address):
                with self._lock:
                    self._banned[address] = self._banned.get(address, 0) + 1
                self._control.emit(Note(f"peer banned: {address} had a part in wrong pieces"))
            case TrackerAnswered(_, url, peers, problem):
                with self._lock:
                    self._trackers[url] = peers, problem
                    self._trackers.move_to_end(url)
                    while len(self._trackers) > _MOST_TRACKERS:
                        self._trackers.popitem(last=False)
            case TorrentFailed(root, reason):
                self._offering.damaged(root)
                self._control.emit(Note(f"a torrent stopped ({root.short}…): {reason}"))
            case _:
                pass
