"""Which addresses a link may have this machine send a request to.

A stranger wrote the link, and the request comes from inside our network: a tracker or web seed at
an address that only the inside reaches is not asked, unless the operator allows it. Nor is one in a
network of this machine: a firewall may keep others from that, and not this machine.
"""

import ipaddress
from collections.abc import Iterable, Iterator
from typing import Final

import libtorrent as lt

from outlast.core.addresses import INSIDE, INSIDE_6, OUTSIDE_6, is_global, unmapped
from outlast.swarm.client.own_networks import Network, is_own, own_networks

BLOCKED: Final = 1
_MAPPED: Final = ipaddress.IPv6Network("::ffff:0:0/96")


class LinkHosts:
    """The global addresses outside of this machine's networks, and those of the networks that the
    operator allows.
    """

    __slots__ = ("_allowed",)

    def __init__(self, allowed: Iterable[str] = ()) -> None:
        """`allowed`: networks in CIDR notation, or addresses."""
        self._allowed: Final = tuple(map(ipaddress.ip_network, allowed))

    def admits(self, address: str) -> bool:
        """Whether an IP address may be asked."""
        found = unmapped(address)
        if any(found.version == net.version and found in net for net in self._allowed):
            return True
        near = any(found.version == net.version and found in net for net in own_networks())
        return is_global(found) and not near and not is_own(str(found))

    def filter(self) -> lt.ip_filter:
        """The same for libtorrent, as this machine's networks are now: all other addresses are
        blocked.
        """
        found = lt.ip_filter()
        found.add_rule("::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", BLOCKED)
        _add(found, [OUTSIDE_6, _MAPPED], 0)
        _add(found, [*INSIDE, *INSIDE_6, *own_networks()], BLOCKED)
        _add(found, self._allowed, 0)
        return found


def _add(rules: lt.ip_filter, networks: Iterable[Network], flags: int) -> None:
    for net in _with_mapped(networks):
        rules.add_rule(str(net.network_address), str(net.broadcast_address), flags)


def _with_mapped(networks: Iterable[Network]) -> Iterator[Network]:
    """The networks, and those of version 4 also as they are written in version 6."""
    for net in networks:
        yield net
        if isinstance(net, ipaddress.IPv4Network):
            first = int(_MAPPED.network_address) + int(net.network_address)
            yield ipaddress.IPv6Network((first, 96 + net.prefixlen))
