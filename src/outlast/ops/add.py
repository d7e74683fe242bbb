"""Add: archive a local folder or file."""

import contextlib
import logging
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from outlast.core.control import Control
from outlast.core.digest import Digest, GitOid, Names
from outlast.core.errors import (
    BadNameError,
    DiskFullError,
    NotFoundError,
    TransientError,
    UsageError,
)
from outlast.core.events import Again, FileDone, Note, Planned
from outlast.core.manifest import FileEntry, Revision
from outlast.core.names import Target, check_paths
from outlast.core.policy import Action
from outlast.fetch.file_filter import Selection
from outlast.fetch.lookalikes import lookalike_warning
from outlast.intake.base_finder import BaseFinder
from outlast.intake.base_names import BaseNames, is_card
from outlast.intake.capsule_stream import CapsuleSink, Intake, OpenFile, chosen, held_bytes
from outlast.intake.content import Suspect
from outlast.intake.form_policy import PLAIN, FormWishes
from outlast.intake.judging import require_files, require_revision
from outlast.intake.local_file import PlainSink, ingest
from outlast.intake.recording import record_acquired
from outlast.intake.suspects import Suspects, of_files, refuse, warn
from outlast.intake.vouched import take_word
from outlast.store import disk
from outlast.store.archive import Archive
from outlast.store.garbage.trash import room_hint
from outlast.store.records.refs import Ref
from outlast.store.words.accepted import WordKind

_log = logging.getLogger(__name__)

_SKIPPED = frozenset({".git", ".DS_Store", ".cache", "__pycache__"})
"""Folders and files of tools, which are not part of a model."""


@dataclass(frozen=True, slots=True)
class Added:
    """The result of an add: `stored` bytes of the files were new to the archive; all of them take
    `held` bytes of the disk. `suspects` are not what their names say.
    """

    revision: Revision
    manifest: Digest
    stored: int
    held: int
    suspects: tuple[Suspect, ...] = ()


@dataclass(frozen=True, slots=True)
class _Found:
    path: str
    real: Path
    size: int


def add(
    archive: Archive,
    folder: Path,
    target: Target,
    *,
    selection: Selection,
    follow_links: bool,
    control: Control,
    wishes: FormWishes = PLAIN,
    strict: bool = False,
) -> Added:
    """Archives `folder` (or a single file) as `target`; its ref is `main` unless it names one.

    Symbolic links are refused unless `follow_links`: their targets are not part of the folder.
    Warns of files that are not what their names say; if `strict`, raises
    :class:`SuspectContentError` instead, before anything is stored.
    """
    ref = target.ref or "main"
    if GitOid.is_valid(ref):
        raise UsageError(f"{ref} is a commit id; an added folder gets its own", hint="name a tag")
    archive.refs.refuse_twin(target.repo)  # before anything is stored
    if not archive.commits(target.repo) and (said := lookalike_warning(archive, target.repo)):
        control.emit(Note(f"warning: {said}"))
    left_out: list[str] = []
    found = list(_walk(folder, selection, follow_links, control, left_out))
    if not found:
        raise NotFoundError(f"nothing to add in {folder}", hint="check the path and --include")
    check_paths(file.path for file in found)
    total = sum(file.size for file in found)
    names = [FileEntry(file.path, file.size) for file in found]
    require_files(archive, Action.PULL, target.repo, names, source=f"folder:{folder}")
    control.emit(Planned("add", str(target), len(found), total))
    if strict:
        refuse(of_files([(file.path, file.real, file.size) for file in found], left_out))
    with archive.writer() as writer:
        base_finder = BaseFinder(archive, writer, wishes, target.repo)
        _learn(base_finder.names, found)
        intake = Intake(archive, writer, wishes, base_finder)
        entries, stored = [], 0
        for file in found:
            control.cancel.check()
            entry, new = _store(intake, file, control)
            entries.append(entry)
            stored += entry.size if new else 0
        revision = Revision.of(target.repo, None, entries)
        suspects = Suspects(archive).of(revision, known=left_out, strict=strict)
        if strict:  # a file may have changed since
            refuse(suspects)
        require_revision(archive, Action.PULL, revision, source=f"folder:{folder}")
        digest = archive.put_revision(writer, revision)
        if digest == revision.digest:  # else the archive knows more of it, from elsewhere
            take_word(archive, writer, revision, WordKind.ADDED, revision.files)
        archive.refs.put(writer, target.repo, Ref(ref, revision.id))
    warn(control, suspects)
    record_acquired(archive, control, revision, f"folder:{folder}", ref=ref)
    return Added(revision, digest, stored, held_bytes(archive, entries), tuple(suspects))


def _walk(
    folder: Path,
    selection: Selection,
    follow_links: bool,
    control: Control,
    left_out: list[str],
) -> Iterator[_Found]:
    """The files to add; `left_out` gets the paths that the selection leaves out."""
    with disk.reporting(folder):
        if folder.is_file():
            if selection.wants(folder.name):
                yield _check(folder.name, folder, follow_links)
            return
        if not folder.is_dir():
            raise NotFoundError(f"no file or folder at {folder}", hint="check the path")
        for root, folders, files in os.walk(folder):
            for name in sorted({*folders, *files} & _SKIPPED):
                control.emit(Note(f"left out: {os.path.relpath(os.path.join(root, name), folder)}"))
            folders[:] = sorted(name for name in folders if name not in _SKIPPED)
            links = [name for name in folders if os.path.islink(os.path.join(root, name))]
            for name in sorted([*links, *(name for name in files if name not in _SKIPPED)]):
                real = Path(root, name)
                path = real.relative_to(folder).as_posix()
                if selection.wants(path):
                    yield _check(path, real, follow_links)
                else:
                    left_out.append(path)


def _check(path: str, real: Path, follow_links: bool) -> _Found:
    if real.is_symlink() and (real.is_dir() or not follow_links):
        raise BadNameError(
            f"{path!r} is a symbolic link",
            hint="--follow-links archives the files that links point to, but not linked folders",
        )
    info = os.stat(real)
    if not stat.S_ISREG(info.st_mode):
        raise BadNameError(f"{path!r} is not a regular file", hint="leave it out with --exclude")
    return _Found(path, real, info.st_size)


def _learn(names: BaseNames, found: Sequence[_Found]) -> None:
    """What the cards in `found` name as bases."""
    for file in found:
        if is_card(file.path, file.size):
            with disk.reporting(file.real):
                names.learn(file.path, file.real.read_bytes())


def _store(intake: Intake, file: _Found, control: Control) -> tuple[FileEntry, bool]:
    names, new = store_file(intake, file.real, file.path, control)
    control.emit(FileDone(file.path, names.size, names.sha256.hex, already=not new))
    entry = FileEntry(file.path, names.size, names.sha256, names.git_sha1, names.merkle_root)
    return entry, new


def store_file(
    intake: Intake, real: Path, path: str, control: Control, *, ours: bool = False
) -> tuple[Names, bool]:
    """Archives a file; returns its names, and whether its bytes are new to the archive.

    `ours`: the file lies in the archive's folder and does not change any more. It is then linked
    instead of copied, and stays plain if the disk has no space for a capsule.
    """
    home = intake.archive.layout.home
    free, size = disk.free_bytes(home), os.stat(real).st_size
    if size > free and not ours:
        raise DiskFullError(
            f"{path} needs {size} bytes; {free} are free in {home}",
            hint=room_hint(intake.archive.layout),
        )
    with disk.reporting(real):
        source = os.open(real, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        if intake.wishes.tries(size) and size <= free:
            done = _store_capsule(intake, OpenFile(source, size), path, control)
            if done is not None:
                return done
        if ours:
            return _name_plain(intake, source, real, path, control)
        return _store_plain(intake, source, path, control)
    finally:
        os.close(source)


def _store_capsule(
    intake: Intake, source: OpenFile, path: str, control: Control
) -> tuple[Names, bool] | None:
    """None if the capsule saves too little."""
    with chosen(intake, source, source.size) as choice:
        if not choice.encode:
            _log.debug("%s stays plain: a sample of it did not compress well enough", path)
            return None
        sink = CapsuleSink(intake.writer, source.size, choice.bases, intake.wishes)
        with contextlib.closing(sink):
            names = ingest(source.fd, sink, path, control)
            if intake.writer.lease(names.sha256, names.size):
                return names, False
            if not sink.publish(names):
                _log.debug("%s stays plain: its capsule is not small enough", path)
                control.emit(Again(path, names.size))  # it is read once more
                return None
            intake.archive.note_names(names)
            return names, True


def _name_plain(
    intake: Intake, source: int, real: Path, path: str, control: Control
) -> tuple[Names, bool]:
    """Makes the open file `real` itself the blob."""
    writer = intake.writer
    names = ingest(source, None, path, control)
    if writer.lease(names.sha256, names.size):
        return names, False
    temp = writer.temp()
    with disk.reporting(intake.archive.layout.home):
        try:
            os.link(real, temp, follow_symlinks=False)
        except OSError as error:
            if error.errno not in disk.NO_LINKS:
                raise
            return _store_plain(intake, source, path, control)
        if not os.path.samestat(os.fstat(source), os.stat(temp)):
            raise TransientError(f"{path} was replaced while it was read")
        disk.set_mode(source, disk.READ_ONLY)
        disk.fsync(source)
    writer.publish_blob(temp, names.sha256, names.size, names.sums)
    intake.archive.note_names(names)
    return names, True


def _store_plain(intake: Intake, source: int, path: str, control: Control) -> tuple[Names, bool]:
    writer = intake.writer
    temp = writer.temp()
    with disk.reporting(intake.archive.layout.home):
        target = os.open(temp, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, disk.PRIVATE)
        try:
            with contextlib.closing(PlainSink(target)) as sink:
                names = ingest(source, sink, path, control)
            if writer.lease(names.sha256, names.size):
                disk.remove(temp)
                return names, False
            disk.set_mode(target, disk.READ_ONLY)
            disk.fsync(target)
        finally:
            os.close(target)
    writer.publish_blob(temp, names.sha256, names.size, names.sums)
    intake.archive.note_names(names)
    return names, True
