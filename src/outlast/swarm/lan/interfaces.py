"""The network interfaces on which a beacon sends; they come and go while it runs."""

import logging
import os
import selectors
import socket
from collections.abc import Callable, Sequence
from typing import Final

from outlast.core.errors import one_line
from outlast.swarm.lan.datagrams import ANNOUNCE_S
from outlast.swarm.lan.multicast import ABSENT, Group, Interface, scan
from outlast.swarm.tuning import LanTuning

_log = logging.getLogger(__name__)

_FIRST: Final = (0.0, 0.3, 1.0)
"""Seconds after an interface appears: datagrams get lost, most of all on a network that has just
come up."""


class Channel:
    """One address family on one interface: when to announce next."""

    __slots__ = ("_first", "_resend_s", "at", "group", "interface", "is_heard")

    def __init__(self, interface: Interface, group: Group, now: float, resend_s: float) -> None:
        self.interface: Final = interface
        self.group: Final = group
        self.at = now
        self.is_heard = False
        self._first = list(_FIRST)
        self._resend_s = resend_s

    @property
    def begins(self) -> bool:
        """Whether the next announcement is one of the first."""
        return bool(self._first)

    def announced(self, now: float, *, sent: bool) -> None:
        """Sets the time of the next announcement. One that could not be sent is tried again: an
        IPv6 address, for instance, is usable only once duplicate address detection is over.
        """
        if not sent:
            self.at = now + self._resend_s
            return
        done = self._first.pop(0) if self._first else 0.0
        self.at = now + (self._first[0] - done if self._first else ANNOUNCE_S)


class Channels:
    """All channels of a beacon, whose thread owns them. Not thread-safe."""

    def __init__(
        self,
        names: Sequence[str] | None,
        problem: Callable[[str], None],
        port: int,
        tuning: LanTuning,
    ) -> None:
        self._tuning = tuning
        self._names = names
        self._problem = problem
        self._port = port
        self._groups: dict[socket.AddressFamily, Group] = {}
        self._channels: dict[tuple[Interface, bool], Channel] = {}
        self._problems: set[str] = set()

    def all(self) -> list[Channel]:
        """The channels on which the last datagram could be sent."""
        return [channel for channel in self._channels.values() if channel.is_heard]

    def due(self, now: float) -> list[Channel]:
        return [channel for channel in self._channels.values() if channel.at <= now]

    def next_due(self) -> float:
        return min((channel.at for channel in self._channels.values()), default=float("inf"))

    def scan(self, selector: selectors.BaseSelector, now: float) -> None:
        """Joins interfaces that are new or have a new address, and drops those that are gone."""
        for family in (socket.AF_INET, socket.AF_INET6):
            if family not in self._groups:
                self._open(family, selector)
        try:
            interfaces = scan(self._names)
        except OSError as error:
            self._complain("the network interfaces", error)
            return
        wanted = {
            (interface, group.is_ipv6): (interface, group)
            for interface in interfaces
            for group in self._groups.values()
            if _speaks(interface, group)
        }
        for gone in self._channels.keys() - wanted.keys():
            _log.debug("%s is gone", gone[0].name)
            del self._channels[gone]
        for new in wanted.keys() - self._channels.keys():
            self._join(*wanted[new], now)

    def _open(self, family: socket.AddressFamily, selector: selectors.BaseSelector) -> None:
        name = f"the {family.name} group"
        try:
            group = Group(family, self._port)
        except OSError as error:
            self._complain(name, error)
            return
        self._mended(name)
        self._groups[family] = group
        selector.register(group.receiver, selectors.EVENT_READ, group)

    def _join(self, interface: Interface, group: Group, now: float) -> None:
        """A failure is tried again at the next scan."""
        try:
            group.join(interface)
        except OSError as error:
            self._complain(_name(interface, group), error)
            return
        _log.debug("looking for neighbours through %s", _name(interface, group))
        self._channels[interface, group.is_ipv6] = Channel(
            interface, group, now, self._tuning.resend_s
        )

    def send(self, channel: Channel, data: bytes) -> bool:
        """Whether it could be sent."""
        name = _name(channel.interface, channel.group)
        try:
            channel.group.send(channel.interface, data)
        except BlockingIOError:  # the queue is full: as good as lost
            return True
        except OSError as error:
            channel.is_heard = False
            self._complain(name, error)
            return False
        channel.is_heard = True
        self._mended(name)
        return True

    def _complain(self, name: str, error: OSError) -> None:
        """Reports a problem once, until it is mended. An interface without an address is none."""
        if error.errno in ABSENT or name in self._problems:
            return
        self._problems.add(name)
        reason = os.strerror(error.errno) if error.errno else str(error)
        self._problem(one_line(f"looking for neighbours through {name}: {reason}"))

    def _mended(self, name: str) -> None:
        self._problems.discard(name)

    def close(self) -> None:
        for group in self._groups.values():
            group.close()


def _speaks(interface: Interface, group: Group) -> bool:
    """Linux routes no IPv6 multicast over its loopback; IPv4 it does."""
    return not interface.is_loopback if group.is_ipv6 else bool(interface.address)


def _name(interface: Interface, group: Group) -> str:
    return f"{interface.name} ({'IPv6' if group.is_ipv6 else 'IPv4'})"
