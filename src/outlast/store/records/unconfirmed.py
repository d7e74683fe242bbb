"""Which revisions have a list of files that no hub confirmed: a node on the LAN alone said so.

A manifest holds only what follows from the content, so this is kept beside it: a small file for
each such revision, below ``unconfirmed/``. That it is there is what counts.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from outlast.core.digest import GitOid
from outlast.core.errors import BadNameError, CorruptError, DamagedRecordError
from outlast.core.names import RepoId
from outlast.store import disk
from outlast.store.layout import repo_of_folder
from outlast.store.records.facts import load_document
from outlast.store.records.records import Records
from outlast.store.writer import WriteSession

_DEPTH: Final = ("*",) * 4


@dataclass(frozen=True, slots=True)
class Told:
    """Which node said what a revision consists of, and when (ISO 8601, UTC); both are empty where
    that cannot be read.
    """

    by: str = ""
    since: str = ""


class Unconfirmed:
    """The marks of all revisions of an archive. One that is damaged still marks its revision."""

    def __init__(self, records: Records) -> None:
        self._records = records
        self._layout = records.layout

    @disk.reported
    def put(self, writer: WriteSession, repo: RepoId, commit: GitOid, told: Told) -> None:
        """Call before the first draft of the revision is written."""
        body = json.dumps({"by": told.by, "since": told.since}, sort_keys=True).encode() + b"\n"
        self._records.write_twice(writer, self.path(repo, commit), body)
        disk.touch(self._layout.refs)

    @disk.reported
    def get(self, repo: RepoId, commit: GitOid) -> Told | None:
        """Who said what a revision consists of; None if that needs no mark."""
        try:
            return decode_told(self._records.read(self.path(repo, commit)))
        except FileNotFoundError:
            return None
        except (DamagedRecordError, CorruptError):
            return Told()

    @disk.reported
    def delete(self, repo: RepoId, commit: GitOid) -> None:
        """Call after the list of the revision was replaced, or the revision was removed."""
        path = self.path(repo, commit)
        if self._records.delete(path):
            disk.remove_empty_parents(path, self._layout.unconfirmed)
            disk.touch(self._layout.refs)

    def paths(self) -> list[Path]:
        """The files of all marks, sorted; also those of which only the second copy is left."""
        root = self._layout.unconfirmed
        second = self._layout.second_of(root)
        found = {*disk.matching(root, *_DEPTH)}
        found |= {root / path.relative_to(second) for path in disk.matching(second, *_DEPTH)}
        return sorted(path for path in found if GitOid.is_valid(path.name))

    def all(self) -> frozenset[tuple[RepoId, GitOid]]:
        """Every revision that is marked; reads no file."""
        return frozenset(self._all())

    def _all(self) -> Iterator[tuple[RepoId, GitOid]]:
        for path in self.paths():
            try:
                yield repo_of_folder(path.parent), GitOid(path.name)
            except BadNameError:  # not a folder of ours
                continue

    def path(self, repo: RepoId, commit: GitOid) -> Path:
        """The file that marks a revision."""
        return self._layout.unconfirmed_mark(repo, commit)


def decode_told(body: bytes) -> Told:
    """What a mark says. Raises :class:`CorruptError`."""
    document = load_document(body)
    return Told(str(document.get("by", "")), str(document.get("since", "")))
