"""Unsafe files that the operator allows nevertheless: by digest, remembered for good."""

import datetime as dt
from collections.abc import Iterable
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


class AllowedUnsafe:
    """What is allowed in the archive in `home`. Safe with other processes."""

    def __init__(self, home: Path) -> None:
        self._path = home / NAME

    def digests(self) -> frozenset[Digest]:
        """Those that are allowed. A line that is none allows nothing."""
        words = (line.split(maxsplit=1)[:1] for line in self._read().splitlines())
        return frozenset(Digest(word) for (word,) in filter(None, words) if Digest.is_valid(word))

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
