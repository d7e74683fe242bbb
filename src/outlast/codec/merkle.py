"""The BitTorrent v2 merkle tree (BEP 52) of a file, built from pieces in any order.

Leaves are the SHA-256 of 16 KiB blocks; the root of a file's tree is its name in a swarm, and a
proof for any byte range. Pieces here are 1 MiB: 64 leaves.
"""

import hashlib
from dataclasses import dataclass
from typing import Self

from outlast.codec import kernels
from outlast.core.digest import Digest
from outlast.core.errors import MalformedError

BLOCK = 16 * 1024
PIECE = 1024 * 1024
LEAVES_PER_PIECE = PIECE // BLOCK
_ZERO = bytes(32)

_sha256 = hashlib.sha256


def _fold(layer: bytes, width: int, pad: bytes) -> bytes:
    """The root of a tree of `width` leaves (a power of two), the hashes in `layer` padded with
    `pad`.
    """
    root = bytearray(32)
    kernels.fold(layer + pad * (width - len(layer) // 32), root)
    return bytes(root)


def _leaves(data: memoryview) -> bytes:
    whole = len(data) // BLOCK
    hashes = bytearray(32 * whole)
    kernels.leaf_hashes(data[: whole * BLOCK], hashes)
    if len(data) % BLOCK:
        hashes += _sha256(data[whole * BLOCK :]).digest()
    return bytes(hashes)


def _power_of_two(count: int) -> int:
    return 1 << (count - 1).bit_length()


_ZERO_PIECE = _fold(_ZERO, LEAVES_PER_PIECE, _ZERO)


def block_count(size: int) -> int:
    """How many blocks a file of `size` bytes has."""
    return -(-size // BLOCK)


def block_proof(piece: memoryview, block: int, *, alone: bool) -> bytes:
    """The hashes that lead from a block of a piece (counted in the piece) up to the piece's hash,
    32 bytes a level, the lowest first. `alone`: the piece is the whole file.
    """
    row = _leaves(piece)
    row += _ZERO * (_width(len(row) // 32, alone=alone) - len(row) // 32)
    proof = b""
    while len(row) > 32:
        beside = block ^ 1
        proof += row[32 * beside : 32 * beside + 32]
        row = b"".join(_sha256(row[at : at + 64]).digest() for at in range(0, len(row), 64))
        block //= 2
    return proof


def _width(leaves: int, *, alone: bool) -> int:
    return _power_of_two(leaves) if alone else LEAVES_PER_PIECE


def piece_count(size: int) -> int:
    """How many pieces a file of `size` bytes has."""
    return -(-size // PIECE)


def piece_hash(data: memoryview) -> bytes:
    """The 32-byte root of one piece's 64 leaves; a short last piece is padded with zero leaves."""
    return _fold(_leaves(data), LEAVES_PER_PIECE, _ZERO)


def small_root(data: memoryview) -> Digest | None:
    """The root of a file that fits in one piece. An empty file has none (BEP 52)."""
    if not data:
        return None
    leaves = _leaves(data)
    return Digest.from_bytes(_fold(leaves, _power_of_two(len(leaves) // 32), _ZERO))


def root_of_layer(layer: bytes) -> Digest:
    """The root of a file of more than one piece, from the hashes of all of its pieces."""
    return Digest.from_bytes(_fold(layer, _power_of_two(len(layer) // 32), _ZERO_PIECE))


@dataclass(frozen=True, slots=True)
class Tree:
    """The merkle tree of a file of `size` bytes (not 0), from its root to its pieces: enough to
    check any one of them. `layer` has the 32-byte hashes of all pieces, and is empty where the
    file is one piece (its hash is the root).
    """

    size: int
    root: Digest
    layer: bytes

    @classmethod
    def checked(cls, size: int, root: Digest, layer: bytes) -> Self:
        """A tree from outside; raises :class:`MalformedError` where the layer is not the root's."""
        count = piece_count(size)
        if size <= 0 or len(layer) != (32 * count if count > 1 else 0):
            raise MalformedError(f"a layer of {len(layer)} bytes for {count} pieces")
        if layer and root_of_layer(layer) != root:
            raise MalformedError(f"the piece hashes are not those of the root {root.short}…")
        return cls(size, root, layer)

    @property
    def count(self) -> int:
        """How many pieces there are."""
        return piece_count(self.size)

    def length(self, index: int) -> int:
        """Bytes of piece `index`."""
        return min(PIECE, self.size - index * PIECE)

    def matches(self, index: int, data: memoryview, known: bytes | None = None) -> bool:
        """Whether `data` is piece `index`. `known` is its `piece_hash`, where that is known."""
        if len(data) != self.length(index):
            return False
        if not self.layer:
            return small_root(data) == self.root
        return (known or piece_hash(data)) == self.hash_of(index)

    def block_length(self, block: int) -> int:
        """Bytes of block `block`, counted in the file."""
        return min(BLOCK, self.size - block * BLOCK)

    @property
    def proof_length(self) -> int:
        """Bytes of the proof of any block."""
        width = _width(block_count(self.size), alone=not self.layer)
        return 32 * (width.bit_length() - 1)

    def proves(self, block: int, data: bytes, proof: bytes) -> bool:
        """Whether `data` is block `block` of the file, as its :func:`block_proof` shows."""
        if len(data) != self.block_length(block) or len(proof) != self.proof_length:
            return False
        found, place = _sha256(data).digest(), block % LEAVES_PER_PIECE
        for at in range(0, len(proof), 32):
            beside = proof[at : at + 32]
            found = _sha256(beside + found if place & 1 else found + beside).digest()
            place >>= 1
        piece = block // LEAVES_PER_PIECE
        return found == (self.hash_of(piece) if self.layer else bytes.fromhex(self.root.hex))

    def hash_of(self, index: int) -> bytes:
        """The `piece_hash` that piece `index` has to have; empty where the file is one piece."""
        return self.layer[32 * index : 32 * index + 32]
