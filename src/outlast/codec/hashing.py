"""All the names of a blob, computed in one pass over its bytes."""

import hashlib

from outlast.codec import merkle
from outlast.model.digest import Digest, GitOid, Names, blob_header

GIT_LIMIT = 10 * 1024 * 1024
"""Files up to this many bytes get a git blob id too; hubs keep larger ones in LFS."""


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
        self._root: Digest | None = None

    def update(self, piece: memoryview, piece_hash: bytes | None = None) -> None:
        self._sha256.update(piece)
        if self._git is not None:
            self._git.update(piece)
        if self.size <= merkle.PIECE:
            self._root = merkle.small_root(piece)
        else:
            self._pieces.append(piece_hash or merkle.piece_hash(piece))
        self.hashed += len(piece)

    def names(self) -> Names:
        """The names, once all `size` bytes went through `update`."""
        layer = b"".join(self._pieces)
        if layer:
            self._root = merkle.root_of_layer(layer)
        git = GitOid(self._git.hexdigest()) if self._git is not None else None
        return Names(self.hashed, Digest(self._sha256.hexdigest()), git, self._root, layer)
