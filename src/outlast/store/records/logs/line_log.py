"""Logs that are evidence: a line each, with a check; nothing in them is ever changed.

A line is a JSON object in ASCII, a tab, and a check of :mod:`.sealed`. Damaged lines are passed
over; a crash may leave the beginning of a line, and the next one then begins on a line of its own.
"""

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from outlast.core.errors import OutlastError
from outlast.core.manifest import load_json
from outlast.store import disk
from outlast.store.records import sealed

_MOST: Final = 64 << 20
"""Bytes of a line that is read. A screening of 200 models with 50 authors and 10 rows for each name
takes 30 MB."""


class LineLog:
    """The log `name` (its path in the folder of the archive in `home`), of lines whose field `type`
    is `kind`. Thread-safe, and safe with other processes.
    """

    def __init__(self, home: Path, name: str, part: bytes, kind: str) -> None:
        self.path = home / name
        self._name = name
        self._part = part
        self._kind = kind

    def append(self, document: Mapping[str, Any]) -> None:
        """Adds a line, durably."""
        text = json.dumps({**document, "type": self._kind}, sort_keys=True, ensure_ascii=True)
        line = sealed.seal_line(self._name, self._part, text.encode()) + b"\n"
        with disk.reporting(self.path):
            disk.make_dir(self.path.parent)
            with (
                disk.locked(self.path, exclusive=True),
                open(self.path, "r+b", buffering=0) as file,
            ):
                new = not os.fstat(file.fileno()).st_size
                if not new and not _ends_whole(file.fileno()):
                    line = b"\n" + line  # a crash tore the last line
                file.seek(0, os.SEEK_END)
                disk.append_all(file.fileno(), line)
                disk.fsync(file.fileno())
                if new:
                    disk.fsync_dir(self.path.parent)

    def read(self) -> Iterator[dict[str, Any]]:
        """The lines that can be read, the oldest first; `damaged` numbers the others."""
        for _, document in self._lines():
            if document is not None:
                yield document

    def damaged(self) -> list[int]:
        """The numbers of the lines that cannot be read, from 1."""
        return [number for number, document in self._lines() if document is None]

    def _lines(self) -> Iterator[tuple[int, dict[str, Any] | None]]:
        with disk.reporting(self.path):
            try:
                file = open(self.path, "rb")  # noqa: SIM115 - closed below
            except FileNotFoundError:
                return
            with file:
                number = 0
                while line := file.readline(_MOST):
                    number += 1
                    if line.rstrip(b"\n"):
                        yield number, self._read(line.rstrip(b"\n"))

    def _read(self, line: bytes) -> dict[str, Any] | None:
        text = sealed.unseal_line(self._name, self._part, line)
        if text is None:
            return None
        try:
            document = load_json(text, _MOST)
        except OutlastError:
            return None
        right = isinstance(document, dict) and document.get("type") == self._kind
        return document if right else None


def _ends_whole(descriptor: int) -> bool:
    return os.pread(descriptor, 1, os.fstat(descriptor).st_size - 1) == b"\n"
