"""A folder of pins: a small file each, by namespace, and a second copy of it elsewhere."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Protocol, TypeVar
from urllib.parse import quote

from outlast.core.errors import CorruptError, DamagedRecordError
from outlast.store import disk
from outlast.store.archive import Archive
from outlast.store.writer import WriteSession


class PinRecord(Protocol):
    """What lies in such a folder. `namespace`: for whose models it counts."""

    @property
    def namespace(self) -> str: ...

    def encode(self) -> bytes:
        """Its bytes, which the folder's `decode` reads."""


P = TypeVar("P", bound=PinRecord)


@dataclass(frozen=True, slots=True)
class DamagedPin:
    """The file of a pin that cannot be read in either copy."""

    path: Path
    why: str


class PinFolder(Generic[P]):
    """The folder `name` of the archive's trust records. `decode` reads a file, and raises
    :class:`CorruptError`; `name_of` names it within its namespace. Thread-safe; read anew where
    another process changed it.
    """

    def __init__(
        self,
        archive: Archive,
        name: str,
        decode: Callable[[bytes], P],
        name_of: Callable[[P], str],
    ) -> None:
        self._records = archive.records
        self._layout = archive.layout
        self._root = archive.layout.trust / name
        self._decode = decode
        self._name_of = name_of

    @property
    def stamp(self) -> int:
        """Another number whenever a pin may be another."""
        try:
            return os.stat(self._root).st_mtime_ns
        except FileNotFoundError:
            return 0

    def put(self, writer: WriteSession, pin: P) -> None:
        """Takes the place of the pin of that name in that namespace."""
        path = self._path(pin)
        with disk.reporting(path):
            self._records.write_twice(writer, path, pin.encode())
            disk.touch(self._root)

    @disk.reported
    def all(self) -> list[P | DamagedPin]:
        """All of them, by namespace and name."""
        folders = [self._root / namespace for namespace in self._namespaces()]
        return [self._read(folder / name) for folder in folders for name in self._names(folder)]

    def _names(self, folder: Path) -> list[str]:
        """Of all that is there, also of what is no file: that is a damaged pin."""
        both = (folder, self._layout.second_of(folder))
        return sorted({name for one in both if one.is_dir() for name in disk.listed(one)})

    def _namespaces(self) -> list[str]:
        roots = (self._root, self._layout.second_of(self._root))
        return sorted({n for root in roots for n in disk.listed(root) if (root / n).is_dir()})

    def _read(self, path: Path) -> P | DamagedPin:
        """A pin: from its second copy where the first is damaged."""
        why = ""
        try:
            return self._decoded(path, self._records.read(path))
        except (DamagedRecordError, CorruptError) as error:
            why = str(error)
        except FileNotFoundError:
            why = "it is missing, or no plain file"
        try:
            if (body := self._records.read_second(path)) is not None:
                return self._decoded(path, body)
        except CorruptError:
            pass
        return DamagedPin(path, why)

    def _decoded(self, path: Path, body: bytes) -> P:
        pin = self._decode(body)
        if self._path(pin) != path:
            raise CorruptError("it lies under another name")
        return pin

    def _path(self, pin: P) -> Path:
        return self._root / quote(pin.namespace, safe="") / self._name_of(pin)
