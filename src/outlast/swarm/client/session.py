"""A BitTorrent session: libtorrent, with one torrent for each payload.

A payload is seeded in place; libtorrent runs such torrents in upload mode and never writes to them.
A payload that is fetched goes into the caller's file, which may have pieces from other sources.
libtorrent's alerts become frozen events (:mod:`outlast.swarm.client.events`).
"""

import errno
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import libtorrent as lt

from outlast.codec.merkle import Tree
from outlast.core.closing import Closing
from outlast.core.digest import Digest
from outlast.core.errors import BadConfigError
from outlast.swarm.client import libtorrent_settings
from outlast.swarm.client.add_params import connect, infohashes_of
from outlast.swarm.client.alerts import Alerts
from outlast.swarm.client.dht import Dht
from outlast.swarm.client.events import PeerBanned, SessionEvent, described, read_alert
from outlast.swarm.client.join import JoinOptions
from outlast.swarm.client.link_session import LinkSession
from outlast.swarm.client.picker import PiecePicker
from outlast.swarm.client.torrent import Torrent
from outlast.swarm.schedule import Rates
from outlast.swarm.settings import HostPort, SwarmSettings
from outlast.swarm.torrent import payload_torrent
from outlast.swarm.tuning import TUNING, ClientTuning

if TYPE_CHECKING:
    from libtorrent import settings_pack

_log = logging.getLogger(__name__)

AlertHandler = Callable[[lt.torrent_alert], None]
_NOWHERE: Final = "/nonexistent/outlast"
_FLAGS: Final = lt.torrent_flags
_ALONE: Final = JoinOptions()
_ONE_PER_ADDRESS: Final["settings_pack"] = {"allow_multiple_connections_per_ip": False}


class TorrentSession(Closing):
    """One session. Thread-safe. `heard` gets each event, from one thread, and must not block."""

    def __init__(
        self,
        settings: SwarmSettings,
        static: Iterable[str],
        heard: Callable[[SessionEvent], None],
        *,
        port: int | None = None,
        tuning: ClientTuning = TUNING.client,
    ) -> None:
        """Listens on `port`, by default the settings' one; raises :class:`BadConfigError` if it
        cannot. `static` are the IP addresses of static peers.
        """
        self._heard = heard
        self.tuning: Final = tuning
        self._lock = threading.Lock()
        self._torrents: dict[Digest, Torrent] = {}
        self._handlers: dict[lt.torrent_handle, AlertHandler] = {}
        self._liars: dict[Digest, list[HostPort]] = {}
        self._watched: set[object] = set()
        self._watching = threading.Lock()
        self._listening = threading.Event()
        self._refused = ""
        self._taken = False
        self.private: Final = settings.private
        self._counters: Mapping[str, int] = {}
        self._counted = threading.Event()
        given = settings.port if port is None else port
        self._wanted = given or _free_port()
        chosen = libtorrent_settings.session_settings(settings, self._wanted, tuning.libtorrent)
        self._categories = int(chosen["alert_mask"])
        self._session = lt.session(chosen)
        self.set_static(static)
        self._closed = False
        self._many_per_address = True
        self._alerts = Alerts(self._session, self._dispatch)
        self._await_port()
        for _ in range(0 if given else tuning.port_tries):
            if not self._taken:
                break
            self._take_another_port()
        self.port = self._session.listen_port()
        self._dht: Dht | None = None
        self._settings = settings
        self._rates = settings.rates
        self._links: LinkSession | None = None
        self._linked: set[lt.torrent_handle] = set()
        if not self.port:
            self.close()
            raise BadConfigError(
                f"the swarm cannot listen on port {self._wanted}: {self._refused or 'no answer'}",
                hint="name another with [swarm] port, or turn it off with --no-swarm",
            )
        if settings.dht and not settings.private:
            try:
                self._dht = Dht(settings, self.port, tuning)
            except BadConfigError:
                self.close()
                raise

    def _await_port(self) -> None:
        """Waits until it listens; if one interface refuses, the other has a moment."""
        until = time.monotonic() + self.tuning.listen_s
        refused = False
        while not self._listening.wait(0.05) and time.monotonic() < until:
            if self._refused and not refused:
                refused, until = True, time.monotonic() + self.tuning.refused_s

    def _take_another_port(self) -> None:
        """Another program was quicker to take the one that was free."""
        _log.warning("the swarm cannot listen on port %d: %s", self._wanted, self._refused)
        self._wanted = _free_port()
        self._refused, self._taken = "", False
        self._listening.clear()
        self._session.apply_settings(libtorrent_settings.listening_on(self._wanted))
        self._await_port()

    def close(self) -> None:
        """Ends all connections; returns when no file is open any more."""
        if self._closed:
            return
        with self._watching:
            self._closed = True
        self._session.pause()
        with self._lock:
            torrents, self._torrents = list(self._torrents.values()), {}
            self._handlers.clear()
        for torrent in torrents:
            torrent.abandon()
        if self._dht is not None:
            self._dht.close()
        if self._links is not None:
            self._links.close()
        self._alerts.close()
        del self._session  # its destructor waits for the disk

    # Torrents

    def seed(
        self, tree: Tree, path: Path, *, restricted: bool, trackers: Sequence[str] = ()
    ) -> Torrent:
        """Seeds the file `path`, whose tree is `tree`. It is never written to. `restricted` content
        goes to static peers alone, and is announced nowhere.
        """
        flags = _FLAGS.seed_mode | _FLAGS.upload_mode
        params = self._params(
            tree, path, flags, JoinOptions(tuple(trackers)), restricted=restricted
        )
        return self._add(params, tree, None, PiecePicker(tree.count, (), tuning=self.tuning))

    def fetch(
        self,
        tree: Tree,
        path: Path,
        have: bytes | bytearray,
        wrote: Callable[[list[int]], None],
        *,
        restricted: bool,
        join_options: JoinOptions = _ALONE,
    ) -> Torrent:
        """Fetches into the file `path`, which has the pieces with a 1 in `have`. `wrote` is called
        with further ones: see :class:`Torrent`.
        """
        # On a LAN every piece is soon on many nodes: rarest first is for strangers.
        in_order = join_options.in_order or join_options.stripe is not None
        # It is resumed once it was checked: then its peers are tried at once.
        flags = _FLAGS.paused | (_FLAGS.sequential_download if in_order else 0)
        params = self._params(tree, path, flags, join_options, restricted=restricted)
        params.banned_peers = self._liars.get(tree.root, [])
        params.have_pieces = [bool(piece) for piece in have]
        lacks = [index for index, there in enumerate(have) if not there]
        picker = PiecePicker(
            tree.count,
            lacks,
            in_order=join_options.in_order,
            stripe=join_options.stripe,
            tuning=self.tuning,
        )
        return self._add(params, tree, wrote, picker)

    def _params(
        self, tree: Tree, path: Path, flags: int, join_options: JoinOptions, *, restricted: bool
    ) -> lt.add_torrent_params:
        params = lt.add_torrent_params()
        params.ti = lt.torrent_info(payload_torrent.torrent(tree))
        # The folder does not exist: no path that libtorrent might make up in it can be written.
        params.save_path = _NOWHERE
        params.renamed_files = {0: os.fspath(path)}
        # Nodes know each other by one address each. LSD would announce all addresses of a node,
        # and each pair of nodes would have as many connections.
        flags |= _FLAGS.disable_lsd
        if restricted or self.private:
            flags |= _FLAGS.disable_dht | _FLAGS.disable_pex | _FLAGS.apply_ip_filter
        else:
            params.trackers = list(join_options.trackers)
        params.flags = flags
        params.peers = list(join_options.peers)
        return params

    def _add(
        self,
        params: lt.add_torrent_params,
        tree: Tree,
        wrote: Callable[[list[int]], None] | None,
        picker: PiecePicker,
    ) -> Torrent:
        before = self.torrent(tree.root)
        if before is not None:
            before.close()
        with self._lock:  # no alert is read before its torrent is known
            torrent = Torrent(
                self._session,
                params,
                tree,
                self._forget,
                picker=picker,
                watch=lambda torrent, on: self.watch(torrent, on=on),
                wrote=wrote,
                tuning=self.tuning,
            )
            self._torrents[tree.root] = torrent
        if self._dht is not None and not torrent.restricted:
            self._dht.join([torrent.infohash], torrent.connect, seeks=not torrent.seeds)
        return torrent

    def watch(self, torrent: object, *, on: bool) -> None:
        """Sets whether a torrent needs alerts of blocks: 128 for each piece, so only in trouble."""
        with self._watching:
            if on == (torrent in self._watched) or self._closed:
                return
            (self._watched.add if on else self._watched.discard)(torrent)
            blocks = lt.alert_category.block_progress if self._watched else 0
            self._apply({"alert_mask": self._categories | blocks})

    def _apply(self, changes: "settings_pack") -> None:
        self._session.apply_settings(changes)
        if self._links is not None:
            self._links.apply(changes)

    def _forget(self, torrent: Torrent) -> None:
        self.watch(torrent, on=False)
        with self._lock:
            if self._torrents.get(torrent.tree.root) is torrent:
                del self._torrents[torrent.tree.root]
                if self._dht is not None:
                    self._dht.leave([torrent.infohash])

    def torrent(self, root: Digest) -> Torrent | None:
        """The torrent of a payload, if it is in the session."""
        with self._lock:
            return self._torrents.get(root)

    def torrents(self) -> list[Torrent]:
        with self._lock:
            return list(self._torrents.values())

    # Torrents with many files (swarm.client.multi_file)

    def add(
        self,
        params: lt.add_torrent_params,
        take: AlertHandler,
        *,
        restricted: bool,
        by_link: bool = False,
    ) -> lt.torrent_handle:
        """Adds a torrent as it is; `take` is called with its alerts, from one thread. It is
        announced as the settings say, or not at all if `restricted`. `by_link`: a stranger made the
        link; only such a torrent has web seeds.
        """
        links = self.links() if by_link and not (restricted or self.private) else None
        if restricted or self.private:
            flags = _FLAGS.disable_dht | _FLAGS.disable_pex | _FLAGS.disable_lsd
            params.flags |= flags | _FLAGS.apply_ip_filter
            params.trackers = []
        if links is None:
            params.url_seeds = []
        with self._lock:  # no alert is read before its torrent is known
            handle = self._session.add_torrent(params) if links is None else links.add(params)
            self._handlers[handle] = take
            if links is not None:
                self._linked.add(handle)
        if self._dht is not None and not params.flags & _FLAGS.apply_ip_filter:
            # Where there is no info dictionary yet, a peer has to send it.
            seeks = params.ti is None or not params.flags & _FLAGS.upload_mode
            self._dht.join(
                infohashes_of(handle),
                lambda peers: connect(handle, peers),
                seeks=seeks,
                port=None if links is None else links.port,
            )
        return handle

    def links(self) -> LinkSession:
        """The session for torrents of links; it begins with the first call."""
        with self._watching:
            if self._links is None:
                port, tuning = _free_port(), self.tuning
                self._links = LinkSession(self._settings, port, self._hear_link, tuning)
                self._links.set_rates(self._rates)
                blocks = lt.alert_category.block_progress if self._watched else 0
                self._links.apply({"alert_mask": self._categories | blocks})
                if not self._many_per_address:
                    self._links.apply(_ONE_PER_ADDRESS)
            return self._links

    def remove(self, handle: lt.torrent_handle) -> None:
        """Removes such a torrent."""
        if not self._closed:
            if self._dht is not None:
                self._dht.leave(infohashes_of(handle))
            if handle in self._linked:
                assert self._links is not None
                self._links.remove(handle)
            else:
                self._session.remove_torrent(handle)

    def drop_handler(self, handle: lt.torrent_handle) -> None:
        """Ends the calls of a torrent's `take`."""
        with self._lock:
            self._handlers.pop(handle, None)
            self._linked.discard(handle)

    # Limits

    def set_static(self, hosts: Iterable[str]) -> None:
        """Sets the IP addresses of static peers: restricted content is for them alone."""
        self._session.set_ip_filter(libtorrent_settings.only(hosts))

    def set_rates(self, rates: Rates) -> None:
        """Sets the caps in bytes per second, beyond the LAN and on it."""
        self._rates = rates
        libtorrent_settings.set_rates(self._session, rates)
        if self._links is not None:
            self._links.set_rates(rates)

    def refresh(self) -> None:
        """Asks libtorrent for its counters, and waits until they are there, at most a second."""
        self._counted.clear()
        self._session.post_session_stats()
        self._counted.wait(self.tuning.count_s)
        if self._links is not None:
            links = self._links.counters()
            self._counters = {n: count + links.get(n, 0) for n, count in self._counters.items()}

    @property
    def counters(self) -> Mapping[str, int]:
        """The counters of the last refresh, by libtorrent's names."""
        return self._counters

    @property
    def dht_nodes(self) -> int | None:
        """How many nodes the DHT knows; None where it is off."""
        return self._dht.nodes if self._dht is not None else None

    # Events

    def _dispatch(self, alert: lt.alert) -> None:
        if isinstance(alert, lt.listen_succeeded_alert | lt.listen_failed_alert):
            if alert.port == self._wanted:  # and not one that was given up
                self._note_listening(alert)
            return
        if isinstance(alert, lt.session_stats_alert):
            self._counters = alert.values
            self._counted.set()
            return
        if isinstance(alert, lt.alerts_dropped_alert):
            for torrent in self.torrents():
                torrent.resync()
            return
        if isinstance(alert, lt.peer_ban_alert):
            self.hold_bans()
        if isinstance(alert, lt.torrent_alert) and not self._hear_handler(alert):
            self._tell(alert, self._of(alert))

    def _hear_link(self, alert: lt.alert) -> None:
        if isinstance(alert, lt.peer_ban_alert):
            self.hold_bans()
        if isinstance(alert, lt.torrent_alert):
            self._hear_handler(alert)

    def _hear_handler(self, alert: lt.torrent_alert) -> bool:
        """Hands an alert to the `take` of its torrent; whether it has one."""
        with self._lock:
            take = self._handlers.get(alert.handle)
        if take is not None:
            take(alert)
        return take is not None

    def _note_listening(self, alert: lt.listen_succeeded_alert | lt.listen_failed_alert) -> None:
        if isinstance(alert, lt.listen_failed_alert):
            self._refused = alert.message()
            self._taken |= alert.error.value() == errno.EADDRINUSE
        else:
            self._listening.set()

    def hold_bans(self) -> None:
        """A ban is of an address and a port, and incoming connections have a new port each time.
        From the first ban on, an address is one peer: a banned peer does not come back.
        """
        if self._many_per_address:
            self._many_per_address = False
            self._apply(_ONE_PER_ADDRESS)

    def _tell(self, alert: lt.torrent_alert, torrent: Torrent | None) -> None:
        if torrent is None:
            return
        if not torrent.take(alert):
            self._report(read_alert(alert, torrent.tree.root))
        elif isinstance(alert, lt.hash_failed_alert | lt.peer_ban_alert):
            for address in torrent.take_proven():
                self._liars.setdefault(torrent.tree.root, []).append(address)
                self._report(PeerBanned(torrent.tree.root, "{}:{}".format(*address)))

    def _report(self, event: SessionEvent | None) -> None:
        if event is not None:
            _log.debug("%s", described(event))
            self._heard(event)

    def _of(self, alert: lt.torrent_alert) -> Torrent | None:
        name = alert.torrent_name
        return self.torrent(Digest(name)) if Digest.is_valid(name) else None


def _free_port() -> int:
    """A port that is free on all interfaces: libtorrent would take another one for each."""
    dual = socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if dual else socket.AF_INET
    with socket.create_server(("", 0), family=family, dualstack_ipv6=dual) as found:
        return int(found.getsockname()[1])
