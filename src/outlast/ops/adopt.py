"""Adopt: import a Hugging Face cache into the archive, by hard links if possible."""

import datetime as dt
import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from outlast.core.control import Control
from outlast.core.digest import Digest, GitOid, Names
from outlast.core.errors import (
    NotFoundError,
    OutlastError,
    RefusedByRulesError,
    SuspectContentError,
)
from outlast.core.events import Again, FileDone, FileProblem, Planned
from outlast.core.manifest import FileEntry, Revision
from outlast.core.names import RepoId, check_path
from outlast.core.policy import Action
from outlast.fetch.file_filter import acceptable
from outlast.intake.capsule_stream import Intake
from outlast.intake.content import Suspect
from outlast.intake.judging import require_files, require_revision
from outlast.intake.local_file import ingest
from outlast.intake.recording import record_acquired
from outlast.intake.suspects import Suspects, warn
from outlast.intake.vouched import take_word
from outlast.ops.add import store_file
from outlast.sources.hfcache import CachedFile, CachedRevision, scan
from outlast.store import disk
from outlast.store.archive import Archive
from outlast.store.records.refs import CACHE, Ref
from outlast.store.words.accepted import WordKind
from outlast.store.writer import WriteSession

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Adopted:
    """The result of an import: `linked` and `copied` count bytes, `problems` are refused files,
    `suspects` are not what their names say.
    """

    revisions: list[Revision] = field(default_factory=list)
    linked: int = 0
    copied: int = 0
    problems: list[FileProblem] = field(default_factory=list)
    suspects: list[Suspect] = field(default_factory=list)


def adopt(
    archive: Archive,
    cache: Path,
    *,
    only: Sequence[str],
    copy: bool,
    control: Control,
    strict: bool = False,
) -> Adopted:
    """Imports every revision of `cache` (or of the repositories `only`), and compares each file
    with the digest in its name. A damaged file is reported and left in the cache.

    Warns of files that are not what their names say; if `strict`, a revision with such files is
    refused as a whole.
    """
    if not cache.is_dir():
        raise NotFoundError(f"no cache folder at {cache}", hint="name it: outlast adopt FOLDER")
    with disk.reporting(cache):
        found = [r for r in scan(cache) if not only or str(r.repo) in only]
    if not found:
        raise NotFoundError(f"no model in {cache}", hint="it should hold folders 'models--…'")
    sizes = {file.real: file.real.stat().st_size for rev in found for file in rev.files}
    control.emit(Planned("adopt", str(cache), len(sizes), sum(sizes.values())))
    job = _Adoption(archive, control, copy=copy, strict=strict)
    for cached in found:
        job.take(replace(cached, repo=archive.refs.spelling(cached.repo)))
    return job.result


class _Adoption:
    def __init__(self, archive: Archive, control: Control, *, copy: bool, strict: bool) -> None:
        self._archive = archive
        self._strict = strict
        self._judge = Suspects(archive)
        self._control = control
        self._copy = copy
        self._seen: dict[Path, Names] = {}
        self.result = Adopted()

    def take(self, cached: CachedRevision) -> None:
        if not self._is_allowed(cached, self._ask_by_names):
            return
        entries = []
        with self._archive.writer() as writer:
            for file in cached.files:
                self._control.cancel.check()
                try:
                    entries.append(self._take_file(writer, cached, file))
                except _RefusedError as refusal:
                    self._refuse(f"{cached.repo}: {file.path}", str(refusal))
            entries = self._without_twins(cached, entries)
            found = partial(self._ask_by_files, entries)
            if entries and self._is_allowed(cached, found) and self._is_plausible(cached, entries):
                self._record(writer, cached, entries)
        if entries and self.result.revisions and self.result.revisions[-1].id == cached.commit:
            revision, refs = self.result.revisions[-1], sorted(cached.refs)
            ref = refs[0] if refs else ""
            record_acquired(self._archive, self._control, revision, "cache", ref=ref)

    def _without_twins(self, cached: CachedRevision, entries: list[FileEntry]) -> list[FileEntry]:
        """Entries whose paths fit together, and to the archived files."""
        old = self._archive.load(cached.repo, cached.commit)
        paths = {entry.path for entry in entries}
        held = [entry for entry in old.files if entry.path not in paths] if old else []

        def refused(_path: str, problem: str) -> None:
            self._refuse(str(cached.repo), problem)

        kept = acceptable((*held, *entries), refused)
        return [entry for entry in kept if entry.path in paths]

    def _is_plausible(self, cached: CachedRevision, entries: list[FileEntry]) -> bool:
        """Whether a revision may be recorded, as far as the contents of its files tell."""
        where, others = f"{cached.repo}: ", self._archive.load(cached.repo, cached.commit)
        known = [e.path for e in (*others.files, *others.missing)] if others is not None else ()
        revision = Revision.of(cached.repo, cached.commit, entries)
        suspects = self._judge.of(revision, known=known, strict=self._strict)
        if not self._strict:
            self.result.suspects += [replace(s, path=where + s.path) for s in suspects]
            warn(self._control, suspects, where)
            return True
        for suspect in suspects:
            self._refuse(where + suspect.path, suspect.reason, SuspectContentError.code)
        return not suspects

    def _refuse(self, what: str, why: str, code: str = "corrupt") -> None:
        problem = FileProblem(what, why, code)
        self.result.problems.append(problem)
        self._control.emit(problem)

    def _ask_by_names(self, cached: CachedRevision) -> None:
        files = [FileEntry(file.path, file.real.stat().st_size) for file in cached.files]
        require_files(self._archive, Action.PULL, cached.repo, files, source="cache")

    def _ask_by_files(self, entries: list[FileEntry], cached: CachedRevision) -> None:
        revision = Revision.of(cached.repo, cached.commit, entries)
        require_revision(self._archive, Action.PULL, revision, source="cache")

    def _is_allowed(self, cached: CachedRevision, ask: Callable[[CachedRevision], None]) -> bool:
        """Whether the rules, which `ask` asks, allow to archive what the cache has."""
        try:
            ask(cached)
        except RefusedByRulesError as error:
            self._refuse(str(cached.repo), str(error), error.code)
            return False
        return True

    def _record(
        self, writer: WriteSession, cached: CachedRevision, entries: list[FileEntry]
    ) -> None:
        repo, commit = cached.repo, cached.commit
        self._archive.cached.keep(repo, commit)
        held = self._archive.load(repo, commit)
        new = {entry.path for entry in entries} - {e.path for e in held.files} if held else None
        if held is None or (held.unlisted and new):
            others = [e for e in held.files if e.path not in (new or ())] if held else []
            kept = {entry.path: entry for entry in (*others, *entries)}
            revision = Revision.of(repo, commit, kept.values(), unlisted=True)
            self._archive.put_revision(writer, revision)
        else:
            revision = self._complete(writer, held, entries)
        self._take_word(writer, repo, commit, entries)
        now = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
        for name in cached.refs:
            if self._archive.refs.get(repo, name) is None:
                self._archive.refs.put(writer, repo, Ref(name, commit, CACHE, now))
        self._close_unsaid(writer, repo, commit)
        self.result.revisions.append(revision)

    def _close_unsaid(self, writer: WriteSession, repo: RepoId, commit: GitOid) -> None:
        """A model with a ref is known as one that a cache had (`Refs.is_unsaid`). One without any
        that is new here counts as private until its hub says what it is.
        """
        refs = self._archive.refs
        if not refs.list(repo) and self._archive.commits(repo) == [commit]:
            refs.put_about(writer, repo, replace(refs.about(repo), private=True))

    def _take_word(
        self, writer: WriteSession, repo: RepoId, commit: GitOid, entries: list[FileEntry]
    ) -> None:
        """For what stands of the commit now, unless files of it are still to come."""
        if not self._archive.drafts.exists(repo, commit):
            standing = self._archive.revision(repo, commit.hex)
            take_word(self._archive, writer, standing, WordKind.ADOPTED, tuple(entries))

    def _complete(self, writer: WriteSession, held: Revision, entries: list[FileEntry]) -> Revision:
        """Adds the files of the cache to a revision that lacks some."""
        missing = {entry.path: entry for entry in held.missing}
        found = [
            entry
            for entry in entries
            if entry.path in missing
            and missing[entry.path].etag == entry.etag
            and missing[entry.path].size == entry.size
        ]
        if found:
            self._archive.acknowledge(writer, held.repo, held.id, found)
            self._archive.put_revision(writer, self._archive.revision(held.repo, held.id.hex))
        return self._archive.revision(held.repo, held.id.hex)

    def _take_file(
        self, writer: WriteSession, cached: CachedRevision, file: CachedFile
    ) -> FileEntry:
        try:
            check_path(file.path)
        except OutlastError as error:
            raise _RefusedError(str(error)) from error
        if file.claim is None:
            raise _RefusedError("its name in the cache is not a digest, so it cannot be verified")
        names = self._seen.get(file.real)
        if names is None:
            names = self._store(writer, file)
            self._seen[file.real] = names
            self._control.emit(
                FileDone(f"{cached.repo}: {file.path}", names.size, names.sha256.hex)
            )
        elif not writer.lease(names.sha256, names.size):
            names = self._store(writer, file)
        lfs = isinstance(file.claim, Digest)
        git = None if lfs else names.git_sha1
        return FileEntry(file.path, names.size, names.sha256, git, names.merkle_root)

    def _store(self, writer: WriteSession, file: CachedFile) -> Names:
        """Verifies a cached blob against its name, then links or copies it."""
        with disk.reporting(file.real):
            fd = os.open(file.real, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            names = ingest(fd, None, file.path, self._control)
            found: tuple[Digest | GitOid | None, ...] = (names.sha256, names.git_sha1)
            if file.claim not in found:
                raise _RefusedError(f"corrupt: its bytes do not match its name {file.claim}")
            self._place(writer, file, names, fd)
        finally:
            os.close(fd)
        return names

    def _place(self, writer: WriteSession, file: CachedFile, names: Names, fd: int) -> None:
        if writer.lease(names.sha256, names.size):
            _log.debug("%s: its blob %s is in the archive", file.path, names.sha256.short)
            return
        temp = writer.temp()
        if not self._copy and _hard_link(fd, file.real, temp):
            disk.fsync(fd)
            writer.publish_blob(temp, names.sha256, names.size, names.sums)
            self._archive.note_names(names)
            self.result.linked += names.size
            return
        why = "--copy" if self._copy else "a hard link is impossible"
        _log.info("copying %s: %s", file.path, why)
        self._control.emit(Again(file.path, names.size))
        copied, _ = store_file(Intake(self._archive, writer), file.real, file.path, self._control)
        if copied != names:
            raise _RefusedError("it changed while it was copied")
        self.result.copied += names.size


class _RefusedError(Exception):
    """Why a cached file was not imported."""


def _hard_link(fd: int, real: Path, temp: Path) -> bool:
    """Makes `temp` a hard link of the open file, and the file read-only. False if that is
    impossible, as between file systems.
    """
    try:
        os.link(real, temp, follow_symlinks=False)
    except OSError:
        return False
    if not os.path.samestat(os.fstat(fd), os.stat(temp)):
        disk.remove(temp)  # replaced since it was opened
        return False
    try:
        os.chmod(temp, disk.READ_ONLY)
    except OSError:  # not ours, so its owner could change it, or the file system has no modes
        disk.remove(temp)
        return False
    return True
