"""One payload in a session: its file, its peers and its progress."""

import contextlib
import errno
import logging
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import libtorrent as lt

from outlast.codec.merkle import BLOCK, PIECE, Tree
from outlast.core.errors import one_line
from outlast.swarm.client.bans import Bans
from outlast.swarm.client.events import one_client
from outlast.swarm.client.picker import PiecePicker
from outlast.swarm.settings import HostPort
from outlast.swarm.tuning import TUNING, ClientTuning

_log = logging.getLogger(__name__)

_UTP: Final = 1 << 17
"""The flag of `lt.peer_info` that its bindings do not name."""


@dataclass(frozen=True, slots=True)
class PeerView:
    """A peer that is connected. Rates in bytes per second; `progress` from 0 to 1."""

    address: str
    client: str
    down_rate: int
    up_rate: int
    down: int
    up: int
    progress: float
    connecting: bool
    utp: bool


@dataclass(frozen=True, slots=True)
class TorrentView:
    """A torrent's payload bytes since it was added (`wasted`: wrong or received twice) and its
    rates. `copies` counts the copies that its peers have together; below 1, pieces are missing.
    """

    down: int
    up: int
    down_rate: int
    up_rate: int
    wasted: int
    copies: float
    seeds: int
    peers: int


class Torrent:
    """One torrent. Thread-safe. Ends with `close`, which leaves the file in place."""

    def __init__(
        self,
        session: lt.session,
        params: lt.add_torrent_params,
        tree: Tree,
        forget: Callable[["Torrent"], None],
        *,
        picker: PiecePicker,
        watch: Callable[["Torrent", bool], None],
        wrote: Callable[[list[int]], None] | None = None,
        tuning: ClientTuning = TUNING.client,
    ) -> None:
        """`picker` says which pieces are requested. `wrote` is called with the pieces that were
        received or given and are in the file now, from the session's thread: it must not block for
        long. `watch` sets whether :meth:`take` gets an alert of each block.
        """
        self.tree: Final = tree
        self._name: Final = f"payload {tree.root.short}"
        self._tuning = tuning
        self._session: lt.session | None = session
        self._forget = forget
        self.restricted: Final = bool(params.flags & lt.torrent_flags.apply_ip_filter)
        self.seeds: Final = bool(params.flags & lt.torrent_flags.upload_mode)
        self._gone = threading.Event()
        self._flushed_all = threading.Event()
        self._lock = threading.Lock()
        self._closing = threading.Lock()
        self.failure: Exception | None = None
        """Why it stopped: an OSError of its file, or what `wrote` raised."""
        self._finished: set[int] = set()
        self._flushing: set[int] = set()
        self._ended = False
        self._wrote = wrote
        self._path = Path(params.renamed_files[0])
        self._early: list[tuple[int, bytes]] | None = []
        self._picker = picker
        self._bans = Bans(lambda piece: -(-tree.length(piece) // BLOCK))
        self._watch = watch
        if wrote is not None:
            params.piece_priorities = self._picker.priorities()
            watch(self, True)
        self._peers: list[PeerView] = []
        self._view = TorrentView(0, 0, 0, 0, 0, 0.0, 0, 0)
        self._handle = session.add_torrent(params)
        _log.debug("%s is %s", self._name, "seeded" if self.seeds else "fetched")
        self.infohash: Final[bytes] = self._handle.info_hashes().v2.to_bytes()

    # What it has

    def has(self, index: int) -> bool:
        """Whether a piece was received, though it may not be in the file yet."""
        with self._lock:
            return index in self._picker.came

    def give(self, index: int, data: bytes) -> None:
        """Adds a verified piece from another source: it is written to the file and offered."""
        with self._lock:
            if self._early is not None:
                self._early.append((index, data))
                return
        with _still_there():
            self._handle.add_piece(index, data, 0)

    def _take_early(self) -> None:
        """Adds the pieces given before the torrent had begun, when libtorrent drops them."""
        with self._lock:
            early, self._early = self._early, None
        for index, data in early or ():
            self.give(index, data)

    def leave_out(self, index: int, *, out: bool = True) -> None:
        """Sets whether a piece comes from another source, so that no peer is asked for it."""
        with self._lock:
            self._picker.leave_out(index, out=out)
        self._prefer([index])

    def take_stripe(self, number: int, count: int) -> None:
        """Sets the stripe: this is node `number` of `count` that fetch the payload. Each begins
        with other pieces, so that seeds are asked for each piece once.
        """
        with self._lock:
            changed = self._picker.take_stripe(number, count)
        if changed:
            _log.debug("%s: stripe %d of %d", self._name, number, count)
            self._prefer_all()

    def yield_seeds(self) -> None:
        """Once our stripe is complete, stops requesting from seeds and gets the rest from peers.
        Call it some times a second.
        """
        if not self._picker.may_yield_seeds:
            return
        peers = [peer for peer in self.peers() if not peer.connecting]
        seeds = {peer.address for peer in peers if peer.progress >= 1}
        copies = self.availability()
        with self._lock:
            others = len(peers) - len(seeds)
            changed = self._picker.update(seeds, others, copies, time.monotonic())
        if changed:
            self._prefer_all()

    def _prefer(self, pieces: Iterable[int]) -> None:
        with self._lock:
            priorities = [(index, self._picker.priority(index)) for index in pieces]
        for index, priority in priorities:
            with _still_there():
                self._handle.piece_priority(index, priority)

    def _prefer_all(self) -> None:
        with self._lock:
            priorities = self._picker.priorities()
        with _still_there():
            self._handle.prioritize_pieces(priorities)

    def _end_probation(self) -> None:
        with self._lock:
            ends = self._picker.end_probation()
            in_trouble = self._bans.in_trouble
        if ends:
            _log.debug("%s: probation is over", self._name)
            self._prefer_all()
            if not in_trouble:
                self._watch(self, False)

    def availability(self) -> list[int]:
        """How many connected peers have each piece; empty where none is connected."""
        with _still_there():
            return list(self._handle.piece_availability())
        return []

    def flush(self) -> None:
        """Has received pieces written to the file; then calls `wrote`. Call it now and then: if
        the last pieces came from other sources, nothing else would report the ones before.
        """
        self._end_probation()
        with self._lock:
            if not self._finished or self._flushing:
                return
            self._flushing, self._finished = self._finished, set()
        with _still_there():
            self._handle.flush_cache()

    # Peers

    def connect(self, addresses: Iterable[tuple[str, int]]) -> None:
        """Tries these peers (IP address, port)."""
        for address in addresses:
            with _still_there():
                self._handle.connect_peer(address)

    def peers(self) -> list[PeerView]:
        """The connected peers; after `close`, the last ones."""
        if self._session is not None:
            with _still_there():
                self._peers = [_peer_view(peer) for peer in self._handle.get_peer_info()]
        return self._peers

    @property
    def is_unjust(self) -> bool:
        """Whether a peer is banned that may be honest: the torrent should be joined again."""
        with self._lock:
            return self._bans.is_unjust

    def take_proven(self) -> list[HostPort]:
        """The peers banned for a wrong piece of which they sent every block, each once."""
        with self._lock:
            return self._bans.take_proven()

    def view(self) -> TorrentView:
        """A snapshot; asks libtorrent, and waits for its answer. After `close`, the last one."""
        if self._session is not None:
            with _still_there():
                self._view = self._look()
        return self._view

    def _look(self) -> TorrentView:
        flags = int(lt.torrent_handle.query_distributed_copies)
        return _torrent_view(self._handle.status(flags))

    # The end

    def close(self) -> None:
        """Removes it from the session. On return the file is no longer written to, and `wrote` was
        called with every piece in it.
        """
        self.peers()
        with self._closing:  # a second caller waits, too, until it is closed
            session, self._session = self._session, None
            if session is None:
                return
            with _still_there():
                if not self.seeds:
                    self._handle.pause()
                    self._flushed_all.clear()
                    self._handle.flush_cache()
                    self._flushed_all.wait(self._tuning.close_s)
                    self._report(self._finished)
                self._view = self._look()
                session.remove_torrent(self._handle)
                self._gone.wait(self._tuning.close_s)
            self._wrote = None
            self._forget(self)

    def abandon(self) -> None:
        """The session ends: no request goes to it any more."""
        self._session = None
        self._gone.set()
        self._flushed_all.set()

    # Called by the session

    def take(self, alert: lt.torrent_alert) -> bool:
        """Handles an alert; whether it was only for this torrent."""
        if self._judge(alert):
            return True
        match alert:
            case lt.piece_finished_alert():
                with self._lock:
                    self._bans.right(alert.piece_index)
                    self._finished.add(alert.piece_index)
                    raised = self._picker.note(alert.piece_index)
                    full = len(self._finished) >= self._tuning.flush_pieces
                self._prefer(raised)
                self._end_probation()
                if full:
                    self.flush()
            case lt.torrent_checked_alert():
                if not self.seeds:
                    self._handle.resume()
                self._take_early()
            case lt.torrent_finished_alert():
                self._ended = True
                self.flush()
            case lt.cache_flushed_alert():
                self._flushed()
            case lt.torrent_removed_alert():
                self._gone.set()
            case lt.file_error_alert():
                error = OSError(alert.error.value(), one_line(alert.error.message(), 200))
                _log.debug("%s: its file failed: %s", self._name, error)
                self.failure = self.failure or error
                return False
            case _:
                return False
        return True

    def _judge(self, alert: lt.torrent_alert) -> bool:
        """Handles an alert of what a peer sent; whether it was one."""
        if self.seeds and isinstance(alert, lt.hash_failed_alert):
            return False
        with self._lock:
            judged = self._bans.judge(alert)
        if isinstance(alert, lt.hash_failed_alert):
            self._watch(self, True)
        return judged

    def resync(self) -> None:
        """Alerts were lost: asks libtorrent which pieces it has."""
        self._take_early()
        raised: list[int] = []
        with _still_there():
            pieces = self._handle.status(int(lt.torrent_handle.query_pieces)).pieces
            with self._lock:
                self._flushing = set()  # the alert of its end may be lost
                self._finished |= {i for i, have in enumerate(pieces) if have}
                raised = [more for i in sorted(self._finished) for more in self._picker.note(i)]
        self._prefer(raised)
        self.flush()

    def _flushed(self) -> None:
        with self._lock:
            done, self._flushing = self._flushing, set()
            again = self._ended or len(self._finished) >= self._tuning.flush_pieces
        self._report(done)
        self._flushed_all.set()
        if again:
            self.flush()

    def _report(self, pieces: Iterable[int]) -> None:
        wanted, wrote = set(pieces), self._wrote
        done = self._in_file(wanted)
        if len(done) < len(wanted):
            self.failure = self.failure or OSError(
                errno.EIO, "pieces that were written cannot be read back"
            )
        if done and wrote is not None:
            try:
                wrote(done)
            except Exception as error:  # noqa: BLE001 - its fetcher raises it; alerts go on
                self.failure = self.failure or error

    def _in_file(self, pieces: Iterable[int]) -> list[int]:
        """Those of `pieces` that can be read back: libtorrent reports a flush even if the disk
        refused it.
        """
        found = []
        with contextlib.suppress(OSError), self._path.open("rb") as file:
            for index in sorted(pieces):
                file.seek(index * PIECE)
                if self.tree.matches(index, memoryview(file.read(self.tree.length(index)))):
                    found.append(index)
        return found


def _still_there() -> contextlib.suppress:
    """The torrent may be removed at any moment: then there is nothing to do."""
    return contextlib.suppress(RuntimeError)


def _peer_view(peer: lt.peer_info) -> PeerView:
    host, port = peer.ip
    return PeerView(
        address=f"[{host}]:{port}" if ":" in host else f"{host}:{port}",
        client=one_client(peer.client),
        down_rate=peer.payload_down_speed,
        up_rate=peer.payload_up_speed,
        down=peer.total_download,
        up=peer.total_upload,
        progress=peer.progress,
        connecting=bool(peer.flags & (lt.peer_info.connecting | lt.peer_info.handshake)),
        utp=bool(peer.flags & _UTP),
    )


def _torrent_view(status: lt.torrent_status) -> TorrentView:
    return TorrentView(
        down=status.total_payload_download,
        up=status.total_payload_upload,
        down_rate=status.download_payload_rate,
        up_rate=status.upload_payload_rate,
        wasted=status.total_failed_bytes + status.total_redundant_bytes,
        copies=status.distributed_copies,
        seeds=status.num_seeds,
        peers=status.num_peers,
    )
