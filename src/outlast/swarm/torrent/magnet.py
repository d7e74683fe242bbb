"""Magnet links: read with bounds, and printed.

A link proves that what comes matches the link, and nothing more: its name, trackers, peers and web
seeds are claims of its author.
"""

import base64
import binascii
import ipaddress
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qsl, quote, urlsplit

from outlast.codec.merkle import Tree
from outlast.core.digest import Digest
from outlast.core.errors import MalformedError, one_line
from outlast.core.manifest import MAX_FILE_SIZE
from outlast.swarm.torrent.payload_torrent import infohash_of

MAX_LINK: Final = 64 * 1024
MAX_FIELDS: Final = 500
MAX_EACH: Final = 100
"""Trackers, web seeds and peers that are kept, each."""
MAX_URL: Final = 2048
TRACKERS: Final = frozenset({"http", "https", "udp"})
WEB_SEEDS: Final = frozenset({"http", "https"})
HINT: Final = "a link begins with magnet:?xt=urn:btmh:1220 or magnet:?xt=urn:btih:"
_SHA256_MULTIHASH = "1220"
_MAX_NAME = 255
_MAX_DIGITS = 16
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?\Z")
_NUMBERED = re.compile(r"(xt|tr|ws)\.[0-9]{1,3}\Z")

HostPort = tuple[str, int]


@dataclass(frozen=True, slots=True)
class LinkedFile:
    """A file of a torrent: its path below the torrent's folder, its size in bytes, and the root of
    its tree, where the torrent has version 2 and the file is not empty.
    """

    path: str
    size: int
    root: Digest | None = None


@dataclass(frozen=True, slots=True)
class Link:
    """A torrent, as a magnet link or a .torrent file names it. At least one infohash is there: 32
    bytes of version 2, 20 of version 1. `size` is that of all files, in bytes, where it is known.

    A .torrent file also gives `files`; `info`, its info dictionary as it is; and `trees`, by root,
    of those files whose piece hashes it has, in pieces of 1 MiB or shorter.
    """

    infohash_v2: bytes | None
    infohash_v1: bytes | None
    name: str = ""
    size: int | None = None
    trackers: tuple[str, ...] = ()
    peers: tuple[HostPort, ...] = ()
    web_seeds: tuple[str, ...] = ()
    files: tuple[LinkedFile, ...] = ()
    trees: Mapping[Digest, Tree] = field(default_factory=dict, repr=False)
    info: bytes = field(default=b"", repr=False)

    @property
    def payload(self) -> tuple[Digest, int] | None:
        """Root and size, where the link itself proves that it is the torrent of a payload."""
        if self.infohash_v2 is None or not self.size or not Digest.is_valid(self.name):
            return None
        root = Digest(self.name)
        return (root, self.size) if infohash_of(root, self.size) == self.infohash_v2 else None

    def magnet(self) -> str:
        """The link."""
        fields = []
        if self.infohash_v1 is not None:
            fields.append(f"xt=urn:btih:{self.infohash_v1.hex()}")
        if self.infohash_v2 is not None:
            fields.append(f"xt=urn:btmh:{_SHA256_MULTIHASH}{self.infohash_v2.hex()}")
        if self.name:
            fields.append(f"dn={_quoted(self.name)}")
        if self.size is not None:
            fields.append(f"xl={self.size}")
        fields += [f"tr={_quoted(url)}" for url in self.trackers]
        fields += [f"ws={_quoted(url)}" for url in self.web_seeds]
        fields += [f"x.pe={_address(*peer)}" for peer in self.peers]
        return "magnet:?" + "&".join(fields)


def _quoted(text: str) -> str:
    return quote(text, safe="")


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def is_magnet(text: str) -> bool:
    """Whether `text` is meant as a magnet link."""
    return text[:7].lower() == "magnet:"


def parse_magnet(text: str) -> Link:
    """Reads a link. Unknown fields are ignored, as are trackers and web seeds of unsupported
    schemes. Raises :class:`MalformedError` for no infohash or two different ones of a version, for
    invalid addresses, and beyond the bounds.
    """
    if len(text) > MAX_LINK:
        raise _malformed(f"of {len(text)} characters is too long")
    if not is_magnet(text) or not text[7:].startswith("?"):
        raise _malformed("does not begin with 'magnet:?'")
    found: dict[str, list[str]] = {}
    for key, value in _fields(text[8:]):
        name = key.split(".")[0] if _NUMBERED.match(key) else key
        found.setdefault(name, []).append(value)
    v1, v2 = _infohashes(found.get("xt", []))
    sizes = found.get("xl", [])
    return Link(
        v2,
        v1,
        name=_name(found.get("dn", [""])[0]),
        size=_size(sizes[0]) if sizes else None,
        trackers=urls(found.get("tr", []), TRACKERS),
        web_seeds=urls(found.get("ws", []), WEB_SEEDS),
        peers=tuple(dict.fromkeys(map(parse_peer, found.get("x.pe", [])[:MAX_EACH]))),
    )


def _fields(query: str) -> list[tuple[str, str]]:
    try:
        return parse_qsl(query, max_num_fields=MAX_FIELDS, errors="strict")
    except ValueError as error:  # UnicodeDecodeError is one
        raise _malformed(f"cannot be read: {error}") from None


def _malformed(problem: str) -> MalformedError:
    return MalformedError(f"the magnet link {problem}", hint=HINT)


def _infohashes(topics: list[str]) -> tuple[bytes | None, bytes | None]:
    readers: dict[str, Callable[[str], bytes]] = {"urn:btih:": _btih, "urn:btmh:": _btmh}
    found: dict[str, bytes] = {}
    for topic in topics:
        kind, value = topic[:9].lower(), topic[9:]
        if kind not in readers:
            continue
        infohash = readers[kind](value)
        if found.setdefault(kind, infohash) != infohash:
            raise _malformed("names two torrents")
    if not found:
        raise _malformed("has no infohash")
    return found.get("urn:btih:"), found.get("urn:btmh:")


def _btih(text: str) -> bytes:
    try:
        if len(text) == 40:
            return bytes.fromhex(_hex(text))
        if len(text) == 32:
            return base64.b32decode(text.upper())
    except (ValueError, binascii.Error):
        pass
    raise _malformed("has an invalid infohash")


def _btmh(text: str) -> bytes:
    if len(text) != 68 or not text.startswith(_SHA256_MULTIHASH):
        raise _malformed("has an infohash that is not a sha256")
    try:
        return bytes.fromhex(_hex(text)[4:])
    except ValueError:
        raise _malformed("has an invalid infohash") from None


def _hex(text: str) -> str:
    """`text`, if it has nothing between its digits: `bytes.fromhex` passes over white space."""
    if not text.isalnum():
        raise ValueError(text)
    return text


def _name(text: str) -> str:
    """For display only: on one line, and short."""
    return one_line(text[:_MAX_NAME])


def _size(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS):
        raise _malformed("has an invalid size")
    size = int(text)
    if size > MAX_FILE_SIZE:
        raise _malformed("has an impossible size")
    return size


def urls(values: list[str], schemes: frozenset[str]) -> tuple[str, ...]:
    """The URLs among `values` whose scheme is one of `schemes`, each once, at most
    :data:`MAX_EACH`. Raises :class:`MalformedError` for what is no URL.
    """
    found = [value for value in values if value.partition(":")[0].lower() in schemes]
    return tuple(dict.fromkeys(map(_check_url, found[:MAX_EACH])))


def _check_url(url: str) -> str:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise MalformedError(f"not a URL: {url[:200]!r}", hint=HINT) from None
    plain = url.isascii() and url.isprintable() and " " not in url and len(url) <= MAX_URL
    if not plain or not parts.hostname or port == 0:
        raise MalformedError(f"not a URL: {url[:200]!r}", hint=HINT)
    return url


def parse_peer(text: str) -> HostPort:
    """``host:port``, ``1.2.3.4:port`` or ``[2001:db8::1]:port``."""
    host, _, port = text.rpartition(":")
    number = int(port) if port.isascii() and port.isdigit() and len(port) <= 5 else 0
    if not 0 < number < 65536:
        raise MalformedError(f"not the address of a peer: {text[:200]!r}", hint=HINT)
    if host.startswith("[") and host.endswith("]"):
        try:
            address = ipaddress.IPv6Address(host[1:-1])
        except ValueError:
            address = None
        if address is not None and address.scope_id is None:  # a scope is this machine's own
            return str(address), number
        host = ""
    if not _HOST.match(host):
        raise MalformedError(f"not the address of a peer: {text[:200]!r}", hint=HINT)
    return host, number
