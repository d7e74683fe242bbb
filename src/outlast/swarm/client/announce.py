"""One announcement to a tracker of a link, by HTTP (BEP 3, 7, 23) or UDP (BEP 15).

The name is resolved here, and the connection goes to the address that was looked at: a name that
leads elsewhere a moment later leads nowhere. Both URL and answer are hostile.
"""

import contextlib
import os
import socket
import ssl
import struct
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final
from urllib.parse import SplitResult, quote_from_bytes, urljoin, urlsplit

import libtorrent as lt

from outlast import __version__
from outlast.core.errors import MalformedError, UnreachableError
from outlast.swarm.client.link_hosts import LinkHosts
from outlast.swarm.settings import HostPort

MAX_REDIRECTS: Final = 3
MAX_ANSWER: Final = 256 * 1024
"""Bytes of an answer with its headers: 10,000 peers are 60 kB."""
_MAX_HEAD: Final = 16 * 1024
_PORTS: Final = {"http": 80, "https": 443}
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_NUMWANT: Final = 200
_MAGIC: Final = 0x41727101980
_EVENTS: Final = {"": 0, "started": 2, "stopped": 3}
_UDP_TRIES: Final = 3
_LEAST: Final = {b"\0\0\0\0": 8, b"\0\0\0\1": 12}
"""Bytes that the answer to an action has at least: connect, announce."""


@dataclass(frozen=True, slots=True)
class LinkAnnounce:
    """What a tracker is told: `infohash` and `peer_id` of 20 bytes, the port of this node, and how
    many bytes it lacks.
    """

    infohash: bytes
    peer_id: bytes
    port: int
    left: int


@dataclass(frozen=True, slots=True)
class TrackerAnswer:
    """The peers that a tracker named, which are outside if the tracker is, and after how many
    seconds it wants to be asked again.
    """

    peers: tuple[HostPort, ...]
    interval: int


@dataclass(frozen=True, slots=True)
class TrackerRules:
    """Whom a link's trackers may be: `hosts`, and at the addresses `near` (IP address, port) the
    trackers of other nodes.
    """

    hosts: LinkHosts
    near: Callable[[], frozenset[HostPort]]

    def admits(self, address: str, port: int) -> bool:
        return self.hosts.admits(address) or (address, port) in self.near()

    def peers(self, tracker: str, named: Iterable[HostPort]) -> tuple[HostPort, ...]:
        """Of the peers that the tracker with this address named, those that may be peers."""
        outside = _is_global(tracker)
        found = (peer for peer in named if not outside or self.hosts.admits(peer[0]))
        return tuple(islice(dict.fromkeys(found), _NUMWANT))


def announce(
    url: str, said: LinkAnnounce, rules: TrackerRules, *, event: str = "", seconds: float
) -> TrackerAnswer:
    """Tells the tracker at `url`. Takes at most about `seconds`, beside the resolution of names.
    Raises :class:`UnreachableError` if no address of it may be asked, or none answers, and
    :class:`MalformedError` for an answer that is none.
    """
    until = time.monotonic() + seconds
    if _split(url).scheme == "udp":
        return _by_udp(_split(url), said, rules, event, until)
    query = _query(said, event)
    asked = f"{url}{'&' if '?' in url else '?'}{query}"
    for _ in range(MAX_REDIRECTS + 1):
        parts = _split(asked)
        if parts.scheme not in _PORTS:
            raise MalformedError("the tracker redirects to what is no URL of HTTP")
        address, data = _get(parts, parts.query == query, rules, until)
        status, headers, body = _parse(data)
        if status not in _REDIRECTS:
            break
        asked = _joined(asked, headers.get("location", ""))
    if status != 200:
        raise UnreachableError(f"the tracker answers with HTTP status {status}")
    return _read(body, address, rules)


def _query(said: LinkAnnounce, event: str) -> str:
    fields = (
        ("info_hash", quote_from_bytes(said.infohash, safe="")),
        ("peer_id", quote_from_bytes(said.peer_id, safe="")),
        ("port", said.port),
        ("uploaded", 0),
        ("downloaded", 0),
        ("left", said.left),
        ("compact", 1),
        ("numwant", 0 if event == "stopped" else _NUMWANT),
        *([("event", event)] if event else []),
    )
    return "&".join(f"{name}={value}" for name, value in fields)


# Addresses


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        usable = parts.hostname and parts.port != 0  # which raises if it is no number
    except ValueError:
        usable = False
    if not usable or not url.isascii() or not url.isprintable() or " " in url:
        raise MalformedError("the tracker has no URL that can be asked")
    return parts


def _joined(url: str, location: str) -> str:
    try:
        return urljoin(url, location)
    except ValueError:
        raise MalformedError("the tracker redirects to what is no URL") from None


def _addresses(parts: SplitResult, port: int, rules: TrackerRules, kind: int) -> list[Any]:
    """The arguments for a socket, and the address, of each that may be asked."""
    host = parts.hostname or ""
    try:
        infos = socket.getaddrinfo(host, port, type=kind)
    except (OSError, UnicodeError) as error:
        raise UnreachableError(f"the address of the tracker {host} is unknown: {error}") from None
    found = [info for info in infos if rules.admits(str(info[4][0]), port)]
    if not found:
        raise UnreachableError(
            f"the tracker {host} is inside this network, where no link may send a request",
            hint="[swarm] link-hosts allows addresses of your own",
        )
    return found


def _is_global(address: str) -> bool:
    return LinkHosts().admits(address)


def _left(until: float) -> float:
    """The seconds until then. Raises :class:`UnreachableError` if there are none."""
    found = until - time.monotonic()
    if found <= 0:
        raise UnreachableError("the tracker takes too long to answer")
    return found


@contextlib.contextmanager
def _connected(found: list[Any], kind: int, until: float) -> Iterator[tuple[socket.socket, str]]:
    """A socket to the first of these addresses that takes a connection, and the address."""
    problem: OSError | None = None
    for family, _, proto, _, address in found:
        made = socket.socket(family, kind, proto)
        try:
            made.settimeout(_left(until))
            made.connect(address)
        except OSError as error:
            made.close()
            problem = error
            continue
        with made:
            yield made, str(address[0])
        return
    raise UnreachableError(f"the tracker does not answer: {problem}")


# HTTP


def _get(parts: SplitResult, plain: bool, rules: TrackerRules, until: float) -> tuple[str, bytes]:
    """The address that was asked, and its answer. `plain`: the query is an announcement, and
    nothing else.
    """
    port = parts.port or _PORTS[parts.scheme]
    found = _addresses(parts, port, rules, socket.SOCK_STREAM)
    if not (plain and parts.path.endswith("/announce")):
        found = [info for info in found if _is_global(str(info[4][0]))]
        if not found:
            raise UnreachableError("a tracker inside this network is asked at /announce alone")
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    shown = host if port == _PORTS[parts.scheme] else f"{host}:{port}"
    request = (
        f"GET {parts.path or '/'}?{parts.query} HTTP/1.0\r\nHost: {shown}\r\n"
        f"User-Agent: outlast/{__version__}\r\nConnection: close\r\n\r\n"
    ).encode()
    try:
        with _connected(found, socket.SOCK_STREAM, until) as (plain_socket, address):
            stream = plain_socket
            if parts.scheme == "https":
                context = ssl.create_default_context()
                stream = context.wrap_socket(plain_socket, server_hostname=parts.hostname)
            with stream:
                stream.settimeout(_left(until))
                stream.sendall(request)
                return address, _receive(stream, until)
    except OSError as error:
        raise UnreachableError(f"the tracker does not answer: {error}") from None


def _receive(stream: socket.socket, until: float) -> bytes:
    found = bytearray()
    while True:
        stream.settimeout(_left(until))
        part = stream.recv(65536)
        if not part:
            return bytes(found)
        found += part
        if len(found) > MAX_ANSWER:
            raise MalformedError("the answer of the tracker is too long")


def _parse(data: bytes) -> tuple[int, dict[str, str], bytes]:
    head, end, body = data.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    words = lines[0].split(" ", 2)
    status = words[1] if len(words) > 1 and words[0].startswith("HTTP/1.") else ""
    if not end or len(head) > _MAX_HEAD or not (status.isascii() and status.isdigit()):
        raise MalformedError("the tracker does not answer by HTTP")
    pairs = (line.partition(":") for line in lines[1:])
    headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
    return int(status[:3]), headers, body


def _read(body: bytes, address: str, rules: TrackerRules) -> TrackerAnswer:
    document: object = None
    with contextlib.suppress(RuntimeError):
        document = lt.bdecode(body)  # some trackers do not sort their keys
    if not isinstance(document, dict) or b"failure reason" in document:
        raise MalformedError("the tracker refuses the announcement")
    interval = document.get(b"interval", 0)
    peers: list[HostPort] = []
    for key, size in ((b"peers", 4), (b"peers6", 16)):
        value = document.get(key, b"")
        if isinstance(value, bytes):  # the old form is a list
            peers += _unpack(value, size)
    return TrackerAnswer(rules.peers(address, peers), interval if isinstance(interval, int) else 0)


def _unpack(data: bytes, size: int) -> Iterator[HostPort]:
    family = socket.AF_INET if size == 4 else socket.AF_INET6
    for start in range(0, len(data) - size - 1, size + 2):
        port = int.from_bytes(data[start + size : start + size + 2], "big")
        if port:
            yield socket.inet_ntop(family, data[start : start + size]), port


# UDP


def _by_udp(
    parts: SplitResult, said: LinkAnnounce, rules: TrackerRules, event: str, until: float
) -> TrackerAnswer:
    if not parts.port:
        raise MalformedError("the tracker has no port")
    found = _addresses(parts, parts.port, rules, socket.SOCK_DGRAM)
    try:
        with _connected(found, socket.SOCK_DGRAM, until) as (asker, address):
            connection = _exchange(asker, struct.pack(">QI", _MAGIC, 0), b"", until)[:8]
            rest = struct.pack(
                ">20s20sQQQIIIiH",
                *(said.infohash, said.peer_id, 0, said.left, 0, _EVENTS[event]),
                *(0, int.from_bytes(os.urandom(4), "big"), _NUMWANT, said.port),
            )
            data = _exchange(asker, connection + struct.pack(">I", 1), rest, until)
    except OSError as error:
        raise UnreachableError(f"the tracker does not answer: {error}") from None
    interval = int.from_bytes(data[:4], "big")
    peers = _unpack(data[12:], 16 if ":" in address else 4)
    return TrackerAnswer(rules.peers(address, peers), interval)


def _exchange(asker: socket.socket, head: bytes, rest: bytes, until: float) -> bytes:
    """Sends a request, again where it is lost: `head` (connection and action), a number, `rest`.
    What follows action and number in the answer.
    """
    number, action = os.urandom(4), head[8:12]
    for tried in range(_UDP_TRIES):
        asker.send(head + number + rest)
        ends = time.monotonic() + _left(until) / (_UDP_TRIES - tried)
        while (left := ends - time.monotonic()) > 0:
            asker.settimeout(left)
            try:
                data = asker.recv(65536)
            except TimeoutError:
                break
            if data[4:8] != number:
                continue  # of an earlier try, or a guess
            if data[:4] != action or len(data) < 8 + _LEAST[action]:
                raise MalformedError("the tracker refuses the announcement")
            return data[8:]
    raise UnreachableError("the tracker does not answer")
