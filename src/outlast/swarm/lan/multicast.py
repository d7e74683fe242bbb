"""The two multicast groups of local service discovery (BEP 14), by interface, with what POSIX and
the standard library have.

An interface takes part by its index, so no route is needed; and what is sent on it carries an
address of that interface, never another's. What is sent goes one hop far.
"""

import contextlib
import errno
import fcntl
import os
import socket
import struct
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from outlast.swarm.lan.datagrams import MAX_DATAGRAM

PORT: Final = 6771
GROUP4: Final = "239.192.152.143"
GROUP6: Final = "ff15::efc0:988f"
MAX_INTERFACES: Final = 32
ABSENT: Final = frozenset(
    {
        errno.EADDRNOTAVAIL,
        errno.ENODEV,
        errno.ENXIO,
        errno.ENETUNREACH,
        errno.ENETDOWN,
        errno.EAFNOSUPPORT,
        errno.EINVAL,
    }
)
"""Errors of the kernel for an interface that has no address of that family, or not yet."""

_LINUX: Final = os.uname().sysname == "Linux"
_GET_FLAGS: Final = 0x8913 if _LINUX else 0xC0206911
_GET_ADDRESS: Final = 0x8915 if _LINUX else 0xC0206921
_UP, _LOOPBACK, _POINT_TO_POINT, _RUNNING = 0x1, 0x8, 0x10, 0x40
_MULTICAST: Final = 0x1000 if _LINUX else 0x8000
_IP_MULTICAST_ALL: Final = 49
_IPV6_MULTICAST_ALL: Final = 29


@dataclass(frozen=True, slots=True)
class Interface:
    """A network interface that is up; `address` is its IPv4 address, empty if it has none."""

    name: str
    index: int
    address: str
    is_loopback: bool


def scan(names: Sequence[str] | None = None) -> list[Interface]:
    """The interfaces to take part on, at most 32: of `names` those that are up and connected; of
    all, if None, also no lines to one other machine (tunnels: what is behind them is no LAN) and
    no ports of a bridge (the bridge itself takes part).
    """
    found: list[Interface] = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
        for index, name in socket.if_nameindex():
            if names is not None and name not in names:
                continue
            flags = int.from_bytes(_ask(asker, _GET_FLAGS, name)[:2], sys.byteorder)
            if flags & _UP and flags & _RUNNING and (names is not None or _is_lan(name, flags)):
                raw = _ask(asker, _GET_ADDRESS, name)[4:8]
                address = socket.inet_ntoa(raw) if raw else ""
                found.append(Interface(name, index, address, bool(flags & _LOOPBACK)))
    return found[:MAX_INTERFACES]


def _ask(asker: socket.socket, what: int, name: str) -> bytes:
    """What the kernel says of an interface, 16 bytes; empty if nothing."""
    try:
        return fcntl.ioctl(asker.fileno(), what, struct.pack("16s24x", os.fsencode(name)))[16:32]
    except OSError:
        return b""


def _is_lan(name: str, flags: int) -> bool:
    if flags & _LOOPBACK:
        return True
    port = os.path.exists(f"/sys/class/net/{name}/brport")
    return bool(flags & _MULTICAST) and not flags & _POINT_TO_POINT and not port


class Group:
    """One family's group: receives on the interfaces that joined, sends on any. Raises OSError as
    the kernel does. Not thread-safe.

    The port is shared with every other program that listens for its neighbours. The socket is
    bound to the group's address, so that nothing sent to this machine alone gets in.
    """

    def __init__(self, family: socket.AddressFamily, port: int = PORT) -> None:
        self.is_ipv6: Final = family == socket.AF_INET6
        self._group: Final = (GROUP6 if self.is_ipv6 else GROUP4, port)
        self.host: Final = f"[{GROUP6}]:{port}" if self.is_ipv6 else f"{GROUP4}:{port}"
        with contextlib.ExitStack() as stack:
            self.receiver = stack.enter_context(socket.socket(family, socket.SOCK_DGRAM))
            self._sender = stack.enter_context(socket.socket(family, socket.SOCK_DGRAM))
            self._prepare()
            stack.pop_all()

    def _prepare(self) -> None:
        for option in (socket.SO_REUSEADDR, socket.SO_REUSEPORT):
            self.receiver.setsockopt(socket.SOL_SOCKET, option, 1)
        if self.is_ipv6:
            self.receiver.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            self._sender.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 1)
            only_joined = (socket.IPPROTO_IPV6, _IPV6_MULTICAST_ALL)
        else:
            self._sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 1)
            only_joined = (socket.IPPROTO_IP, _IP_MULTICAST_ALL)
        if _LINUX:
            # What another program has joined is not ours to hear. Old kernels lack the one of IPv6.
            with contextlib.suppress(OSError):
                self.receiver.setsockopt(*only_joined, 0)
        self.receiver.bind(self._group)
        self.receiver.setblocking(False)
        self._sender.setblocking(False)

    def join(self, interface: Interface) -> None:
        """Also repairs a membership that went with the interface's address."""
        level, join, leave = (
            (socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, socket.IPV6_LEAVE_GROUP)
            if self.is_ipv6
            else (socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.IP_DROP_MEMBERSHIP)
        )
        with contextlib.suppress(OSError):
            self.receiver.setsockopt(level, leave, self._membership(interface))
        self.receiver.setsockopt(level, join, self._membership(interface))

    def _membership(self, interface: Interface) -> bytes:
        if self.is_ipv6:
            group = socket.inet_pton(socket.AF_INET6, GROUP6)
            return group + struct.pack("@I", interface.index)
        return struct.pack("@4s4si", socket.inet_aton(GROUP4), bytes(4), interface.index)

    def send(self, interface: Interface, data: bytes) -> None:
        if self.is_ipv6:
            index = interface.index
            self._sender.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
        else:
            own = socket.inet_aton(interface.address)
            request = struct.pack("@4s4si", bytes(4), own, interface.index)
            self._sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, request)
        self._sender.sendto(data, self._group)

    def receive(self, limit: int = 64) -> Iterator[tuple[bytes, str]]:
        """Reads up to `limit` datagrams, each with its sender's address. One that is too long is
        cut at a length that no datagram of ours has.
        """
        for _ in range(limit):
            try:
                data, sender = self.receiver.recvfrom(MAX_DATAGRAM + 1)
            except OSError:
                return
            yield data, self._address(sender)

    def _address(self, sender: tuple[str, int] | tuple[str, int, int, int]) -> str:
        if len(sender) == 2 or not sender[3]:
            return sender[0]
        try:
            return f"{sender[0]}%{socket.if_indextoname(sender[3])}"
        except OSError:  # it was removed meanwhile
            return f"{sender[0]}%{sender[3]}"

    def close(self) -> None:
        self.receiver.close()
        self._sender.close()
