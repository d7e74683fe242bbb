"""Reading .torrent files from any source: version 1, version 2, or both (BEP 3, 47, 52).

They are hostile until checked: bounded, canonical, with paths that cannot lead out of a folder, and
if they have both versions, with the same files in both.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, TypeAlias

from outlast.codec.merkle import BLOCK, PIECE, Tree
from outlast.core.digest import Digest
from outlast.core.errors import BadNameError, MalformedError
from outlast.core.manifest import MAX_FILE_SIZE
from outlast.core.names import check_path, check_paths
from outlast.swarm.torrent import bencode
from outlast.swarm.torrent.bencode import Value
from outlast.swarm.torrent.layers import checked_tree
from outlast.swarm.torrent.magnet import TRACKERS, WEB_SEEDS, Link, LinkedFile, urls
from outlast.swarm.torrent.revision_torrent import MAX_PIECE_LENGTH

HINT: Final = "the torrent file is damaged or forged; ask for its magnet link instead"
_MAX_TIERS = 1000

_Dict: TypeAlias = dict[bytes, Value]


def read_torrent(data: bytes) -> Link:
    """What a .torrent file names. Raises :class:`MalformedError`."""
    try:
        return _read(data)
    except BadNameError as error:
        raise MalformedError(f"not a torrent that can be kept: {error}", hint=HINT) from None
    except MalformedError as error:
        raise MalformedError(f"not a torrent: {error}", hint=HINT) from None


def _read(data: bytes) -> Link:
    document = _dict(bencode.decode(data), "it")
    info = _dict(document.get(b"info"), "its 'info'")
    raw = bencode.encode(info)  # the bytes that were read: there is one encoding
    shape = _Shape.of(info)
    v1, v2 = b"pieces" in info, b"meta version" in info
    trees = _trees(shape, _dict(document.get(b"piece layers", {}), "its 'piece layers'"))
    return Link(
        infohash_v2=hashlib.sha256(raw).digest() if v2 else None,
        infohash_v1=hashlib.sha1(raw, usedforsecurity=False).digest() if v1 else None,
        name=shape.name,
        size=sum(file.size for file in shape.files),
        trackers=urls(list(_trackers(document)), TRACKERS),
        web_seeds=urls(list(_texts(document.get(b"url-list", []))), WEB_SEEDS),
        files=shape.files,
        trees=trees,
        info=raw,
    )


@dataclass(frozen=True, slots=True)
class _Shape:
    name: str
    files: tuple[LinkedFile, ...]
    piece_length: int

    @classmethod
    def of(cls, info: _Dict) -> "_Shape":
        name = _text(info.get(b"name"), "name")
        if "/" in check_path(name):
            raise MalformedError("its name is not one of a file or folder")
        length = _number(info.get(b"piece length"), "piece length", MAX_PIECE_LENGTH)
        if length == 0:
            raise MalformedError("its pieces are empty")
        files: tuple[LinkedFile, ...] = ()
        if b"meta version" in info:
            files = _files_v2(info, length)
        if b"pieces" in info:
            old = _files_v1(info, name, length, aligned=bool(files))
            if files and [(f.path, f.size) for f in files] != [(f.path, f.size) for f in old]:
                raise MalformedError("its two versions have different files")
            files = files or old
        if not files:
            raise MalformedError("it has no files")
        check_paths(file.path for file in files)
        return cls(name, files, length)


def _files_v2(info: _Dict, length: int) -> tuple[LinkedFile, ...]:
    if info[b"meta version"] != 2:
        raise MalformedError("its version is not known")
    if length < BLOCK or length & (length - 1):
        raise MalformedError(f"pieces of {length} bytes are none of version 2")
    tree = _dict(info.get(b"file tree"), "its 'file tree'")
    return tuple(_walk(tree, ()))


def _walk(folder: _Dict, above: tuple[str, ...]) -> Iterator[LinkedFile]:
    """The files of a folder, in the order of the tree; it is nested no deeper than bencoding is."""
    if not folder:
        raise MalformedError("it has an empty folder")
    for key, value in folder.items():
        path = (*above, _part(key))
        inner = _dict(value, "a part of its 'file tree'")
        if b"" not in inner:
            yield from _walk(inner, path)
            continue
        if len(inner) != 1:
            raise MalformedError("it has a file that is a folder too")
        yield _leaf(_dict(inner[b""], "a file"), "/".join(path))


def _leaf(file: _Dict, path: str) -> LinkedFile:
    size = _number(file.get(b"length"), "length", MAX_FILE_SIZE)
    _refuse_links(file)
    root = file.get(b"pieces root")
    if size == 0:
        return LinkedFile(path, 0)
    if not isinstance(root, bytes) or len(root) != 32:
        raise MalformedError("it has a file without a root")
    return LinkedFile(path, size, Digest.from_bytes(root))


def _refuse_links(file: _Dict) -> None:
    if b"l" in _bytes(file.get(b"attr", b""), "attr") or b"symlink path" in file:
        raise MalformedError("it has a symbolic link")


def _files_v1(info: _Dict, name: str, length: int, *, aligned: bool) -> tuple[LinkedFile, ...]:
    """The files of version 1, without pads; `aligned` asks that each starts a piece."""
    if b"files" in info:
        listed = [_dict(file, "a file") for file in _list(info[b"files"], "files")]
    else:
        listed = [{b"length": info.get(b"length", b""), b"path": [name.encode()]}]
    found, offset = [], 0
    for file in listed:
        size = _number(file.get(b"length"), "length", MAX_FILE_SIZE)
        _refuse_links(file)
        if b"p" not in _bytes(file.get(b"attr", b""), "attr"):
            if aligned and size and offset % length:
                raise MalformedError("it has a file that does not start a piece")
            parts = map(_part, _list(file.get(b"path"), "path"))
            found.append(LinkedFile("/".join(parts), size))
        offset += size
    pieces = _bytes(info[b"pieces"], "pieces")
    if len(pieces) != 20 * -(-offset // length):
        raise MalformedError(f"{len(pieces)} bytes of hashes do not fit {offset} bytes of files")
    return tuple(found)


def _trees(shape: _Shape, layers: _Dict) -> dict[Digest, Tree]:
    """The trees of all files whose hashes are there, each checked once."""
    found: dict[Digest, Tree] = {}
    sizes: dict[Digest, int] = {}
    for file in shape.files:
        if file.root is None:
            continue
        if sizes.setdefault(file.root, file.size) != file.size:
            raise MalformedError("it has one root for two sizes")
        if file.root in found:
            continue
        if file.size <= PIECE:
            found[file.root] = Tree(file.size, file.root, b"")
        elif file.size > shape.piece_length:
            layer = layers.get(bytes.fromhex(file.root.hex))
            if layer is not None:
                raw = _bytes(layer, "piece layers")
                tree = checked_tree(file.size, file.root, raw, shape.piece_length)
                if tree is not None:
                    found[file.root] = tree
    return found


def _trackers(document: _Dict) -> Iterator[str]:
    if b"announce" in document:
        yield from _texts(document[b"announce"])
    for tier in _list(document.get(b"announce-list", []), "announce-list")[:_MAX_TIERS]:
        yield from _texts(tier)


def _texts(value: Value) -> Iterator[str]:
    """A text, or a list of them: both are found for the same key."""
    for item in value[:_MAX_TIERS] if isinstance(value, list) else [value]:
        if item != b"":
            yield _text(item, "a URL")


def _dict(value: Value | None, what: str) -> _Dict:
    if not isinstance(value, dict):
        raise MalformedError(f"{what} is no dictionary")
    return value


def _list(value: Value | None, key: str) -> list[Value]:
    if not isinstance(value, list):
        raise MalformedError(f"{key!r} is no list")
    return value


def _bytes(value: Value | None, key: str) -> bytes:
    if not isinstance(value, bytes):
        raise MalformedError(f"{key!r} is no string")
    return value


def _text(value: Value | None, key: str) -> str:
    try:
        return _bytes(value, key).decode()
    except UnicodeDecodeError:
        raise MalformedError(f"{key!r} is not UTF-8") from None


def _part(value: Value | None) -> str:
    part = _text(value, "path")
    if "/" in part:
        raise MalformedError("it has a path with a slash inside of a part")
    return part


def _number(value: Value | None, key: str, most: int) -> int:
    if not isinstance(value, int) or not 0 <= value <= most:
        raise MalformedError(f"{key!r} is no number from 0 to {most}")
    return value
