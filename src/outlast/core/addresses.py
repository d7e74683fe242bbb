"""The addresses of connections, and of URLs."""

import ipaddress
from typing import Final, TypeAlias
from urllib.parse import urlsplit

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

INSIDE: Final = tuple(
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
OUTSIDE_6: Final = ipaddress.IPv6Network("2000::/3")
"""All that is global of version 6. Not NAT64 (64:ff9b::/96): any address of version 4 is in it."""
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
INSIDE_6: Final = tuple(
    map(ipaddress.IPv6Network, ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"))
)
"""Of those, for special purposes and documents; and what carries any address of version 4 in it."""


def plain_address(text: str | None) -> str:
    """An address without its scope; an IPv4-mapped IPv6 address as IPv4; empty if `text` is not an
    address.
    """
    try:
        address = ipaddress.ip_address((text or "").partition("%")[0])
    except ValueError:
        return ""
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)


def is_local(address: str) -> bool:
    """Whether a plain address belongs to a LAN: private, link-local or loopback."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    return found.is_private or found.is_link_local or found.is_loopback


def host_of(url: str) -> str:
    """Host and port of a URL, for messages and logs: never its user, password, path or query."""
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return "?"
    return f"{parts.hostname or '?'}{port}"


def is_global(address: Address) -> bool:
    """Whether an address is one of the internet, for one receiver."""
    if isinstance(address, ipaddress.IPv4Address):
        return not any(address in net for net in INSIDE)
    return address in OUTSIDE_6 and not any(address in net for net in INSIDE_6)


def is_outside(text: str) -> bool:
    """Whether an IP address is one of the internet, also of one that is reached by NAT64."""
    found = unmapped(text)
    if isinstance(found, ipaddress.IPv6Address) and found in _NAT64:
        return is_global(ipaddress.IPv4Address(int(found) & 0xFFFF_FFFF))
    return is_global(found)


def unmapped(text: str) -> Address:
    """An address; one of version 4 where it is written as one of version 6."""
    found = ipaddress.ip_address(text.partition("%")[0])
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return mapped or found
