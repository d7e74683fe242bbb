"""The log of screenings: what was compared with which lists, and what was alike. A line each, with
a check; nothing in it is ever changed (docs/format/screenings.md).
"""

import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from outlast.features.trust.screening.names.matching import ListedHit
from outlast.features.trust.screening.screened import ScreenedName, Screening
from outlast.store.records.logs.line_log import LineLog

NAME: Final = "trust/screenings.jsonl"
"""Its path in the archive's folder."""
_PART: Final = b"screening"
_TYPE: Final = "outlast-screening-v1"


class ScreeningLog:
    """The log of the archive in `home`. Thread-safe, and safe with other processes."""

    def __init__(self, home: Path) -> None:
        self._log = LineLog(home, NAME, _PART, _TYPE)

    @property
    def path(self) -> Path:
        return self._log.path

    def append(self, found: Screening, now: dt.datetime) -> None:
        """Notes a screening, durably."""
        self._log.append(_document(found, now))

    def read(self) -> Iterator[dict[str, Any]]:
        """The screenings that can be read, the oldest first. A damaged line is passed over;
        `damaged` numbers those.
        """
        return self._log.read()

    def damaged(self) -> list[int]:
        """The numbers of the lines that cannot be read, from 1."""
        return self._log.damaged()


def _document(found: Screening, now: dt.datetime) -> dict[str, Any]:
    return {
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
