"""Layers of the trees of BEP 52, for pieces of any length: torrents of others have their own."""

import hashlib
from functools import cache
from typing import Final

from outlast.codec import kernels
from outlast.codec.merkle import BLOCK, PIECE, Tree
from outlast.core.digest import Digest
from outlast.core.errors import MalformedError

HASH: Final = 32


@cache
def zeros(length: int) -> bytes:
    """The hash of a piece of `length` bytes (a power of two, from 16 KiB) that is not there."""
    if length == BLOCK:
        return bytes(HASH)
    half = zeros(length // 2)
    return hashlib.sha256(half + half).digest()


def fold(layer: bytes, count: int, length: int) -> bytes:
    """The hashes of pieces `count` times as long (a power of two), from those of pieces of
    `length` bytes.
    """
    folded = []
    for at in range(0, len(layer), HASH * count):
        group = layer[at : at + HASH * count]
        root = bytearray(HASH)
        kernels.fold(group + zeros(length) * (count - len(group) // HASH), root)
        folded.append(bytes(root))
    return b"".join(folded)


def checked_tree(size: int, root: Digest, layer: bytes, length: int) -> Tree | None:
    """The tree of a file of more than one piece of `length` bytes, from their hashes; None where
    the pieces are longer than ours. Raises :class:`MalformedError` where they are not the root's.
    """
    count = -(-size // length)
    if len(layer) != HASH * count:
        raise MalformedError(f"a layer of {len(layer)} bytes for {count} pieces")
    whole = fold(layer, 1 << (count - 1).bit_length(), length)
    if whole.hex() != root.hex:
        raise MalformedError(f"the piece hashes are not those of the root {root.short}…")
    if length > PIECE:
        return None
    ours = fold(layer, PIECE // length, length) if size > PIECE else b""
    return Tree(size, root, ours)
