"""What a disk may hold after the power was cut: a replay of what a command did to it.

`Disk` follows a log of changes and knows which of them were synced. Bytes are safe once their file
was synced, a name once its folder was; POSIX promises nothing else, and file systems differ in what
they do beyond that. So of all that was not synced `cut` keeps nothing, the names without their
bytes, everything, the beginning, or any part: as `Cut` says.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from random import Random
from typing import TypeVar

from tests.faults.seam import Kind, Record

_SECTOR = 512
"""Bytes of a disk that are written whole or not at all."""


class Cut(Enum):
    """What is left of that which was not synced."""

    NOTHING = "nothing"
    NAMES = "names without their bytes"
    ALL = "all"
    BEGINNING = "what came first"
    ANY = "any part"


@dataclass(eq=False, slots=True)
class File:
    """Bytes that are safe, and what came after them: bytes at an offset, or a new size."""

    safe: bytes = b""
    mode: int = 0o644
    pending: list[tuple[int, bytes | None]] = field(default_factory=list)

    def sync(self) -> None:
        self.safe = _written(self.safe, self.pending)
        self.pending = []


@dataclass(eq=False, slots=True)
class Symlink:
    target: str


@dataclass(eq=False, slots=True)
class Folder:
    """The names that are safe, and those that a process sees."""

    safe: "dict[str, Node]" = field(default_factory=dict)
    seen: "dict[str, Node]" = field(default_factory=dict)


Node = File | Symlink | Folder
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Change:
    """Names that come (a node) or go (None), all at once or not at all."""

    names: "dict[tuple[int, str], tuple[Folder, Node | None]]"

    @classmethod
    def of(cls, *names: tuple[Folder, str, Node | None]) -> "_Change":
        return cls({(id(folder), name): (folder, node) for folder, name, node in names})

    def touches(self, folder: Folder) -> bool:
        return any(other is folder for other, _ in self.names.values())


def _written(data: bytes, steps: list[tuple[int, bytes | None]]) -> bytes:
    made = bytearray(data)
    for at, new in steps:
        if new is None:
            made = made[:at].ljust(at, b"\0")
        else:
            made = made.ljust(at, b"\0")
            made[at : at + len(new)] = new
    return bytes(made)


class Disk:
    """A folder as it was before a command, and what that did to it, step by step."""

    def __init__(self, home: Path) -> None:
        self._home = os.fspath(home)
        self._inodes: dict[int, File] = {}
        self._root = self._read(home)
        self._pending: list[_Change] = []
        self.step = 0
        """How many changes were followed."""
        self.said = b""
        """What the command had told the world."""

    def _read(self, path: Path) -> Folder:
        folder = Folder()
        for entry in os.scandir(path):
            node: Node
            if entry.is_symlink():
                node = Symlink(os.readlink(entry.path))
            elif entry.is_dir():
                node = self._read(Path(entry.path))
            else:
                stat = entry.stat()
                node = self._inodes.setdefault(
                    stat.st_ino, File(Path(entry.path).read_bytes(), stat.st_mode & 0o7777)
                )
            folder.safe[entry.name] = folder.seen[entry.name] = node
        return folder

    def _place(self, path: bytes) -> tuple[Folder, str]:
        *parents, name = os.path.relpath(os.fsdecode(path), self._home).split("/")
        folder = self._root
        for parent in parents:
            node = folder.seen[parent]
            assert isinstance(node, Folder)
            folder = node
        return folder, name

    def _at(self, path: bytes) -> Node | None:
        if os.fsdecode(path) == self._home:
            return self._root
        folder, name = self._place(path)
        return folder.seen.get(name)

    def follow(self, record: Record) -> None:
        """Takes the next change."""
        self.step += 1
        match record.kind:
            case Kind.SAID:
                self.said += record.first
            case Kind.WRITE:
                self._inodes[record.inode].pending.append((record.at, record.first))
            case Kind.TRUNCATE:
                self._inodes[record.inode].pending.append((record.at, None))
            case Kind.SYNC:
                self._sync(record)
            case Kind.OPEN:
                self._open(record)
            case Kind.MODE:
                node = self._at(record.first) if record.first else self._inodes[record.inode]
                if isinstance(node, File):
                    node.mode = record.mode
            case _:
                self._rename(record)

    def _sync(self, record: Record) -> None:
        node = self._at(record.first) if record.inode not in self._inodes else None
        if not isinstance(node, Folder):
            self._inodes[record.inode].sync()
            return
        left: list[_Change] = []
        for change in self._pending:
            if change.touches(node):
                _apply(change, safe=True)
                # What is older and was not synced can no longer show at these names.
                for other in left:
                    for key in change.names:
                        other.names.pop(key, None)
            else:
                left.append(change)
        self._pending = [change for change in left if change.names]

    def _open(self, record: Record) -> None:
        folder, name = self._place(record.first)
        node = folder.seen.get(name)
        if isinstance(node, File):
            if record.at:
                node.pending.append((0, None))
            return
        made = self._inodes[record.inode] = File(mode=record.mode)
        self._change((folder, name, made))

    def _rename(self, record: Record) -> None:
        folder, name = self._place(record.first) if record.kind is not Kind.SYMLINK else (None, "")
        if record.kind is Kind.SYMLINK:
            self._change((*self._place(record.second), Symlink(os.fsdecode(record.first))))
            return
        assert folder is not None
        if record.kind is Kind.MKDIR:
            self._change((folder, name, Folder()))
        elif record.kind in {Kind.UNLINK, Kind.RMDIR}:
            self._change((folder, name, None))
        else:
            node = folder.seen[name]
            new = (*self._place(record.second), node)
            if record.kind is Kind.LINK:
                self._change(new)
            else:
                self._change((folder, name, None), new)

    def _change(self, *names: tuple[Folder, str, Node | None]) -> None:
        change = _Change.of(*names)
        _apply(change, safe=False)
        self._pending.append(change)

    def cut(self, home: Path, cut: Cut, random: Random) -> None:
        """Leaves at `home` what the disk may hold if the power goes now."""
        names = {}
        for folder in _folders(self._root):
            names[id(folder)] = dict(folder.safe)
        for change in _left(self._pending, cut, random):
            for (folder_id, name), (folder, node) in change.names.items():
                entries = names.setdefault(folder_id, dict(folder.safe))
                if node is None:
                    entries.pop(name, None)
                else:
                    entries[name] = node
        _Writer(names, cut, random).write(self._root, home)


def _apply(change: _Change, *, safe: bool) -> None:
    for (_, name), (folder, node) in change.names.items():
        entries = folder.safe if safe else folder.seen
        if node is None:
            entries.pop(name, None)
        else:
            entries[name] = node


def _folders(folder: Folder) -> Iterator[Folder]:
    yield folder
    for node in folder.safe.values():
        if isinstance(node, Folder):
            yield from _folders(node)


def _left(steps: list[T], cut: Cut, random: Random, *, names: bool = True) -> list[T]:
    """Which of the steps that were not synced reached the disk."""
    match cut:
        case Cut.NOTHING:
            return []
        case Cut.NAMES:
            return steps if names else []
        case Cut.ALL:
            return steps
        case Cut.BEGINNING:
            return steps[: random.randint(0, len(steps))]
        case Cut.ANY:
            return [step for step in steps if random.random() < 0.5]


@dataclass(frozen=True, slots=True)
class _Writer:
    """Writes a disk as it was left to a folder."""

    names: dict[int, dict[str, Node]]
    cut: Cut
    random: Random
    _files: dict[int, Path] = field(default_factory=dict)

    def write(self, folder: Folder, path: Path) -> None:
        path.mkdir()
        entries = self.names.get(id(folder), folder.safe)
        for name, node in entries.items():
            place = path / name
            if isinstance(node, Folder):
                self.write(node, place)
            elif isinstance(node, Symlink):
                place.symlink_to(node.target)
            elif id(node) in self._files:
                place.hardlink_to(self._files[id(node)])
            else:
                place.write_bytes(self._bytes(node))
                place.chmod(node.mode)
                self._files[id(node)] = place

    def _bytes(self, file: File) -> bytes:
        steps = _left(file.pending, self.cut, self.random, names=False)
        if self.cut in {Cut.BEGINNING, Cut.ANY} and steps:
            at, last = steps[-1]
            if last:  # of the last write some sectors may be missing
                size = self.random.randrange(0, len(last) + 1, min(_SECTOR, len(last)))
                steps = [*steps[:-1], (at, last[:size])]
        data = _written(file.safe, steps)
        longest = len(_written(file.safe, file.pending))
        if self.cut is Cut.ANY and self.random.random() < 0.3:
            data = data.ljust(longest, b"\0")  # the size came, the bytes did not
        return data
