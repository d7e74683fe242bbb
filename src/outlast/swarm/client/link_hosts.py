"""Which addresses a link may have this machine send a request to.

A stranger wrote the link, and the request comes from inside our network: a tracker or web seed at
an address that only the inside reaches is not asked, unless the operator allows it.
"""

import ipaddress
from collections.abc import Iterable, Iterator
from typing import Final, TypeAlias

import libtorrent as lt

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

BLOCKED: Final = 1
_INSIDE: Final = tuple(
    map(
        ipaddress.IPv4Network,
        (
            *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16"),
            *("172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16"),
            *("198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/3"),
        ),
    )
)
"""Not global: this network, private, CGNAT, loopback, link-local, for documents and benchmarks,
relays, multicast, reserved. Listed here, for `ipaddress` differs between versions of Python.
"""
_OUTSIDE_6: Final = ipaddress.IPv6Network("2000::/3")
"""All that is global of version 6. Not NAT64 (64:ff9b::/96): any address of version 4 is in it."""
_MAPPED: Final = ipaddress.IPv6Network("::ffff:0:0/96")
_INSIDE_6: Final = tuple(
    map(ipaddress.IPv6Network, ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"))
)
"""Of those, for special purposes and documents; and what carries any address of version 4 in it."""


class LinkHosts:
    """The global addresses, and those of the networks that the operator allows."""

    __slots__ = ("_allowed",)

    def __init__(self, allowed: Iterable[str] = ()) -> None:
        """`allowed`: networks in CIDR notation, or addresses."""
        self._allowed: Final = tuple(map(ipaddress.ip_network, allowed))

    def admits(self, address: str) -> bool:
        """Whether an IP address may be asked."""
        found = _unmapped(address)
        if any(found.version == net.version and found in net for net in self._allowed):
            return True
        return is_global(found)

    def filter(self) -> lt.ip_filter:
        """The same for libtorrent: all other addresses are blocked."""
        found = lt.ip_filter()
        found.add_rule("::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", BLOCKED)
        _add(found, [_OUTSIDE_6, _MAPPED], 0)
        _add(found, [*_INSIDE, *_INSIDE_6], BLOCKED)
        _add(found, self._allowed, 0)
        return found


def is_global(address: Address) -> bool:
    """Whether an address is one of the internet, for one receiver."""
    if isinstance(address, ipaddress.IPv4Address):
        return not any(address in net for net in _INSIDE)
    return address in _OUTSIDE_6 and not any(address in net for net in _INSIDE_6)


def _unmapped(text: str) -> Address:
    """An address; one of version 4 where it is written as one of version 6."""
    found = ipaddress.ip_address(text.partition("%")[0])
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return mapped or found


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
