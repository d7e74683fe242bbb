"""The torrent of a whole revision, for ordinary clients: files with readable names, version 1 and
version 2 (BEP 52) in one info dictionary.

Both versions list the files in the order of the file tree (part by part of the path, as bytes). In
version 1 pad files (BEP 47) make each file begin a piece, so that the hashes of a file's pieces
depend on that file alone. Nothing in it depends on who made it, or when.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from outlast.codec import merkle
from outlast.codec.merkle import PIECE, Tree
from outlast.core.errors import UsageError
from outlast.swarm.torrent import bencode
from outlast.swarm.torrent.bencode import Encodable
from outlast.swarm.torrent.layers import fold
from outlast.swarm.torrent.payload_torrent import assemble

MAX_FILES: Final = 20_000
"""As many as a reader with the bounds of :mod:`outlast.swarm.torrent.bencode` takes."""
MAX_PARTS: Final = 90
"""Parts of a path: each is a level of the file tree."""
MAX_PIECES: Final = 100_000
"""So that the hashes of version 1 stay below 2 MB."""
MAX_PIECE_LENGTH: Final = 512 * 1024 * 1024
"""Beyond this libtorrent refuses."""

_Folder: TypeAlias = dict[bytes, "_Folder | Mapping[bytes, Encodable]"]


@dataclass(frozen=True, slots=True)
class TorrentLayout:
    """The order of the files, as path and size, below the folder `name`; and how long a piece is,
    in bytes.
    """

    name: str
    files: tuple[tuple[str, int], ...]
    piece_length: int

    @classmethod
    def of(cls, name: str, sizes: Mapping[str, int]) -> "TorrentLayout":
        """The layout of files with these sizes, by path. Raises :class:`UsageError` if no torrent
        can hold them.
        """
        hint = "share it with --blobs, or only a part of it"
        if len(sizes) > MAX_FILES:
            raise UsageError(f"over {MAX_FILES:,} files are too many for one torrent", hint=hint)
        deep = next((path for path in sizes if path.count("/") >= MAX_PARTS), None)
        if deep is not None:
            raise UsageError(f"{deep!r} is too deep for a torrent", hint=hint)
        if not any(sizes.values()):
            raise UsageError("there is not one byte to share", hint="pull the revision first")
        length = PIECE
        while sum(-(-size // length) for size in sizes.values()) > MAX_PIECES:
            length *= 2
        if length > MAX_PIECE_LENGTH:
            raise UsageError("the files are too large for one torrent", hint=hint)
        return cls(name, tuple(sorted(sizes.items(), key=lambda file: _parts(file[0]))), length)

    @property
    def size(self) -> int:
        """Bytes of all files, without pads."""
        return sum(size for _, size in self.files)

    @property
    def last(self) -> str:
        """The path of the last file that is not empty: nothing follows, so it is not padded."""
        return next(path for path, size in reversed(self.files) if size)

    def padding(self, path: str, size: int) -> int:
        """Zeros between this file and the next that is not empty, in bytes."""
        return 0 if path == self.last else -size % self.piece_length


class FileHasher:
    """Hashes one file of a layout, in order: its tree, and the SHA-1 of its pieces."""

    def __init__(self, layout: TorrentLayout, path: str, size: int) -> None:
        self._size = size
        self._piece_length = layout.piece_length
        self._padding = layout.padding(path, size)
        self._layer: list[bytes] = []
        self._tree: Tree | None = None
        self._hashed = 0
        self._sha1 = hashlib.sha1(usedforsecurity=False)
        self._done: list[bytes] = []

    def grow_tree(self, piece: memoryview) -> None:
        """Takes the next 1 MiB into the tree; the last piece may be shorter."""
        if self._size <= PIECE:
            root = merkle.small_root(piece)
            self._tree = Tree(self._size, root, b"") if root is not None else None
        else:
            self._layer.append(merkle.piece_hash(piece))

    def hash_pieces(self, piece: memoryview) -> None:
        """Takes the same 1 MiB into the pieces of version 1; may run beside `grow_tree`."""
        self._sha1.update(piece)
        self._hashed += len(piece)
        if self._hashed % self._piece_length == 0:
            self._end_piece()

    def _end_piece(self) -> None:
        self._done.append(self._sha1.digest())
        self._sha1 = hashlib.sha1(usedforsecurity=False)

    def finish(self) -> "HashedFile":
        """The result, once both methods have taken all bytes."""
        if self._hashed % self._piece_length:
            for _ in range(self._padding // PIECE):
                self._sha1.update(bytes(PIECE))
            self._sha1.update(bytes(self._padding % PIECE))
            self._end_piece()
        layer = b"".join(self._layer)
        tree = Tree(self._size, merkle.root_of_layer(layer), layer) if layer else self._tree
        return HashedFile(tree, b"".join(self._done))


@dataclass(frozen=True, slots=True)
class HashedFile:
    """The tree of a file (none, if it is empty), and the SHA-1 of its pieces, 20 bytes each."""

    tree: Tree | None
    pieces: bytes


@dataclass(frozen=True, slots=True)
class RevisionTorrent:
    """The torrent of a revision: its encoded info dictionary, and the piece layers by root. `size`
    counts the bytes of its files.
    """

    name: str
    size: int
    info: bytes
    layers: Mapping[bytes, bytes]

    @property
    def infohash_v1(self) -> bytes:
        """20 bytes."""
        return hashlib.sha1(self.info, usedforsecurity=False).digest()

    @property
    def infohash_v2(self) -> bytes:
        """32 bytes."""
        return hashlib.sha256(self.info).digest()

    def file(self, *, trackers: Sequence[str] = (), web_seeds: Sequence[str] = ()) -> bytes:
        """The .torrent file; `web_seeds` are URLs, with a slash at the end, below which the files
        lie as ``name/path``.
        """
        return assemble(self.info, self.layers, trackers=trackers, web_seeds=web_seeds)


class StreamHasher:
    """SHA-1 of pieces that run over the ends of files, as in torrents without pads."""

    def __init__(self, piece_length: int) -> None:
        self._length = piece_length
        self._left = piece_length
        self._sha1 = hashlib.sha1(usedforsecurity=False)
        self._done: list[bytes] = []

    def update(self, data: memoryview) -> None:
        """Takes the next bytes, of any length."""
        rest = data
        while rest:
            part, rest = rest[: self._left], rest[self._left :]
            self._sha1.update(part)
            self._left -= len(part)
            if not self._left:
                self._end_piece()

    def _end_piece(self) -> None:
        self._done.append(self._sha1.digest())
        self._sha1 = hashlib.sha1(usedforsecurity=False)
        self._left = self._length

    def finish(self) -> bytes:
        """The hashes of all pieces, 20 bytes each."""
        if self._left < self._length:
            self._end_piece()
        return b"".join(self._done)


@dataclass(frozen=True, slots=True)
class V1Torrent:
    """The same files for clients that cannot read version 2 or pads: version 1 alone, the files one
    right after another. It has a swarm of its own.
    """

    name: str
    size: int
    info: bytes

    @property
    def infohash_v1(self) -> bytes:
        """20 bytes."""
        return hashlib.sha1(self.info, usedforsecurity=False).digest()

    def file(self, *, trackers: Sequence[str] = (), web_seeds: Sequence[str] = ()) -> bytes:
        """As :meth:`RevisionTorrent.file`."""
        return assemble(self.info, None, trackers=trackers, web_seeds=web_seeds)


def v1_torrent(layout: TorrentLayout, pieces: bytes) -> V1Torrent:
    """The torrent of the files of `layout`, from :class:`StreamHasher`'s result for them in their
    order.
    """
    info: Mapping[bytes, Encodable] = {
        b"files": [{b"length": size, b"path": _parts(path)} for path, size in layout.files],
        b"name": layout.name.encode(),
        b"piece length": layout.piece_length,
        b"pieces": pieces,
    }
    return V1Torrent(layout.name, layout.size, bencode.encode(info))


def hybrid_torrent(layout: TorrentLayout, hashed: Mapping[str, HashedFile]) -> RevisionTorrent:
    """The torrent of the files of `layout`, from the hashes of each."""
    tree: _Folder = {}
    layers: dict[bytes, bytes] = {}
    for path, size in layout.files:
        *folders, name = _parts(path)
        folder = tree
        for part in folders:
            folder = folder.setdefault(part, {})  # type: ignore[assignment]
        found = hashed[path].tree
        leaf: dict[bytes, Encodable] = {b"length": size}
        if found is not None:
            leaf[b"pieces root"] = root = bytes.fromhex(found.root.hex)
            if size > layout.piece_length:
                layers[root] = fold(found.layer, layout.piece_length // PIECE, PIECE)
        folder[name] = {b"": leaf}
    info: Mapping[bytes, Encodable] = {
        b"file tree": tree,
        b"files": list(_listed(layout)),
        b"meta version": 2,
        b"name": layout.name.encode(),
        b"piece length": layout.piece_length,
        b"pieces": b"".join(hashed[path].pieces for path, _ in layout.files),
    }
    return RevisionTorrent(layout.name, layout.size, bencode.encode(info), layers)


def _listed(layout: TorrentLayout) -> Iterator[Mapping[bytes, Encodable]]:
    """The files of version 1. A pad comes right before what it aligns: after empty files."""
    padding = 0
    for path, size in layout.files:
        if size and padding:
            yield {b"attr": b"p", b"length": padding, b"path": [b".pad", b"%d" % padding]}
        if size:
            padding = layout.padding(path, size)
        yield {b"length": size, b"path": _parts(path)}


def _parts(path: str) -> list[bytes]:
    return [part.encode() for part in path.split("/")]
