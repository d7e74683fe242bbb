"""A machine that invents nodes: it announces them in the name of addresses at which none is."""

import secrets
import socket
import struct
import threading
from types import TracebackType
from typing import Self

from outlast.swarm.lan.datagrams import announcement
from outlast.swarm.lan.multicast import PORT
from tests.net.lab import Host

_GROUP = "239.192.152.143"
_NEAR = 180
"""Addresses of the LAN itself, which its switch is asked for; the others are made up."""


def _address(number: int) -> str:
    if number < _NEAR:
        return f"10.1.0.{60 + number}"
    return f"10.{2 + number // 60_000}.{number // 240 % 250}.{1 + number % 240}"


def _packet(source: str, data: bytes) -> bytes:
    """An IPv4 packet with a datagram; the kernel fills in lengths and the sum of its header."""
    header = struct.pack(
        ">BBHHHBBH4s4s",
        *(0x45, 0, 0, 0, 0, 1, socket.IPPROTO_UDP, 0),
        *(socket.inet_aton(source), socket.inet_aton(_GROUP)),
    )
    return header + struct.pack(">HHHH", PORT, PORT, 8 + len(data), 0) + data


class Forger:
    """Announces `count` nodes, one after the other, `rate` in a second, until its block ends."""

    def __init__(self, host: Host, count: int, rate: int = 500) -> None:
        self._host = host
        self._count = count
        self._pause = 0.02
        self._at_once = max(1, int(rate * self._pause))
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.sent = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        with (
            self._host.inside(),
            socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as sock,
        ):
            own = socket.inet_aton(self._host.address)
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, own)
            while not self._over.wait(self._pause):
                for _ in range(self._at_once):
                    said = announcement(f"{_GROUP}:{PORT}", secrets.token_bytes(20), 8091)
                    sock.sendto(_packet(_address(self.sent % self._count), said), (_GROUP, 0))
                    self.sent += 1
