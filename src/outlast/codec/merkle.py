"""The BitTorrent v2 merkle tree (BEP 52) of a file, built from pieces in any order.

Leaves are the SHA-256 of 16 KiB blocks; the root of a file's tree is its name in a swarm, and a
proof for any byte range. Pieces here are 1 MiB: 64 leaves.
"""

import hashlib

from outlast.codec import kernels
from outlast.model.digest import Digest

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


def root_of_pieces(pieces: list[bytes]) -> Digest:
    """The root of a file of more than one piece, from the hashes of all of its pieces."""
    return Digest.from_bytes(_fold(b"".join(pieces), _power_of_two(len(pieces)), _ZERO_PIECE))
