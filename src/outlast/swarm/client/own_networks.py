"""The networks in which this machine has an address, also global ones: a home's IPv6 prefix reaches
the same machines as its private addresses do.
"""

import array
import contextlib
import fcntl
import ipaddress
import socket
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final, TypeAlias

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

_LIST: Final = 0x8912
_GET_MASK: Final = 0x891B
_LEAST_PREFIX: Final = 8
_MOST: Final = 256
"""Addresses that are asked for."""
_ROW: Final = 40 if sys.maxsize > 1 << 32 else 32
"""Bytes of a `struct ifreq`."""
_ADDRESSES_6: Final = Path("/proc/thread-self/net/if_inet6")


def own_networks() -> tuple[Network, ...]:
    """Those of all interfaces; none on systems other than Linux. A network that is a large part of
    the internet is a mistake, or a tunnel to all of it.
    """
    if sys.platform != "linux":
        return ()
    return tuple(net for net in (*_version_4(), *_version_6()) if net.prefixlen >= _LEAST_PREFIX)


def is_own(address: str) -> bool:
    """Whether an IP address is one of this machine. Nothing is sent."""
    host = address.partition("%")[0]
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as asker:
        asker.connect((host, 9))
        return str(asker.getsockname()[0]) == host
    return False


def _version_4() -> Iterator[Network]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
        rows = array.array("B", bytes(_MOST * _ROW))
        place, length = rows.buffer_info()
        size = fcntl.ioctl(asker.fileno(), _LIST, struct.pack("iP", length, place))
        for at in range(0, struct.unpack("iP", size)[0], _ROW):
            row = rows[at : at + _ROW].tobytes()
            with contextlib.suppress(ValueError, OSError):
                # Of an interface with several addresses the mask of this one is asked for.
                mask = fcntl.ioctl(asker.fileno(), _GET_MASK, row)
                text = "/".join(socket.inet_ntoa(one[20:24]) for one in (row, mask))
                yield ipaddress.IPv4Network(text, strict=False)


def _version_6() -> Iterator[Network]:
    try:
        lines = _ADDRESSES_6.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        with contextlib.suppress(ValueError, IndexError):
            words = line.split()
            address = ipaddress.IPv6Address(bytes.fromhex(words[0]))
            yield ipaddress.IPv6Network((address, int(words[2], 16)), strict=False)
