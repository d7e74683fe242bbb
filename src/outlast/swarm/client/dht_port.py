"""Where a session of the DHT listens, and what it is set to."""

import contextlib
import errno
import ipaddress
import logging
import socket
from typing import TYPE_CHECKING, Final, cast

import libtorrent as lt

from outlast.core.errors import BadConfigError
from outlast.swarm.settings import SwarmSettings

if TYPE_CHECKING:
    from libtorrent import settings_pack

_log = logging.getLogger(__name__)


class DhtPort:
    """The port of a session: that of the settings, or one that is free. Belongs to the thread of
    the session's alerts, once it runs.
    """

    def __init__(self, settings: SwarmSettings, tries: int) -> None:
        """`tries`: how many other ports may be taken. Raises :class:`BadConfigError` where the one
        that the settings name is taken.
        """
        self._settings = settings
        self._port = udp_port(settings.dht_port)
        self._tries = tries

    def session_settings(self) -> "settings_pack":
        """What the session begins with."""
        return _session_settings(self._settings, self._port)

    def failed(self, session: lt.session, alert: lt.listen_failed_alert) -> None:
        """Takes another port where any will do. This one was free for UDP when it was chosen; but
        libtorrent opens it for TCP too, and another program may have been quicker.
        """
        if alert.port != self._port or alert.error.value() != errno.EADDRINUSE:
            return  # of a port that was given up, or an interface that has gone
        _log.warning("the DHT cannot listen on port %d: it is taken", self._port)
        if self._settings.dht_port == 0 and self._tries:
            self._tries -= 1
            self._port = udp_port(0)
            interfaces = ",".join(_interfaces(self._settings, self._port))
            session.apply_settings({"listen_interfaces": interfaces})


def is_closed(settings: SwarmSettings) -> bool:
    """Whether the DHT is one of a network of its own: all its routers are of private networks."""
    hosts = [host for host, _ in settings.dht_routers]
    return bool(hosts) and all(map(_is_private, hosts))


def _is_private(host: str) -> bool:
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_private
    return False


def _session_settings(settings: SwarmSettings, port: int) -> "settings_pack":
    """Relaxes libtorrent's rules against abuse in a closed network, where all nodes may be of one
    prefix and choose their addresses; the public DHT needs them.
    """
    closed = is_closed(settings)
    categories = lt.alert_category
    found: dict[str, object] = {
        "listen_interfaces": ",".join(_interfaces(settings, port)),
        "max_retry_port_bind": 0,
        "listen_system_port_fallback": False,
        "alert_mask": categories.error | categories.status | categories.dht_operation,
        "enable_dht": True,
        "dht_bootstrap_nodes": "",
        "dht_restrict_routing_ips": not closed,
        "dht_restrict_search_ips": not closed,
        "dht_enforce_node_id": False,
        "dht_ignore_dark_internet": not closed,
        "dht_prefer_verified_node_ids": not closed,
        # Messages a second from one address, after which it is ignored for five minutes.
        "dht_block_ratelimit": 1000 if closed else 5,
        **dict.fromkeys(_OTHERS, False),
        "aio_threads": 1,
        "hashing_threads": 1,
    }
    return cast("settings_pack", found)


def _interfaces(settings: SwarmSettings, port: int) -> list[str]:
    """All interfaces. Those of a closed network by name: libtorrent does not use the DHT on what
    looks like loopback or a dead end.
    """
    found = ["0.0.0.0", "[::]"]  # noqa: S104 - a DHT is for others
    if is_closed(settings):
        own = dict.fromkeys(_towards(host) for host, _ in settings.dht_routers)
        found += [f"[{host}]" if ":" in host else host for host in own if host]
    return [f"{host}:{port}" for host in found]


def _towards(host: str) -> str:
    """The address of this machine from which it reaches another one; empty if it does not."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as asker, contextlib.suppress(OSError):
        asker.connect((host, 9))  # sends nothing
        return str(asker.getsockname()[0])
    return ""


_OTHERS: Final = (
    *("enable_lsd", "enable_upnp", "enable_natpmp", "enable_incoming_tcp", "enable_outgoing_tcp"),
    *("enable_incoming_utp", "enable_outgoing_utp"),
)
"""Features that a session without torrents does not need."""


def udp_port(wanted: int) -> int:
    """`wanted`, which has to be free for TCP too, or for 0 any port that is free."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as found:
        try:
            found.bind(("", wanted))
            if wanted:
                socket.create_server(("", wanted)).close()
        except OSError as error:
            raise BadConfigError(
                f"the DHT cannot listen on port {wanted}: {error.strerror}",
                hint="name another with [swarm] dht-port",
            ) from None
        return int(found.getsockname()[1])
