"""The torrent of a payload (BEP 52): one file, named by the root of its merkle tree.

Its info dictionary follows from root and size and nothing else, so that nodes that hold the same
bytes are in one swarm without having talked.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Final

from outlast.codec.merkle import PIECE, Tree
from outlast.core.digest import Digest
from outlast.swarm.torrent import bencode

TRUNCATED: Final = 20
"""Bytes of an infohash in what was made for SHA-1: handshakes, trackers and the DHT."""


def info_of(root: Digest, size: int) -> bytes:
    """The info dictionary of the payload of `size` bytes (not 0) whose tree has this root."""
    name = root.hex.encode()
    file: bencode.Encodable = {b"length": size, b"pieces root": bytes.fromhex(root.hex)}
    return bencode.encode(
        {
            b"file tree": {name: {b"": file}},
            b"meta version": 2,
            b"name": name,
            b"piece length": PIECE,
        }
    )


def info_dict(tree: Tree) -> bytes:
    """The same of a tree."""
    return info_of(tree.root, tree.size)


def infohash_of(root: Digest, size: int) -> bytes:
    """The 32 bytes that name the torrent of a payload: the sha256 of its info dictionary."""
    return hashlib.sha256(info_of(root, size)).digest()


def infohash(tree: Tree) -> bytes:
    """The same of a tree."""
    return infohash_of(tree.root, tree.size)


def truncated(infohash_v2: bytes) -> bytes:
    """The 20 bytes of an infohash that trackers, the DHT and handshakes have room for."""
    return infohash_v2[:TRUNCATED]


def torrent(tree: Tree, *, trackers: Sequence[str] = (), web_seeds: Sequence[str] = ()) -> bytes:
    """A whole .torrent file of a payload. `trackers` are tried in their order, each a tier of its
    own; `web_seeds` are the folders (URLs that end in a slash) where the file lies under its name.
    """
    root = bytes.fromhex(tree.root.hex)
    layers = {root: tree.layer} if tree.layer else {}
    return assemble(info_dict(tree), layers, trackers=trackers, web_seeds=web_seeds)


def assemble(
    info: bytes,
    layers: Mapping[bytes, bytes] | None,
    *,
    trackers: Sequence[str] = (),
    web_seeds: Sequence[str] = (),
) -> bytes:
    """A .torrent file around an encoded info dictionary and, in version 2, the piece `layers` by
    root.
    """
    parts: list[tuple[bytes, bytes]] = [(b"info", info)]
    if layers is not None:
        parts += [(b"piece layers", bencode.encode(layers))]
    if trackers:
        tiers = [[url.encode()] for url in trackers]
        parts += [(b"announce", bencode.encode(trackers[0].encode()))]
        parts += [(b"announce-list", bencode.encode(tiers))]
    if web_seeds:
        parts += [(b"url-list", bencode.encode([url.encode() for url in web_seeds]))]
    body = b"".join(bencode.encode(key) + value for key, value in sorted(parts))
    return b"d" + body + b"e"
