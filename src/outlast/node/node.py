"""A node: what a process is to its neighbours while it serves or pulls.

It seeds what may be shared, knows its peers, and says what it wants. What it hears is checked where
it is used.
"""

import datetime as dt
import logging
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
from outlast.core.errors import Cancelled, CorruptError, OutlastError
from outlast.core.events import FileProblem, Note
from outlast.core.status import ParityStatus, TransferStatus
from outlast.node.copies import CopiesBoard
from outlast.node.download_limit import PeerDownloadLimit
from outlast.node.in_flight import InFlightTable
from outlast.node.peers import Contacts, Neighbour
from outlast.node.policy import Sharing
from outlast.node.seeder import Seeder
from outlast.node.tuning import TUNING, Tuning
from outlast.sources.http import HttpClient
from outlast.sources.peer import PeerSource
from outlast.store.archive import Archive
from outlast.store.uses import file_name
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
from outlast.swarm.lan.knock import Knocking
from outlast.swarm.schedule import Rates, rates_at
from outlast.swarm.settings import SwarmSettings

_log = logging.getLogger(__name__)


class Reporting(Protocol):
    """A transfer that can say how it goes."""

    def statuses(self) -> Sequence[TransferStatus]: ...


class Node(Closing):
    """Thread-safe. Start it when its API answers; `changed` is notified of all news."""

    def __init__(
        self,
        archive: Archive,
        sharing: Sharing,
        settings: SwarmSettings,
        http: HttpClient,
        control: Control,
        *,
        lan: bool = True,
        tuning: Tuning = TUNING,
    ) -> None:
        """`http` asks peers. `lan`: looks for neighbours, and can be found."""
        self.tuning: Final = tuning
        self._lan = lan and not settings.private
        self.id: Final = os.urandom(20)
        self.archive = archive
        self.sharing = sharing
        self.settings = settings
        self.changed = threading.Condition()
        self.election = Election(self.id, time.monotonic())
        self._control = control
        self._http = http
        self._lock = threading.Lock()
        self._banned: dict[str, int] = {}
        self._came: set[bytes] = set()
        self.coordinators: set[Reporting] = set()
        """Of the transfers that are under way."""
        self.copies: Final = CopiesBoard()
        self.parity = ParityStatus()
        """What looks after parity last said of it."""
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
            self.id,
            http,
            settings.peers,
            changed=self._met,
            static=self.session.set_static,
            tuning=tuning,
        )
        self._knocking = Knocking(self._may_be_at)
        self._seeder = Seeder(archive, sharing, self.session, control.emit, self._cancel)
        self._threads: list[threading.Thread] = []

    @property
    def private(self) -> bool:
        return self.settings.private

    @property
    def peer_port(self) -> int:
        return self._peer_port

    def start(self, peer_port: int) -> None:
        """The node's API answers at `peer_port` now; neighbours are told."""
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
        self._knocking.close()
        self.contacts.close()
        self.wake()
        for thread in self._threads:
            thread.join()
        self.session.close()

    # Who is there

    def await_neighbours(self, seconds: float) -> list[Neighbour]:
        """The neighbours, as soon as there is one and all that are known have answered."""
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
        if self.contacts.knows(heard.address, heard.peer_port):
            self._may_be_at(heard.address, heard.peer_port)
        else:
            self._knocking.add(heard.address, heard.peer_port)

    def _may_be_at(self, host: str, port: int) -> None:
        self.contacts.meet(host, port, static=False)

    @property
    def is_crowded(self) -> bool:
        """Whether many of the nodes that are heard on the LAN are invented."""
        return self._knocking.is_crowded

    def _met(self) -> None:
        """A peer answered, or failed to."""
        self.election.reach(self.contacts.answered())
        self.wake()

    def wake(self) -> None:
        """Wakes the threads that wait for news."""
        with self.changed:
            self.changed.notify_all()

    def _problem(self, text: str) -> None:
        self._control.emit(Note(text))

    def source_at(self, host: str, port: int) -> PeerSource:
        """The node at an address, to be asked as a stranger."""
        return PeerSource(self._http, host, port)

    # What is wanted, and on its way

    @property
    def elects(self) -> bool:
        """Whether nodes of this LAN elect who asks the origin."""
        return self._beacon is not None

    def speak(self) -> bool:
        """Decides the elections, and announces what is new; whether anything is."""
        wishes = self.election.tick(time.monotonic())
        if wishes and self._beacon is not None:
            self._beacon.want(wishes)
        return bool(wishes)

    def came(self, key: bytes) -> None:
        """The file with this `key` is complete: other nodes are told."""
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
            # No longer than the grace: all that is to be fetched waits for its end.
            tick = self.tuning.tick
            self._stop.wait(min(tick, self.election.grace(time.monotonic()) or tick))

    def _apply_rates(self) -> None:
        settings = self.settings
        rates = rates_at(settings.rates, settings.schedule, dt.datetime.now())  # noqa: DTZ005
        if rates != self._rates:
            self._rates = rates
            self.session.set_rates(rates)

    @property
    def rates(self) -> Rates:
        """The rate limits that hold now."""
        return self._rates or self.settings.rates

    def _keep_seeding(self) -> None:
        told = ""
        while not self._stop.is_set():
            began = time.monotonic()
            try:
                self._seeder.follow()
            except Cancelled:
                return
            except (OSError, OutlastError) as error:  # the disk's; it may pass
                if str(error) != told:
                    told = str(error)
                    self._problem(f"not all is offered: {told}")
                self._stop.wait(self.tuning.ask_again)
            # Not for each blob that comes: what a pull brings is handed on by its coordinator.
            share = self.tuning.follow_share * (time.monotonic() - began)
            pause = min(max(self.tuning.follow, share), self.tuning.follow_longest)
            self._stop.wait(pause)

    @property
    def seeding(self) -> int:
        """How many payloads are seeded."""
        return len(self._seeder)

    def seed(
        self, payload: Payload, *, restricted: bool, peers: Iterable[tuple[str, int]] = ()
    ) -> None:
        """Seeds a payload, if it is not seeded yet. `peers` are told at once."""
        self._seeder.seed(payload, restricted=restricted, peers=peers)

    def form_of(self, root: Digest) -> str:
        """The form of the payload with this root; empty if that is not known."""
        payload = self._seeder.payload(root) or self.in_flight.payload(root)
        return "" if payload is None else payload.form.value

    @property
    def trackers(self) -> Mapping[str, tuple[int, str]]:
        """By URL: how many peers a tracker named last, and its problem."""
        with self._lock:
            return dict(self._trackers)

    @property
    def banned(self) -> Mapping[str, int]:
        """Addresses of peers that sent wrong pieces, and how often they were banned."""
        with self._lock:
            return dict(self._banned)

    def _heard_session(self, event: SessionEvent) -> None:
        match event:
            case PayloadDamaged(root, piece):
                payload = self._seeder.damaged(root, piece)
                if payload is not None:
                    blob = payload.blob
                    text = f"piece {piece} of what holds blob {blob.short}… is damaged"
                    name = file_name(self.archive, blob)
                    self._control.emit(FileProblem(name, text, CorruptError.code))
            case PeerBanned(_, address):
                with self._lock:
                    self._banned[address] = self._banned.get(address, 0) + 1
                _log.debug("peer %s banned: it sent wrong pieces", address)
                self._control.emit(Note(f"peer banned: {address} sent wrong pieces"))
            case TrackerAnswered(_, url, peers, problem):
                with self._lock:
                    self._trackers[url] = peers, problem
                    self._trackers.move_to_end(url)
                    while len(self._trackers) > self.tuning.most_trackers:
                        self._trackers.popitem(last=False)
            case TorrentFailed(root, reason):
                self._seeder.damaged(root)
                self._control.emit(Note(f"a torrent stopped ({root.short}…): {reason}"))
            case _:
                pass
