"""The file that proves single pieces of a blob: its merkle tree, from the root to the pieces.

docs/format/second-home.md is normative. The file says of which blob it is, and ends with a sha256
of all before that: so damage of the tree is not taken for damage of the blob.
"""

import hashlib
import struct
from typing import Final

from outlast.codec.merkle import Tree, piece_count
from outlast.core.digest import Digest
from outlast.core.errors import CorruptError, MalformedError
from outlast.core.manifest import MAX_FILE_SIZE

_HEAD: Final = struct.Struct("<8s32sQ32s")
_MAGIC: Final = b"oltree1\n"
_CHECK: Final = 32


def has_tree(size: int) -> bool:
    """Whether a blob of `size` bytes has such a file: its sha256 proves one piece as well."""
    return piece_count(size) > 1


def tree_bytes(size: int) -> int:
    """How long the file is for a blob of `size` bytes."""
    return _HEAD.size + 32 * piece_count(size) + _CHECK


def encode_tree(blob: Digest, tree: Tree) -> bytes:
    """The file of a blob's tree."""
    root = bytes.fromhex(tree.root.hex)
    body = _HEAD.pack(_MAGIC, bytes.fromhex(blob.hex), tree.size, root) + tree.layer
    return body + hashlib.sha256(body).digest()


def decode_tree(data: bytes, blob: Digest) -> Tree:
    """The tree in a file; raises :class:`CorruptError` for one that is damaged or not of `blob`."""
    body, check = data[:-_CHECK], data[-_CHECK:]
    if len(body) < _HEAD.size or hashlib.sha256(body).digest() != check:
        raise CorruptError(f"the tree of {blob.short}… is damaged")
    magic, name, size, root = _HEAD.unpack_from(body)
    if magic != _MAGIC or name.hex() != blob.hex or not _is_size(size):
        raise CorruptError(f"the tree of {blob.short}… is that of something else")
    try:
        return Tree.checked(size, Digest(root.hex()), body[_HEAD.size :])
    except MalformedError as error:
        raise CorruptError(f"the tree of {blob.short}…: {error}") from None


def _is_size(size: int) -> bool:
    return has_tree(size) and size <= MAX_FILE_SIZE
