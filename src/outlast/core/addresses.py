"""The addresses that connections come from."""

import ipaddress


def plain_address(text: str | None) -> str:
    """An address without its scope, and as IPv4 where it is one that came in over IPv6; empty
    where there is none.
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
