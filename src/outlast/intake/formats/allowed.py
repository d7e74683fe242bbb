"""Unsafe files that the operator allows nevertheless: by digest, remembered for good."""

import datetime as dt
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from outlast.core.digest import Digest
from outlast.core.errors import CorruptError, one_line
from outlast.store import disk

NAME: Final = "trust/allowed-unsafe.txt"
"""Its path in the archive's folder. A line each: the sha256, the day, and which file it was. A
person may delete lines.
"""
_MOST: Final = 16 << 20
"""Bytes of the file."""


class UnsafeWish(StrEnum):
    """What clients of a server get of unsafe files that are not allowed by their digests."""

    WITHHOLD = "withhold"
    ALLOW = "allow"


@dataclass(frozen=True, slots=True)
class AllowedFile:
    """A file that is allowed: since `day` (ISO 8601), and which file it then was."""

    digest: Digest
    day: str
    what: str


class AllowedUnsafe:
    """What is allowed in the archive in `home`. Safe with other processes."""

    def __init__(self, home: Path) -> None:
        self._path = home / NAME

    def digests(self) -> frozenset[Digest]:
        """Those that are allowed. A line that is none allows nothing."""
        return frozenset(one.digest for one in self.all())

    def all(self) -> list[AllowedFile]:
        """The same with what the file says of each, in its order."""
        return [one for line in self._read().splitlines() if (one := _parsed(line)) is not None]

    def allow(self, files: Iterable[tuple[Digest, str]], day: dt.date) -> None:
        """Adds files by their digests, each with what it is."""
        with disk.reporting(self._path):
            disk.make_dir(self._path.parent)
            with disk.locked(self._path.with_name(self._path.name + ".lock"), exclusive=True):
                known = self.digests()
                new = {digest: what for digest, what in files if digest not in known}
                if not new:
                    return
                text = self._read()
                text += "\n" if text and not text.endswith("\n") else ""
                for digest, what in new.items():
                    text += f"{digest.hex} {day.isoformat()} {one_line(what, 400)}\n"
                self._write(text)

    def undo(self, digests: Collection[Digest]) -> frozenset[Digest]:
        """Takes files out of the list; which of `digests` were in it."""
        with disk.reporting(self._path):
            if not self._path.exists():
                return frozenset()
            with disk.locked(self._path.with_name(self._path.name + ".lock"), exclusive=True):
                found = self.digests() & frozenset(digests)
                lines = self._read().splitlines(keepends=True)
                self._write("".join(line for line in lines if not _names(line, found)))
        return found

    def _write(self, text: str) -> None:
        temp = self._path.with_name(self._path.name + ".part")
        disk.write_temp(temp, text.encode(), 0o644)
        disk.publish(temp, self._path)

    def _read(self) -> str:
        with disk.reporting(self._path):
            try:
                with self._path.open("rb") as file:
                    data = file.read(_MOST + 1)
            except FileNotFoundError:
                return ""
        if len(data) > _MOST:
            raise CorruptError(f"{self._path} has more than {_MOST:,} bytes")
        return data.decode("utf-8", "replace")


def _parsed(line: str) -> AllowedFile | None:
    digest, day, what = (*line.split(maxsplit=2), "", "", "")[:3]
    return AllowedFile(Digest(digest), day, what.strip()) if Digest.is_valid(digest) else None


def _names(line: str, digests: Collection[Digest]) -> bool:
    found = _parsed(line)
    return found is not None and found.digest in digests
