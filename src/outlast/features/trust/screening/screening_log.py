"""The log of screenings: what was compared with which lists, and what was alike. A line each, with
a check; nothing in it is ever changed (docs/format/screenings.md).
"""

import datetime as dt
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from outlast.core.errors import OutlastError
from outlast.core.manifest import load_json
from outlast.features.trust.screening.names.matching import ListedHit
from outlast.features.trust.screening.screened import ScreenedName, Screening
from outlast.store import disk
from outlast.store.records import sealed

NAME: Final = "trust/screenings.jsonl"
"""Its path in the archive's folder."""
_PART: Final = b"screening"
_TYPE: Final = "outlast-screening-v1"
_MOST: Final = 64 << 20
"""Bytes of a line that is read. 200 models with 50 authors and 10 rows for each name: 30 MB."""


class ScreeningLog:
    """The log of the archive in `home`. Thread-safe, and safe with other processes."""

    def __init__(self, home: Path) -> None:
        self.path = home / NAME

    def append(self, found: Screening, now: dt.datetime) -> None:
        """Notes a screening, durably."""
        text = json.dumps(_document(found, now), sort_keys=True, ensure_ascii=True)
        line = sealed.seal_line(NAME, _PART, text.encode()) + b"\n"
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
        """The screenings that can be read, the oldest first. A damaged line is passed over;
        `damaged` numbers those.
        """
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
                        yield number, _read(line.rstrip(b"\n"))


def _read(line: bytes) -> dict[str, Any] | None:
    text = sealed.unseal_line(NAME, _PART, line)
    if text is None:
        return None
    try:
        document = load_json(text, _MOST)
    except OutlastError:
        return None
    right = isinstance(document, dict) and document.get("type") == _TYPE
    return document if right else None


def _ends_whole(descriptor: int) -> bool:
    return os.pread(descriptor, 1, os.fstat(descriptor).st_size - 1) == b"\n"


def _document(found: Screening, now: dt.datetime) -> dict[str, Any]:
    return {
        "type": _TYPE,
        "when": now.astimezone(dt.UTC).isoformat(timespec="seconds"),
        "repo": str(found.repo),
        "commit": None if found.commit is None else found.commit.hex,
        "alike": found.alike.value,
        "lists": [
            {
                "kind": facts.kind.value,
                "file": facts.file,
                "date": facts.date.isoformat(),
                "dated_by": facts.dated_by.value,
                "sha256": facts.digest.hex,
                "rows": facts.rows,
                "parties": facts.parties,
            }
            for facts in found.lists
        ],
        "names": [_name(name) for name in found.names],
        "unknown": list(found.unknown),
    }


def _name(found: ScreenedName) -> dict[str, Any]:
    return {
        "name": found.name.text,
        "role": found.name.role.value,
        "of": str(found.name.of),
        "lineage": [str(repo) for repo in found.name.lineage],
        "alike": found.alike.value,
        "rows": [_row(hit) for hit in found.hits],
    }


def _row(hit: ListedHit) -> dict[str, Any]:
    return {
        "list": hit.facts.digest.hex,
        "part": hit.party.list_name,
        "id": hit.party.id,
        "party": hit.party.name,
        "name": hit.name,
        "programmes": list(hit.party.programmes),
        "alike": hit.alike.value,
        "score": hit.score,
    }
