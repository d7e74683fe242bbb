"""All the names of a blob, computed in one pass over its bytes."""

import hashlib
import struct
from collections import deque
from concurrent.futures import Executor, Future
from typing import Final

from outlast.codec import kernels, merkle
from outlast.codec.merkle import Tree
from outlast.core.digest import Digest, GitOid, Names, blob_header

GIT_LIMIT = 10 * 1024 * 1024
"""Files up to this many bytes get a git blob id too; hubs keep larger ones in LFS."""


_AHEAD: Final = 4


def names_of(data: bytes | bytearray | memoryview) -> Names:
    """The names of a blob held in memory."""
    view = memoryview(data)
    hasher = BlobHasher(len(view), git=True)
    for at in range(0, len(view), merkle.PIECE):
        hasher.update(view[at : at + merkle.PIECE])
    return hasher.names()


class BlobHasher:
    """Hashes a blob of a known size, piece by piece, in order.

    `update` takes exactly one piece (1 MiB; the last may be shorter). The caller may pass the
    piece's merkle hash when it is known already. The git blob id is computed on request.
    """

    def __init__(self, size: int, *, git: bool) -> None:
        self.size = size
        self.hashed = 0
        self._sha256 = hashlib.sha256()
        self._git = None
        if git:
            self._git = hashlib.sha1(blob_header(size), usedforsecurity=False)
        self._pieces: list[bytes] = []
        self._sums: list[int] = []
        self._root: Digest | None = None

    def update(self, piece: memoryview, piece_hash: bytes | None = None) -> None:
        self._sha256.update(piece)
        if self._git is not None:
            self._git.update(piece)
        if self.size <= merkle.PIECE:
            self._root = merkle.small_root(piece)
        else:
            self._pieces.append(piece_hash or merkle.piece_hash(piece))
            self._sums.append(kernels.xxh3(piece))
        self.hashed += len(piece)

    def names(self) -> Names:
        """The names, once all `size` bytes went through `update`."""
        layer = b"".join(self._pieces)
        if layer:
            self._root = merkle.root_of_layer(layer)
        git = GitOid(self._git.hexdigest()) if self._git is not None else None
        sums = struct.pack(f"<{len(self._sums)}Q", *self._sums)
        return Names(self.hashed, Digest(self._sha256.hexdigest()), git, self._root, layer, sums)


class TreeHasher:
    """The tree of a file of any size, from its bytes in order.

    Memory: one piece (1 MiB), and up to four more where an `executor` hashes them; 32 bytes a
    piece.
    """

    def __init__(self, executor: Executor | None = None) -> None:
        self._executor = executor
        self._size = 0
        self._piece = bytearray()
        self._layer = bytearray()
        self._under_way: deque[Future[bytes]] = deque()

    def update(self, data: memoryview | bytes) -> None:
        view = memoryview(data)
        self._size += len(view)
        while view:
            if len(self._piece) == merkle.PIECE:  # now it is known that it is not the only one
                self._hash()
            room = merkle.PIECE - len(self._piece)
            self._piece += view[:room]
            view = view[room:]

    def _hash(self) -> None:
        piece, self._piece = self._piece, bytearray()
        if self._executor is None:
            self._layer += merkle.piece_hash(memoryview(piece))
            return
        self._under_way.append(self._executor.submit(merkle.piece_hash, memoryview(piece)))
        if len(self._under_way) > _AHEAD:
            self._layer += self._under_way.popleft().result()

    def tree(self) -> Tree | None:
        """The tree, once all bytes went through `update`; None of an empty file."""
        if self._size <= merkle.PIECE:
            root = merkle.small_root(memoryview(self._piece))
            return None if root is None else Tree(self._size, root, b"")
        if self._piece:
            self._hash()
        while self._under_way:
            self._layer += self._under_way.popleft().result()
        layer = bytes(self._layer)
        return Tree(self._size, merkle.root_of_layer(layer), layer)
