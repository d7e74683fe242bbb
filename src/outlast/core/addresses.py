"""The addresses of connections, and of URLs."""

import ipaddress
from urllib.parse import urlsplit


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
