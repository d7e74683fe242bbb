"""The operator's settings of the swarm."""

from dataclasses import dataclass, field
from typing import TypeAlias

from outlast.swarm.schedule import Rates, Window

HostPort: TypeAlias = tuple[str, int]


@dataclass(frozen=True, slots=True)
class SwarmSettings:
    """The section [swarm] of the configuration: see docs/guide/configuration.md.

    `port` is BitTorrent's and `dht_port` the DHT's (0: any free one), `peer_port` the node API's.
    `peers` are the static peers' API addresses. `link_hosts` are networks (CIDR) of ours that the
    trackers and web seeds of links may be in. `private` turns off everything that announces.
    """

    enabled: bool = True
    port: int = 0
    peer_port: int = 8091
    peers: tuple[HostPort, ...] = ()
    trackers: tuple[str, ...] = ()
    dht: bool = False
    dht_port: int = 0
    dht_routers: tuple[HostPort, ...] = ()
    link_hosts: tuple[str, ...] = ()
    private: bool = False
    utp: bool = False
    upnp: bool = False
    rates: Rates = field(default_factory=Rates)
    schedule: tuple[Window, ...] = ()
