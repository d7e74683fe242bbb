"""A libtorrent session for the torrents of links that strangers made.

libtorrent applies the address filter of a session to the web seeds of all its torrents, also of
those that it does not apply to. That of the first session lets static peers pass alone, so web
seeds have this one; its filter keeps them out of our network (docs/adr/0019-links.md). It does not
apply to peers.
"""

import threading
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Final

import libtorrent as lt

from outlast.core.closing import Closing
from outlast.swarm.client import libtorrent_settings
from outlast.swarm.client.add_params import infohashes_of
from outlast.swarm.client.alerts import Alerts
from outlast.swarm.client.announce import TrackerRules
from outlast.swarm.client.link_hosts import LinkHosts
from outlast.swarm.client.link_trackers import Announced, LinkTrackers
from outlast.swarm.schedule import Rates
from outlast.swarm.settings import HostPort, SwarmSettings
from outlast.swarm.tuning import ClientTuning

if TYPE_CHECKING:
    from libtorrent import settings_pack


class LinkSession(Closing):
    """Listens on a port of its own. Thread-safe."""

    def __init__(
        self,
        settings: SwarmSettings,
        port: int,
        take: Callable[[lt.alert], None],
        tuning: ClientTuning,
    ) -> None:
        """`port`: tried first, and the next ones where it is taken. `take` gets the alerts of
        torrents, from one thread.
        """
        self._take = take
        self._hosts = LinkHosts(settings.link_hosts)
        self._tuning = tuning
        self._counters: Mapping[str, int] = {}
        self._counted = threading.Event()
        chosen = libtorrent_settings.session_settings(settings, port, tuning.libtorrent)
        chosen["max_retry_port_bind"] = tuning.port_tries
        chosen["ssrf_mitigation"] = True
        self._session = lt.session(chosen)
        self._session.set_ip_filter(self._hosts.filter())
        self._alerts = Alerts(self._session, self._hear)
        self.port: Final = self._session.listen_port()

    def close(self) -> None:
        self._session.pause()
        self._alerts.close()
        del self._session  # its destructor waits for the disk

    def add(self, params: lt.add_torrent_params) -> lt.torrent_handle:
        self._session.set_ip_filter(self._hosts.filter())  # networks come and go
        return self._session.add_torrent(params)

    def remove(self, handle: lt.torrent_handle) -> None:
        self._session.remove_torrent(handle)

    def announce(
        self,
        handle: lt.torrent_handle,
        urls: Iterable[str],
        near: Callable[[], frozenset[HostPort]],
        found: Callable[[Iterable[HostPort]], None],
    ) -> LinkTrackers:
        """Announces a torrent to the trackers of its link; `near` has the addresses of the trackers
        of other nodes, which may be inside.
        """
        torrent = Announced(infohashes_of(handle), self.port)
        return LinkTrackers(urls, torrent, TrackerRules(self._hosts, near), found, self._tuning)

    def apply(self, settings: "settings_pack") -> None:
        self._session.apply_settings(settings)

    def set_rates(self, rates: Rates) -> None:
        libtorrent_settings.set_rates(self._session, rates)

    def counters(self) -> Mapping[str, int]:
        """The counters, by libtorrent's names; asks for them, and waits a moment."""
        self._counted.clear()
        self._session.post_session_stats()
        self._counted.wait(self._tuning.count_s)
        return self._counters

    def _hear(self, alert: lt.alert) -> None:
        if isinstance(alert, lt.session_stats_alert):
            self._counters = alert.values
            self._counted.set()
        elif isinstance(alert, lt.torrent_alert):
            self._take(alert)
