"""The datagrams of nodes on one LAN, byte by byte: announcements in the form of BEP 14 (local
service discovery), and wants, a datagram of our own in the same style. Pure functions; datagrams
that are read are hostile.
"""

import base64
import binascii
import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from outlast.core.digest import Digest

RENDEZVOUS: Final = hashlib.sha1(b"outlast nodes v1", usedforsecurity=False).digest()
"""The one infohash that announcements carry. No content has it."""
MAX_DATAGRAM: Final = 1400
"""Bytes: more than any of ours has, and less than an Ethernet frame carries."""
PER_DATAGRAM: Final = 32
"""Wishes."""
MAX_WISHES: Final = 4096
"""Of one node, that are said and heard."""
MAX_NODES: Final = 512
"""Remembered at once."""
ANNOUNCE_S: Final = 60.0
WANT_S: Final = 1.0
"""How often a node says that it is there, and what it wants."""
ID: Final = 20
"""Bytes of a node's id, and of a key."""
TOP_STAGE: Final = 15
STAGE_UNIT: Final = 4 * 1024 * 1024
"""Bytes."""
_MAX_LINES: Final = 24
_ANNOUNCE: Final = "BT-SEARCH * HTTP/1.1"
_WANT: Final = "OUTLAST-WANT * HTTP/1.1"
_ABLE, _FETCHING, _HAS, _GONE = 1, 2, 4, 8
_HEX_ID: Final = re.compile(r"[0-9a-fA-F]{40}\Z")
_LIMIT: Final = re.compile(r"(0|[1-9][0-9]{0,14})\Z")
_PORT: Final = re.compile(r"[1-9][0-9]{0,4}\Z")


@dataclass(frozen=True, slots=True)
class Wish:
    """How far a node is with one blob, named by its `key` of 20 bytes: `able` to fetch it from an
    origin, `fetching` it from there, or it `has` all of it. `stage` says how much it has of it.
    `limit`: the most bytes a second that it lets itself fetch, 0 where it sets none, None where it
    does not say. `gone`: it no longer wants the blob; the other fields mean nothing.
    """

    key: bytes
    able: bool = False
    fetching: bool = False
    has: bool = False
    gone: bool = False
    stage: int = 0
    limit: int | None = None

    @property
    def claims(self) -> bool:
        """Whether others wait for this node, if they believe it."""
        return self.fetching or self.has


@dataclass(frozen=True, slots=True)
class Announcement:
    """A node (id of 20 bytes) says that it is there. `address` is where the datagram came from; an
    IPv6 address of one link has its zone, as in `fe80::1%eth0`. `asks`: it has just come, and
    would like to know who else is there.
    """

    node: bytes
    address: str
    peer_port: int
    asks: bool = False


@dataclass(frozen=True, slots=True)
class Want:
    """A node says where it stands with up to 32 blobs."""

    node: bytes
    address: str
    peer_port: int
    wishes: tuple[Wish, ...]


Heard: TypeAlias = Announcement | Want


def want_key(blob: Digest) -> bytes:
    """The name of a blob in wants, 20 bytes: it tells nothing to a node without the sha256."""
    return hashlib.sha256(b"outlast want v1" + bytes.fromhex(blob.hex)).digest()[:ID]


def stage_of(fetched: int) -> int:
    """The stage of a node that has so many bytes: 0 below 4 MiB, then 1, and one more each time
    that doubles, up to 15.
    """
    return min(TOP_STAGE, (fetched // STAGE_UNIT).bit_length())


def least_of(stage: int) -> int:
    """The bytes that a node of this stage has at least."""
    return STAGE_UNIT << stage - 1 if stage else 0


def announcement(host: str, node: bytes, peer_port: int, *, asks: bool = False) -> bytes:
    """The datagram of an announcement to the group `host` (address and port)."""
    lines = [
        _ANNOUNCE,
        f"Host: {host}",
        f"Port: {peer_port}",
        f"Infohash: {RENDEZVOUS.hex()}",
        f"cookie: {node.hex()}",
        *(["Ask: 1"] if asks else []),
    ]
    return _finished(lines)


def wants(host: str, node: bytes, peer_port: int, wishes: Sequence[Wish]) -> Iterator[bytes]:
    """As many datagrams as `wishes` need: all of one have the same limit."""
    of_limit: dict[int | None, list[Wish]] = {}
    for wish in wishes:
        of_limit.setdefault(wish.limit, []).append(wish)
    for limit, same in of_limit.items():
        for start in range(0, len(same), PER_DATAGRAM):
            raw = b"".join(w.key + _flags(w) for w in same[start : start + PER_DATAGRAM])
            yield _finished(
                [
                    _WANT,
                    f"Host: {host}",
                    f"Port: {peer_port}",
                    f"Node: {node.hex()}",
                    *([f"Limit: {limit}"] if limit is not None else []),
                    f"Keys: {base64.b64encode(raw).decode()}",
                ]
            )


def parse(data: bytes, address: str) -> Heard | None:
    """Reads a datagram from `address`; None unless it is valid in every respect. Header names may
    be in any case; unknown headers are ignored.
    """
    found = _headers(data)
    if found is None:
        return None
    first, headers = found
    node = _id(headers.get("cookie" if first == _ANNOUNCE else "node", ""))
    port = headers.get("port", "")
    if node is None or not _PORT.match(port) or int(port) > 65535:
        return None
    if first == _ANNOUNCE:
        if _id(headers.get("infohash", "")) != RENDEZVOUS:
            return None
        return Announcement(node, address, int(port), headers.get("ask") == "1")
    limit = headers.get("limit")
    if limit is not None and not _LIMIT.match(limit):
        return None
    wishes = _wishes(headers.get("keys", ""), None if limit is None else int(limit))
    return None if wishes is None else Want(node, address, int(port), wishes)


def _finished(lines: list[str]) -> bytes:
    """BEP 14 ends its message with two empty lines."""
    return "\r\n".join([*lines, "", "", ""]).encode("ascii")


def _headers(data: bytes) -> tuple[str, dict[str, str]] | None:
    """The first line and the headers, their names in lower case."""
    if len(data) > MAX_DATAGRAM or not data.isascii():
        return None
    text, blank, rest = data.decode("ascii").partition("\r\n\r\n")
    first, *lines = text.split("\r\n")
    if not blank or rest not in {"", "\r\n"} or len(lines) > _MAX_LINES:
        return None
    if first not in {_ANNOUNCE, _WANT}:
        return None
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        name = name.lower()
        if not colon or not line.isprintable() or name in headers:
            return None
        headers[name] = value.strip(" ")
    return first, headers


def _id(text: str) -> bytes | None:
    return bytes.fromhex(text) if _HEX_ID.match(text) else None


def _flags(wish: Wish) -> bytes:
    bits = (wish.able, _ABLE), (wish.fetching, _FETCHING), (wish.has, _HAS), (wish.gone, _GONE)
    return bytes([wish.stage << 4 | sum(bit for is_set, bit in bits if is_set)])


def _wishes(text: str, limit: int | None) -> tuple[Wish, ...] | None:
    try:
        raw = base64.b64decode(text, validate=True)
    except binascii.Error:
        return None
    count, odd = divmod(len(raw), ID + 1)
    if odd or not 1 <= count <= PER_DATAGRAM:
        return None
    found = (_wish(raw[at : at + ID + 1], limit) for at in range(0, len(raw), ID + 1))
    return tuple({wish.key: wish for wish in found}.values())


def _wish(raw: bytes, limit: int | None) -> Wish:
    key, flags = raw[:ID], raw[ID]
    if flags & _GONE:
        return Wish(key, gone=True)
    return Wish(
        key,
        able=bool(flags & _ABLE),
        fetching=bool(flags & _FETCHING),
        has=bool(flags & _HAS),
        stage=flags >> 4,
        limit=limit,
    )
