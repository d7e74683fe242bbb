"""What really leaves and reaches a machine: tcpdump on its card, and a reader of what it wrote."""

import contextlib
import ipaddress
import itertools
import re
import signal
import struct
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.net.kernel import LabError
from tests.net.lab import Host

TCP, UDP = 6, 17
_MAGIC = 0xA1B2C3D4
_LISTENING = "listening on"
_DROPPED = re.compile(r"(\d+) packets? dropped by kernel")
_ETHER_IPV4, _ETHER_IPV6, _ETHER_VLAN = 0x0800, 0x86DD, 0x8100
_EXTENSIONS = {0, 43, 60}
_FIN_SYN = 3
_QUIET = 0.3
_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Packet:
    """A packet of IP. Ports are 0 and `payload` is what follows the IP header where it is neither
    TCP nor UDP; `number` is TCP's sequence number.
    """

    source: str
    target: str
    protocol: int
    ports: tuple[int, int]
    payload: bytes
    number: int = 0
    flags: int = 0

    @property
    def is_multicast(self) -> bool:
        return ipaddress.ip_address(self.target).is_multicast


class Capture:
    """Captures all that passes a card meanwhile; it lies in `file` and can be read afterwards."""

    def __init__(self, host: Host, card: str = "eth0", words: str = "") -> None:
        self._host = host
        self.file = host.folder / f"{card}-{next(_numbers)}.pcap"
        command = ["tcpdump", "-i", card, "-w", str(self.file), "-s", "0", "-U", "-Z", "root"]
        self._command = [*command, "--immediate-mode", "-B", "65536", *words.split()]
        self._process: subprocess.Popen[str] | None = None
        self._own = {
            address["local"]
            for link in host.namespace.ask("address", "show", "dev", card)
            for address in link["addr_info"]
        }

    def __enter__(self) -> Self:
        with self._host.inside():
            process = subprocess.Popen(self._command, stderr=subprocess.PIPE, text=True)
        assert process.stderr is not None
        for line in process.stderr:
            if _LISTENING in line:
                break
        else:
            process.wait()
            raise LabError("tcpdump did not start")
        self._process = process
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._process is not None
        self._settle()
        self._process.send_signal(signal.SIGINT)
        _, said = self._process.communicate(timeout=60)
        dropped = _DROPPED.search(said)
        if kind is None and (dropped is None or dropped[1] != "0"):
            raise LabError(f"tcpdump did not see everything: {said}")

    def _settle(self) -> None:
        """Until tcpdump has written what the kernel holds for it: it drops that when it ends."""
        size = -1
        while (now := self.file.stat().st_size) != size:
            size = now
            time.sleep(_QUIET)

    def packets(self) -> list[Packet]:
        """All packets of IP, in order; whole only once the capture has ended."""
        with contextlib.suppress(FileNotFoundError):
            return list(read_pcap(self.file))
        return []

    def left(self) -> list[Packet]:
        """The packets that this machine sent."""
        return [packet for packet in self.packets() if packet.source in self._own]


def read_pcap(path: Path) -> Iterator[Packet]:
    """The packets of IP of a capture of an Ethernet card, in tcpdump's classic format."""
    with path.open("rb") as file:
        head = file.read(24)
        order = "<" if struct.unpack("<I", head[:4])[0] == _MAGIC else ">"
        if struct.unpack(f"{order}I", head[:4])[0] != _MAGIC:
            raise LabError(f"{path} is not a capture")
        while len(about := file.read(16)) == 16:
            _, _, length, whole = struct.unpack(f"{order}4I", about)
            frame = file.read(length)
            if len(frame) < length:
                return
            if length < whole:
                raise LabError("a packet was cut short")
            if (packet := decode(frame)) is not None:
                yield packet


def decode(frame: bytes) -> Packet | None:
    """An Ethernet frame as a packet of IP; None for what is not IP."""
    at, kind = 14, int.from_bytes(frame[12:14], "big")
    while kind == _ETHER_VLAN:
        at, kind = at + 4, int.from_bytes(frame[at + 2 : at + 4], "big")
    if kind == _ETHER_IPV4:
        return _ipv4(frame[at:])
    return _ipv6(frame[at:]) if kind == _ETHER_IPV6 else None


def _ipv4(data: bytes) -> Packet:
    length = int.from_bytes(data[2:4], "big") or len(data)
    source, target = (str(ipaddress.IPv4Address(data[at : at + 4])) for at in (12, 16))
    return _inner(source, target, data[9], data[(data[0] & 15) * 4 : length])


def _ipv6(data: bytes) -> Packet:
    source, target = (str(ipaddress.IPv6Address(data[at : at + 16])) for at in (8, 24))
    length = int.from_bytes(data[4:6], "big")
    protocol, rest = data[6], data[40 : 40 + length] if length else data[40:]
    while protocol in _EXTENSIONS:
        protocol, rest = rest[0], rest[8 + rest[1] * 8 :]
    return _inner(source, target, protocol, rest)


def _inner(source: str, target: str, protocol: int, data: bytes) -> Packet:
    if protocol == TCP and len(data) >= 20:
        ports, number = struct.unpack_from(">HH", data), int.from_bytes(data[4:8], "big")
        payload = data[(data[12] >> 4) * 4 :]
        return Packet(source, target, TCP, (ports[0], ports[1]), payload, number, data[13])
    if protocol == UDP and len(data) >= 8:
        ports = struct.unpack_from(">HH", data)
        return Packet(source, target, UDP, (ports[0], ports[1]), data[8:])
    return Packet(source, target, protocol, (0, 0), data)


def streams(packets: list[Packet]) -> list[bytes]:
    """What was said: each direction of each TCP connection as one run of bytes (put in order by
    sequence number, repeats left out, gaps closed), each other packet by itself.
    """
    tcp: dict[tuple[str, str, tuple[int, int], int], list[Packet]] = {}
    alone: list[bytes] = []
    starts: dict[tuple[str, str, tuple[int, int]], int] = {}
    for packet in packets:
        if packet.protocol != TCP:
            alone.append(packet.payload)
            continue
        key = (packet.source, packet.target, packet.ports)
        if packet.flags & _FIN_SYN == 2:
            starts[key] = packet.number + 1
        elif packet.payload:
            tcp.setdefault((*key, starts.setdefault(key, packet.number)), []).append(packet)
    return [_joined(start, sent) for (_, _, _, start), sent in tcp.items()] + alone


def _joined(start: int, packets: list[Packet]) -> bytes:
    out, end = [], 0
    placed = sorted(((p.number - start) % 2**32, p.payload) for p in packets)
    for at, payload in placed:
        if at >= 2**31:  # a probe of what was said before
            continue
        new = payload[max(0, end - at) :]
        out.append(new)
        end = max(end, at + len(payload))
    return b"".join(out)
