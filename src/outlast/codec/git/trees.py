"""Git's folders: made of a list of files, and read back into one."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from outlast.codec.git.commits import object_id
from outlast.core.digest import GitOid
from outlast.core.errors import MalformedError

FILE: Final = "100644"
_FOLDER: Final = b"40000"
_MODE: Final = re.compile(r"[1-7][0-7]{4,5}\Z")
_ID: Final = 20
MOST_DEEP: Final = 256
"""Folders in each other. Guess: paths of manifests have at most 4,096 bytes, honest ones 10
parts."""

Row: TypeAlias = "tuple[bytes, TreeEntry]"


@dataclass(frozen=True, slots=True)
class TreeEntry:
    """What a folder has by one name that is no folder: `mode` in octal, and the id of its bytes, or
    of the commit of a submodule.
    """

    mode: str
    oid: GitOid

    def __post_init__(self) -> None:
        if not _MODE.match(self.mode) or self.mode == _FOLDER.decode():
            raise MalformedError(f"not the mode of a file: {self.mode[:20]!r}")


def root_of(rows: Iterable[Row]) -> GitOid:
    """The id of the folder that has these files, by path (bytes with ``/``). Raises
    :class:`MalformedError` for a path that git cannot hold, one that is there twice, and a file
    that is a folder as well.
    """
    folders: dict[bytes, dict[bytes, bytes]] = {b"": {}}
    for path, entry in rows:
        if path.startswith(b"/"):
            raise MalformedError("a path that begins with a slash")
        parent, _, name = path.rpartition(b"/")
        _make(folders, parent)
        _put(folders[parent], name, entry.mode.encode(), entry.oid)
    for path in sorted(filter(None, folders), key=lambda path: -path.count(b"/")):
        parent, _, name = path.rpartition(b"/")
        _put(folders[parent], name, _FOLDER, object_id("tree", _encode(folders.pop(path))))
    return object_id("tree", _encode(folders[b""]))


def _make(folders: dict[bytes, dict[bytes, bytes]], path: bytes) -> None:
    """Adds a folder and those that it is in."""
    if path.count(b"/") >= MOST_DEEP:
        raise MalformedError("folders in each other too deep")
    while path not in folders:
        folders[path] = {}
        path = path.rpartition(b"/")[0]


def _put(folder: dict[bytes, bytes], name: bytes, mode: bytes, oid: GitOid) -> None:
    if not name or name in {b".", b".."} or b"\0" in name:
        raise MalformedError("a name that git cannot hold")
    if name in folder:
        raise MalformedError(f"{name[:100]!r} is there twice in a folder")
    folder[name] = b"%s %s\0%s" % (mode, name, bytes.fromhex(oid.hex))


def _encode(folder: Mapping[bytes, bytes]) -> bytes:
    """Git's order: a folder sorts as if its name ended in a slash."""
    is_folder = _FOLDER + b" "
    keys = ((n + b"/" if row.startswith(is_folder) else n, row) for n, row in folder.items())
    return b"".join(row for _, row in sorted(keys))


def read_tree(data: bytes) -> Iterator[tuple[bytes, bytes, GitOid]]:
    """Mode, name and id of each entry of one folder. Raises :class:`MalformedError`."""
    at = 0
    while at < len(data):
        end = data.find(b"\0", at)
        if end < 0 or end + 1 + _ID > len(data):
            raise MalformedError("a folder of git that is cut short")
        mode, _, name = data[at:end].partition(b" ")
        at = end + 1 + _ID
        yield mode, name, GitOid(data[end + 1 : at].hex())


def files_below(root: GitOid, trees: Mapping[GitOid, bytes], most: int) -> Iterator[Row]:
    """The files of a folder and of those in it, which have to be among `trees`. Raises
    :class:`MalformedError` where one is not, and where there are more than `most` names: folders
    that hold one another's copies make many paths of few bytes.
    """
    waiting = [(b"", root)]
    seen = 0
    while waiting:
        prefix, oid = waiting.pop()
        if oid not in trees:
            raise MalformedError(f"the folder {oid.hex[:12]} is missing")
        if prefix.count(b"/") > MOST_DEEP:
            raise MalformedError("folders in each other too deep")
        for mode, name, found in read_tree(trees[oid]):
            seen += 1
            if seen > most:
                raise MalformedError(f"a commit with more than {most} names")
            path = prefix + name
            if mode == _FOLDER:
                waiting.append((path + b"/", found))
            elif mode.isascii():
                yield path, TreeEntry(mode.decode(), found)
            else:
                raise MalformedError("an entry of a folder without a mode")
