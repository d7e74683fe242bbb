"""Queries to a tracker and its replies by HTTP (BEP 3, 7, 23, 48). Pure functions; queries are
hostile.

Replies are always compact. An address that a client claims for itself (`ip`, `ipv6`) is ignored:
with it, one client could have a whole swarm connect to a victim.
"""

import socket
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from outlast.core.errors import one_line
from outlast.swarm.torrent import bencode
from outlast.swarm.tracker.state import Swarm

MIN_INTERVAL_S: Final = 5
MAX_QUERY: Final = 4096
MAX_SCRAPED: Final = 64
_MAX_PARAMETERS: Final = 100
_MAX_DIGITS: Final = 20
_EVENTS: Final = {b"": "", b"empty": "", b"started": "started", b"stopped": "stopped"} | {
    b"completed": "completed",
    b"paused": "",
}
"""BEP 21 has "paused": a peer that wants no more and stays."""


@dataclass(frozen=True, slots=True)
class Announce:
    """A peer's announcement: its `port` in the swarm `infohash` (20 bytes), how many bytes it
    lacks, and how many peers it wants; None where it leaves that to the tracker.
    """

    infohash: bytes
    port: int
    left: int
    event: str = ""
    numwant: int | None = None


def parse_announce(query: bytes | str) -> Announce | str:
    """Reads a raw query string (behind the `?`, still percent-encoded). Returns a text for
    :func:`failure` if it is wrong.
    """
    fields = _fields(query)
    if isinstance(fields, str):
        return fields
    if any(len(values) > 1 for values in fields.values()):
        return "a parameter is given twice"
    given = {name: values[0] for name, values in fields.items()}
    infohash = given.get(b"info_hash", b"")
    port, left = _number(given, b"port", -1), _number(given, b"left", 1)
    wanted = _number(given, b"numwant", -1)
    event = _EVENTS.get(given.get(b"event", b""))
    if len(infohash) != 20:
        return "info_hash is not 20 bytes"
    if port is None or not 0 < port < 65536:
        return "port is not a number from 1 to 65535"
    if left is None or wanted is None:
        return "left or numwant is not a number"
    if event is None:
        return "event is not known"
    return Announce(infohash, port, left, event, wanted if wanted >= 0 else None)


def parse_scrape(query: bytes | str) -> tuple[bytes, ...] | str:
    """The infohashes asked for, each once, or what is wrong. Asking for all is not supported."""
    fields = _fields(query)
    if isinstance(fields, str):
        return fields
    found = tuple(dict.fromkeys(fields.get(b"info_hash", [])))
    if not 0 < len(found) <= MAX_SCRAPED:
        return f"info_hash is to be given 1 to {MAX_SCRAPED} times"
    if any(len(infohash) != 20 for infohash in found):
        return "info_hash is not 20 bytes"
    return found


def reply(swarm: Swarm) -> bytes:
    """The body of the answer to an announce."""
    packed: dict[bytes, list[bytes]] = {b"peers": [], b"peers6": []}
    for address, port in swarm.peers:
        is_ipv6 = ":" in address
        family = socket.AF_INET6 if is_ipv6 else socket.AF_INET
        where = socket.inet_pton(family, address) + port.to_bytes(2, "big")
        packed[b"peers6" if is_ipv6 else b"peers"].append(where)
    return bencode.encode(
        {
            b"complete": swarm.complete,
            b"incomplete": swarm.incomplete,
            b"interval": swarm.interval,
            b"min interval": MIN_INTERVAL_S,
            **{name: b"".join(peers) for name, peers in packed.items()},
        }
    )


def scrape_reply(swarms: Mapping[bytes, Swarm]) -> bytes:
    """The body of the answer to a scrape: those swarms that are known."""
    files = {
        infohash: {
            b"complete": swarm.complete,
            b"downloaded": swarm.downloaded,
            b"incomplete": swarm.incomplete,
        }
        for infohash, swarm in swarms.items()
    }
    return bencode.encode({b"files": files})


def failure(reason: str) -> bytes:
    """The body of a refusal; clients expect it with HTTP status 200."""
    return bencode.encode({b"failure reason": one_line(reason).encode()})


def _fields(query: bytes | str) -> dict[bytes, list[bytes]] | str:
    """The values of each parameter, decoded. A plus sign is one: clients that mean a space say
    `%20`, and some leave the byte 0x2b of an infohash as it is.
    """
    raw = query.encode("utf-8", "surrogateescape") if isinstance(query, str) else query
    if len(raw) > MAX_QUERY:
        return "the query is too long"
    parts = [part for part in raw.split(b"&") if part]
    if len(parts) > _MAX_PARAMETERS:
        return "the query has too many parameters"
    fields: dict[bytes, list[bytes]] = {}
    for part in parts:
        name, _, value = part.partition(b"=")
        fields.setdefault(name, []).append(urllib.parse.unquote_to_bytes(value))
    return fields


def _number(given: Mapping[bytes, bytes], name: bytes, default: int) -> int | None:
    """A whole number, `default` where there is none, None where it is something else."""
    if name not in given:
        return default
    text = given[name]
    digits = text.removeprefix(b"-")
    return int(text) if digits.isdigit() and len(digits) <= _MAX_DIGITS else None
