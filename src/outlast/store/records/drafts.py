"""Drafts: revisions whose files are still arriving.

A draft is a file of lines: first what the source lists for a commit, then a line for every file as
it is acknowledged. Appending is cheap, a torn last line is ignored, and several processes may
append at once. A complete draft becomes a manifest.
"""

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from outlast.core.digest import GitOid
from outlast.core.errors import (
    BadNameError,
    CorruptError,
    DamagedRecordError,
    OutlastError,
    RevisionNotFoundError,
)
from outlast.core.manifest import MAX_MANIFEST_BYTES, FileEntry, Revision
from outlast.core.names import RepoId
from outlast.store import disk
from outlast.store.layout import repo_of_folder
from outlast.store.records import draft_lines
from outlast.store.records.draft_lines import DraftText
from outlast.store.records.records import Records
from outlast.store.records.refs import Refs
from outlast.store.records.set_aside import set_aside
from outlast.store.writer import WriteSession

_MODE: Final = 0o644


@dataclass(frozen=True, slots=True)
class DraftState:
    """A draft as it was read: its revision, or else the `error`. `bad_lines` are lines of it that
    have changed: the files that they noted count as missing.
    """

    repo: RepoId
    commit: GitOid
    path: Path
    revision: Revision | None
    error: DamagedRecordError | None = None
    bad_lines: int = 0


@dataclass(frozen=True, slots=True)
class Salvaged:
    """What became of a damaged draft: what could be read, if anything, and where the damaged file
    was put.
    """

    revision: Revision | None
    aside: Path


class Drafts:
    """The unfinished revisions of an archive. `refs` learn of each model before its first draft."""

    def __init__(self, records: Records, refs: Refs | None = None) -> None:
        self._records = records
        self._refs = refs
        self._layout = records.layout

    @disk.reported
    def exists(self, repo: RepoId, commit: GitOid) -> bool:
        return self._layout.draft(repo, commit).is_file()

    @disk.reported
    def start(self, writer: WriteSession, listed: Revision) -> None:
        """Begins the draft of `listed`, a hub commit whose `missing` files are still to come. One
        that was begun before stays, unless it is damaged, or may lack files or does: then it is
        written anew, with the files that it still knows as acknowledged.
        """
        commit = listed.id
        path = self._layout.draft(listed.repo, commit)
        data = draft_lines.write_start(self._layout.name_of(path), listed)
        if self._refs is not None:
            self._refs.introduce(writer, listed.repo)
        while path.exists() or not writer.write_new(path, data, _MODE):
            state = self.state(listed.repo, commit)
            if state is None:
                continue  # another process sealed it meanwhile
            if state.error is not None:
                self.salvage(writer, listed.repo, commit, listed)
            elif state.revision is not None and _lists_more(listed, state.revision):
                self._renew(writer, state.path, _merged(listed, state.revision.files))
            break
        disk.touch(self._layout.drafts)

    def renewal(self, writer: WriteSession, listed: Revision) -> Callable[[], None]:
        """What puts the draft of `listed` in the place of its draft, whatever that has; call it
        with the archive's lock held exclusively.
        """
        path = self._layout.draft(listed.repo, listed.id)
        temp = writer.stage(draft_lines.write_start(self._layout.name_of(path), listed), _MODE)
        return lambda: disk.publish(temp, path)

    @disk.reported
    def salvage(
        self,
        writer: WriteSession,
        repo: RepoId,
        commit: GitOid,
        listed: Revision | None = None,
    ) -> Salvaged | None:
        """Sets a damaged draft aside, and writes anew what can be read of it: with the files of
        `listed`, or else as one that may lack files. None where there is none.
        """
        path = self._layout.draft(repo, commit)
        with disk.reporting(path), disk.locked(self._layout.lock, exclusive=True):
            try:
                data = _read(path)
            except FileNotFoundError:
                return None
            revision = self._readable(path, data, repo, commit)
            if listed is not None:
                revision = _merged(listed, revision.files if revision is not None else ())
            aside = set_aside(self._layout, path, keep=True)
            if revision is None:
                disk.remove(path)
                disk.remove_empty_parents(path, self._layout.drafts)
            else:
                self._publish(writer, path, revision)
            disk.touch(self._layout.drafts)
        return Salvaged(revision, aside)

    def _readable(self, path: Path, data: bytes, repo: RepoId, commit: GitOid) -> Revision | None:
        """What is intact of a damaged draft, if anything."""
        try:
            text = self._text(path, data)
            if text.head:
                draft_lines.check_head(text.head, repo, commit)
            return text.revision(repo, commit) if text.here or text.missing else None
        except OutlastError:
            return None

    def _renew(self, writer: WriteSession, path: Path, revision: Revision) -> None:
        """Puts `revision` in place of a draft, with what is acknowledged in that meanwhile."""
        with disk.reporting(path), disk.locked(self._layout.lock, exclusive=True):
            with contextlib.suppress(OutlastError, FileNotFoundError):
                now = self._checked(path, _read(path), revision.repo, revision.id)
                revision = _merged(revision, now.files)
            self._publish(writer, path, revision)

    def _publish(self, writer: WriteSession, path: Path, revision: Revision) -> None:
        data = draft_lines.write_start(self._layout.name_of(path), revision)
        disk.publish(writer.stage(data, _MODE), path)

    @disk.reported
    def add(
        self, repo: RepoId, commit: GitOid, entries: Iterable[FileEntry], *, listed: bool = False
    ) -> None:
        """Notes files that are acknowledged; if `listed`, only those that the draft lists. Durable
        on return. Raises :class:`RevisionNotFoundError` where there is no such draft (any more).
        """
        path = self._layout.draft(repo, commit)
        with disk.reporting(path), disk.locked(self._layout.lock, exclusive=False):
            if listed:  # another process may have put another list in its place
                entries = self._of_list(repo, commit, entries)
            lines = draft_lines.write_notes(self._layout.name_of(path), entries)
            try:
                fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
            except FileNotFoundError:
                raise RevisionNotFoundError(f"no draft of {repo} at {commit}") from None
            try:
                disk.append_all(fd, lines)
                disk.fsync(fd)
            finally:
                os.close(fd)
            disk.touch(self._layout.drafts)

    def _of_list(
        self, repo: RepoId, commit: GitOid, entries: Iterable[FileEntry]
    ) -> list[FileEntry]:
        """Those of the files that the draft lists; all, if what it lists cannot be read."""
        try:
            draft = self.load(repo, commit)
        except DamagedRecordError:
            return [*entries]
        listed = () if draft is None else (*draft.files, *draft.missing)
        wanted = {entry.path: entry for entry in listed}
        return [entry for entry in entries if _is_of(entry, wanted.get(entry.path))]

    @disk.reported
    def load(self, repo: RepoId, commit: GitOid) -> Revision | None:
        """The draft as a revision: what is acknowledged, and what is missing. Raises
        :class:`DamagedRecordError` where some of what the source listed cannot be read. A line that
        noted a file and is damaged makes only that file count as missing.
        """
        path = self._layout.draft(repo, commit)
        try:
            data = _read(path)
        except FileNotFoundError:
            return None
        return self._checked(path, data, repo, commit)

    def _checked(self, path: Path, data: bytes, repo: RepoId, commit: GitOid) -> Revision:
        return self._parsed(path, data, repo, commit)[0]

    def _parsed(
        self, path: Path, data: bytes, repo: RepoId, commit: GitOid
    ) -> tuple[Revision, int]:
        try:
            text = self._text(path, data)
            if text.lost:
                raise CorruptError(text.lost)
            draft_lines.check_head(text.head, repo, commit)
            return text.revision(repo, commit), text.bad_lines
        except OutlastError as error:
            raise self._records.damaged(path, str(error)) from None

    def _text(self, path: Path, data: bytes) -> DraftText:
        if len(data) > MAX_MANIFEST_BYTES:
            raise CorruptError("it is too long")
        name = self._layout.name_of(path)
        return draft_lines.read(name, data, strict=self._records.strict)

    def all(self) -> Iterator[Revision]:
        """Every draft, by name. Raises :class:`DamagedRecordError` at one that is damaged."""
        for state in self.states():
            if state.error is not None:
                raise state.error
            if state.revision is not None:
                yield state.revision

    def states(self) -> Iterator[DraftState]:
        """Every draft, by name, the damaged ones too."""
        for path in disk.matching(self._layout.drafts, "*", "*", "*", "*.jsonl"):
            if GitOid.is_valid(path.stem):
                with contextlib.suppress(BadNameError):  # not a folder of ours
                    state = self.state(repo_of_folder(path.parent), GitOid(path.stem))
                    if state is not None:
                        yield state

    @disk.reported
    def state(self, repo: RepoId, commit: GitOid) -> DraftState | None:
        """A draft, damaged or not; None where there is none."""
        path = self._layout.draft(repo, commit)
        try:
            revision, bad = self._parsed(path, _read(path), repo, commit)
        except FileNotFoundError:
            return None
        except DamagedRecordError as error:
            return DraftState(repo, commit, path, None, error)
        return DraftState(repo, commit, path, revision, None, bad)

    def paths(self) -> list[Path]:
        """The files of all drafts, sorted; also those whose name is not that of a draft."""
        if self._layout.drafts.exists():
            disk.listed(self._layout.drafts)  # a file in its place is an error, and not empty
        return disk.matching(self._layout.drafts, "*", "*", "*", "*.jsonl")

    def parse(self, path: Path, data: bytes) -> tuple[Revision, int]:
        """The draft that the file `path`, one of :meth:`paths`, is with these bytes, and how many
        of its lines have changed. Raises :class:`OutlastError` where it is none.
        """
        return self._parsed(path, data, repo_of_folder(path.parent), GitOid(path.stem))

    def is_doubtful(self, repo: RepoId, commit: GitOid) -> bool:
        """Whether a draft has lines that cannot be read, from a crash or from damage."""
        state = self.state(repo, commit)
        return state is not None and (state.error is not None or state.bad_lines > 0)

    def stamps(self) -> dict[tuple[RepoId, GitOid], tuple[int, int, int]]:
        """Every draft, with what changes whenever something is appended to it. Reads none."""
        found = {}
        with disk.reporting(self._layout.drafts):
            for folder, _ in disk.stamped(self._layout.drafts, 3):
                with contextlib.suppress(BadNameError, FileNotFoundError):  # not ours; sealed
                    repo = repo_of_folder(folder)
                    for commit in self.of(repo):
                        stat = os.stat(self._layout.draft(repo, commit))
                        found[repo, commit] = stat.st_ino, stat.st_size, stat.st_mtime_ns
        return found

    @disk.reported
    def of(self, repo: RepoId) -> list[GitOid]:
        """The commits of `repo` that are drafts."""
        paths = disk.matching(self._layout.repo_drafts(repo), "*.jsonl")
        return [GitOid(path.stem) for path in paths if GitOid.is_valid(path.stem)]

    @disk.reported
    def delete(self, repo: RepoId, commit: GitOid) -> bool:
        path = self._layout.draft(repo, commit)
        with disk.reporting(path):
            gone = disk.remove_durably(path)
            disk.remove_empty_parents(path, self._layout.drafts)
            disk.touch(self._layout.drafts)
        return gone


def _lists_more(listed: Revision, begun: Revision) -> bool:
    """Whether a list is a better one than that of a draft that was begun: it is whole, or has all
    files of that and more.
    """
    return (begun.unlisted and not listed.unlisted) or begun.paths < listed.paths


def _read(path: Path) -> bytes:
    with open(path, "rb") as file:
        return file.read(MAX_MANIFEST_BYTES + 1)


def _merged(listed: Revision, held: Iterable[FileEntry]) -> Revision:
    """`listed` with the files of it that are `held` already."""
    here = {entry.path: entry for entry in listed.files}
    wanted = {entry.path: entry for entry in listed.missing}
    for entry in held:
        if _is_of(entry, wanted.get(entry.path)):
            here.setdefault(entry.path, entry)
    missing = [entry for path, entry in wanted.items() if path not in here]
    return Revision.of(listed.repo, listed.commit, here.values(), missing, unlisted=listed.unlisted)


def _is_of(held: FileEntry, wanted: FileEntry | None) -> bool:
    """Whether an acknowledged file may be the one that a source lists."""
    if wanted is None or held.size != wanted.size:
        return False
    same = wanted.sha256 in {None, held.sha256}
    return same and wanted.git_sha1 in {None, held.git_sha1}
