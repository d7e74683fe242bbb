"""libtorrent's settings, for a machine that does other work, on networks that are shared."""

from collections.abc import Iterable
from dataclasses import asdict
from typing import TYPE_CHECKING, Final, cast

import libtorrent as lt

from outlast import __version__
from outlast.swarm.schedule import Rates
from outlast.swarm.settings import SwarmSettings
from outlast.swarm.torrent import bencode
from outlast.swarm.tuning import TUNING, LibtorrentTuning

if TYPE_CHECKING:
    from libtorrent import PeerClassInfo, settings_pack

LAN: Final = (
    ("10.0.0.0", "10.255.255.255"),
    ("172.16.0.0", "172.31.255.255"),
    ("192.168.0.0", "192.168.255.255"),
    ("169.254.0.0", "169.254.255.255"),
    ("127.0.0.0", "127.255.255.255"),
    ("fc00::", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
    ("fe80::", "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
    ("::1", "::1"),
)
"""First and last addresses of what counts as the local network."""
_ALL: Final = (
    ("0.0.0.0", "255.255.255.255"),  # noqa: S104 - a range, not where to listen
    ("::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
)
_BLOCKED: Final = 1


def listening_on(port: int) -> "settings_pack":
    """The setting that has a session listen on `port` of all interfaces."""
    return cast("settings_pack", {"listen_interfaces": f"0.0.0.0:{port},[::]:{port}"})


def session_settings(
    settings: SwarmSettings, port: int, tuning: LibtorrentTuning = TUNING.client.libtorrent
) -> "settings_pack":
    """The settings of a session that listens on `port`. A private one announces nothing, and its
    handshakes are encrypted, so that they show no infohash.
    """
    announces = not settings.private
    policy = lt.enc_policy.pe_forced if settings.private else lt.enc_policy.pe_enabled
    # Otherwise two peers may agree to go on in the clear, and repeat the infohash there.
    level = lt.enc_level.pe_rc4 if settings.private else lt.enc_level.pe_both
    categories = lt.alert_category
    found: dict[str, object] = {
        "user_agent": f"outlast/{__version__}",
        "peer_fingerprint": _fingerprint(),
        **listening_on(port),
        "alert_mask": categories.error
        | categories.status
        | categories.storage
        | categories.piece_progress
        | categories.tracker
        | categories.peer,  # bans are of this kind
        "max_retry_port_bind": 0,
        "listen_system_port_fallback": False,
        "enable_dht": False,  # it has a session of its own
        "enable_lsd": announces,
        "enable_upnp": settings.upnp and announces,
        "enable_natpmp": settings.upnp and announces,
        "enable_outgoing_utp": settings.utp,
        "enable_incoming_utp": settings.utp,
        "allow_multiple_connections_per_ip": True,
        "announce_to_all_trackers": True,
        "announce_to_all_tiers": True,
        "ssrf_mitigation": False,  # trackers of the neighbourhood have addresses of it
        "out_enc_policy": int(policy),
        "in_enc_policy": int(policy),
        "allowed_enc_level": int(level),
        "prefer_rc4": settings.private,
        "anonymous_mode": False,
        "close_redundant_connections": False,  # who gave what is asked of the connections
        "mixed_mode_algorithm": int(lt.bandwidth_mixed_algo_t.prefer_tcp),
        "max_metadata_size": bencode.MAX_BYTES,
        **asdict(tuning),
    }
    return cast("settings_pack", found)


def _fingerprint() -> str:
    major, minor, patch = (int(part) for part in __version__.split(".")[:3])
    return lt.generate_fingerprint("OL", major, minor, patch, 0)


def only(hosts: Iterable[str]) -> lt.ip_filter:
    """A filter that allows `hosts` (IP addresses) and blocks all others."""
    found = lt.ip_filter()
    for first, last in _ALL:
        found.add_rule(first, last, _BLOCKED)
    for host in hosts:
        found.add_rule(host, host, 0)
    return found


def peer_classes(global_class: int, local_class: int) -> lt.ip_filter:
    """A filter that puts addresses of the local network into its own class of caps."""
    found = lt.ip_filter()
    for first, last in _ALL:
        found.add_rule(first, last, 1 << global_class)
    for first, last in LAN:
        found.add_rule(first, last, 1 << local_class)
    return found


def set_rates(session: lt.session, rates: Rates) -> None:
    """Sets the caps of a session in bytes per second, beyond the LAN and on it."""
    site, lan = session.global_peer_class_id, session.local_peer_class_id
    for number, info in zip((site, lan), class_rates(rates), strict=True):
        session.set_peer_class(number, info)
    session.set_peer_class_filter(peer_classes(site, lan))


def class_rates(rates: Rates) -> tuple["PeerClassInfo", "PeerClassInfo"]:
    """The caps of the site and of its local network, as peer classes."""
    return (
        _peer_class("site", rates.up, rates.down, ignores_slots=False),
        _peer_class("lan", rates.lan_up, rates.lan_down, ignores_slots=True),
    )


def _peer_class(label: str, up: int, down: int, *, ignores_slots: bool) -> "PeerClassInfo":
    return {
        "label": label,
        "upload_limit": up,
        "download_limit": down,
        "ignore_unchoke_slots": ignores_slots,
        "connection_limit_factor": 150 if ignores_slots else 100,
        "upload_priority": 1,
        "download_priority": 1,
    }
