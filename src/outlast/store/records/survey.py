"""Reads every small file of an archive, and says which are damaged."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from outlast.core.digest import GitOid
from outlast.core.errors import BadNameError, CorruptError, DamagedRecordError
from outlast.core.names import RepoId, unquote_ref
from outlast.store import disk
from outlast.store.archive import Archive
from outlast.store.layout import MARKER, repo_of_folder
from outlast.store.records.facts import About
from outlast.store.records.records import LIMIT
from outlast.store.records.refs import ABOUT, decode_ref
from outlast.store.records.unconfirmed import decode_told

_DEPTH: Final = ("*",) * 4


class Kind(StrEnum):
    """What a small file is."""

    MARKER = "marker"
    REF = "ref"
    ABOUT = "about"
    DRAFT = "draft"
    SHARE = "share"
    UNCONFIRMED = "unconfirmed"


@dataclass(frozen=True, slots=True)
class DamagedRecord:
    """A small file that is damaged: its path in the archive, with slashes, and what is wrong.
    `second_only`: only its second copy is. `lines_only`: only lines that noted files.
    """

    kind: Kind
    name: str
    text: str
    repo: RepoId | None = None
    commit: GitOid | None = None
    second_only: bool = False
    lines_only: bool = False

    @property
    def ref(self) -> str:
        """The name of a damaged ref."""
        return unquote_ref(self.name.rpartition("/")[2])


@dataclass(frozen=True, slots=True)
class Survey:
    """How many small files were read, and which of them are damaged."""

    count: int
    damaged: tuple[DamagedRecord, ...]


@disk.reported
def survey(archive: Archive) -> Survey:
    """Reads all small files of an archive; changes nothing."""
    return _Survey(archive).run()


class _Survey:
    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._layout = archive.layout
        self._records = archive.records
        self._count = 0

    def run(self) -> Survey:
        damaged = [*self._marker(), *self._refs(), *self._unknown(), *self._drafts()]
        return Survey(self._count, (*damaged, *self._shares(), *self._marks()))

    def _marker(self) -> Iterator[DamagedRecord]:
        path = self._layout.marker
        name = self._layout.name_of(path)
        self._count += 1
        if problem := self._layout.read_marker().problem:
            yield DamagedRecord(Kind.MARKER, name, f"the file {name!r} is {problem}")
        elif self._records.strict and _small(self._layout.second_of(path)) != MARKER:
            yield DamagedRecord(Kind.MARKER, name, _second(name), second_only=True)

    def _refs(self) -> Iterator[DamagedRecord]:
        roots = (self._layout.refs, self._layout.second_of(self._layout.refs))
        found = {p.relative_to(root) for root in roots for p in disk.matching(root, *_DEPTH)}
        for relative in sorted(found):
            path = self._layout.refs / relative
            if path.name != ABOUT and path.name.startswith("."):
                continue  # not ours
            if path.is_dir():
                continue
            try:
                repo = repo_of_folder(path.parent)
            except BadNameError:
                continue
            self._count += 1
            yield from self._small(path, repo)

    def _small(self, path: Path, repo: RepoId) -> Iterator[DamagedRecord]:
        """A ref, what is known of a model, or who listed a commit."""
        kind = Kind.ABOUT if path.name == ABOUT else Kind.REF
        if GitOid.is_valid(path.name):
            kind = Kind.UNCONFIRMED
        name = self._layout.name_of(path)
        try:
            with disk.reporting(path):
                body = self._records.read(path)
            check_body(path, body)
        except DamagedRecordError as error:
            yield DamagedRecord(kind, name, str(error), repo)
        except CorruptError as error:
            yield DamagedRecord(kind, name, str(self._records.damaged(path, str(error))), repo)
        except FileNotFoundError:
            return  # deleted meanwhile
        else:
            # One that is missing, or differs, a crash may have left: the first counts.
            second = self._layout.second_of(path)
            if self._records.read_second(path) is None and second.exists():
                yield DamagedRecord(kind, name, _second(name), repo, second_only=True)

    def _unknown(self) -> Iterator[DamagedRecord]:
        """Models of which a revision is here, and nothing else is known."""
        if not self._records.strict:
            return
        for repo in sorted({summary.repo for summary in self._archive.summaries()}):
            path = self._archive.refs.about_path(repo)
            if not path.exists() and not self._layout.second_of(path).exists():
                name = self._layout.name_of(path)
                yield DamagedRecord(Kind.ABOUT, name, f"the file {name!r} is missing", repo)

    def _drafts(self) -> Iterator[DamagedRecord]:
        for state in self._archive.drafts.states():
            self._count += 1
            name = self._layout.name_of(state.path)
            if state.error is not None:
                yield DamagedRecord(Kind.DRAFT, name, str(state.error), state.repo, state.commit)
            elif state.bad_lines:
                text = f"{state.bad_lines} lines of {name!r} are damaged: their files are missing"
                yield DamagedRecord(
                    Kind.DRAFT, name, text, state.repo, state.commit, lines_only=True
                )

    def _shares(self) -> Iterator[DamagedRecord]:
        shares = self._archive.shares
        for infohash in shares.stamps():
            self._count += 1
            try:
                shares.get(infohash)
            except DamagedRecordError as error:
                yield DamagedRecord(
                    Kind.SHARE, self._layout.name_of(shares.path(infohash)), str(error)
                )

    def _marks(self) -> Iterator[DamagedRecord]:
        for path in self._archive.unconfirmed.paths():
            with contextlib.suppress(BadNameError):  # not a folder of ours
                repo = repo_of_folder(path.parent)
                self._count += 1
                yield from self._small(path, repo)


def check_body(path: Path, body: bytes) -> None:
    """Raises :class:`CorruptError` where `body` is not what the ref, the `.about` or the mark at
    `path` says.
    """
    if path.name == ABOUT:
        About.decode(body)
    elif GitOid.is_valid(path.name):  # no ref is called so
        decode_told(body)
    else:
        decode_ref(path.name, body)


def _second(name: str) -> str:
    return f"the second copy of {name!r} is missing or damaged"


def _small(path: Path) -> bytes | None:
    try:
        with open(path, "rb") as file:
            return file.read(LIMIT)
    except FileNotFoundError:
        return None
