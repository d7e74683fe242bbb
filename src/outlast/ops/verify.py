"""Verify: re-hash archived blobs and report damage."""

import contextlib
import errno
import hashlib
import os
import threading
from collections.abc import Container, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Final

from outlast.codec import format as fmt
from outlast.codec.memory import Readable, read, scratch
from outlast.codec.payload import Form
from outlast.codec.reader import CapsuleReader
from outlast.core.control import Control
from outlast.core.descriptors import is_exhausted
from outlast.core.digest import Digest, GitOid, Names
from outlast.core.errors import (
    CorruptError,
    DamagedRecordError,
    ExhaustedError,
    IntegrityError,
    NotArchivedError,
    StorageError,
    TransientError,
)
from outlast.core.events import FileDone, FileProblem, Planned, Progress, Removed
from outlast.core.manifest import Revision
from outlast.core.names import RepoId, Target
from outlast.intake.content import Suspect
from outlast.intake.local_file import ingest
from outlast.intake.suspects import Suspects, warn
from outlast.ops.tuning import TUNING, Tuning
from outlast.store import disk, reading
from outlast.store.archive import Archive, BlobInfo
from outlast.store.collect import is_intact
from outlast.store.copies import Copy, all_copies, drop_damaged
from outlast.store.forms import Forms, StoredFile, read_form, stamp_of
from outlast.store.index import load_manifest
from outlast.store.records.survey import survey
from outlast.store.soundness.damage import Damage, Why
from outlast.store.soundness.tuning import TUNING as SOUNDNESS

_BY: Final = "verify"
_MOST_BLOCKS: Final = SOUNDNESS.most_parts
_NAMED: Final = 5
"""Damaged parts that a message names."""


@dataclass(frozen=True, slots=True)
class Verified:
    """The result: how many blobs of how many bytes were read, and which problems were found.
    `suspects` are intact, and not what their names say.
    """

    blobs: int
    size: int
    problems: tuple[FileProblem, ...]
    suspects: tuple[Suspect, ...] = ()


def verify(
    archive: Archive,
    targets: Iterable[Target],
    *,
    quarantine: bool,
    control: Control,
    tuning: Tuning = TUNING,
) -> Verified:
    """Hashes the blobs of `targets`, or all blobs, in each of their representations, and their
    working copies. Without `targets`, also checks manifests and all small files: drafts, refs, what
    is known of models …

    With `quarantine`, a damaged blob or manifest is moved away, so that the next pull fetches it
    again, and a damaged working copy is deleted; otherwise nothing is changed but the notes of
    damage: what is found is noted, and what is right is not damaged any more. Each is read a
    second time before, and what the index says moves nothing. A capsule that can still be decoded
    stays, and so does an intact capsule whose base is damaged. What could not be read because the
    system is short of files or memory is reported as ``exhausted``: it is not damage.
    """
    if quarantine:
        archive.layout.require_marker()
    job = _Verification(archive, control, quarantine=quarantine)
    chosen = [archive.revision(target.repo, target.ref) for target in targets]
    blobs = _blobs_of(archive, chosen) if chosen else job.whole_archive()
    job.absent(chosen or job.revisions)
    job.know(chosen or job.revisions)
    named = {blob.digest for blob in blobs}
    copies = [c for c in all_copies(archive.layout) if c.digest in named or not chosen]
    total = sum(blob.size for blob in blobs)
    extra = sum(copy.size for copy in copies)
    control.emit(Planned("verify", "archive", len(blobs) + len(copies), total + extra))
    with ThreadPoolExecutor(tuning.verify_threads) as pool:
        for _ in chain(pool.map(job.blob, blobs), pool.map(job.copy, copies)):
            control.cancel.check()
    suspects = job.suspects(chosen or job.revisions)
    return Verified(len(blobs), total, tuple(job.problems), tuple(suspects))


def _blobs_of(archive: Archive, revisions: Iterable[Revision]) -> list[BlobInfo]:
    found = {}
    for revision in revisions:
        for entry in revision.files:
            if entry.sha256 is not None and archive.lies_here(entry):
                found[entry.sha256] = BlobInfo(entry.sha256, entry.size)
    return sorted(found.values(), key=lambda blob: blob.digest)


class _Verification:
    def __init__(self, archive: Archive, control: Control, *, quarantine: bool) -> None:
        self._archive = archive
        self._control = control
        self._quarantines = quarantine
        self._lock = threading.Lock()
        self.problems: list[FileProblem] = []
        self.revisions: list[Revision] = []
        self._roots: dict[Digest, set[Digest]] = {}

    def know(self, revisions: Iterable[Revision]) -> None:
        """Notes which merkle roots these give to their files."""
        for revision in revisions:
            for entry in revision.files:
                if entry.sha256 is not None and entry.merkle_root is not None:
                    self._roots.setdefault(entry.sha256, set()).add(entry.merkle_root)

    def _report(self, path: str, problem: str, code: str = CorruptError.code) -> None:
        event = FileProblem(path, problem, code)
        with self._lock:
            self.problems.append(event)
        self._control.emit(event)

    def whole_archive(self) -> list[BlobInfo]:
        """Checks the index, manifests, small files and trailers; returns all blobs."""
        layout = self._archive.layout
        self._index()
        # Another process archives meanwhile: what a ref names is a draft, and then a manifest.
        refs = [(repo, ref) for repo in self._archive.refs.repos() for ref in self._named(repo)]
        states = list(self._archive.drafts.states())
        for name in disk.listed(layout.manifests):
            if name.endswith(".json"):
                self._manifest(layout.manifests / name)
        for damage in survey(self._archive).damaged:
            self._report(damage.name, damage.text, DamagedRecordError.code)
        self.revisions += [state.revision for state in states if state.revision is not None]
        known = {(revision.repo, revision.id) for revision in self.revisions}
        known |= {(state.repo, state.commit) for state in states if state.error is not None}
        self._refs(refs, known)
        return self._blobs()

    def _index(self) -> None:
        """The index is a cache, but what it says is shown to people."""
        try:
            text = "it is not what the manifests say" if self._archive.index.differs() else ""
        except IntegrityError as error:
            text = str(error)
        if text:
            self._report("index.sqlite", f"{text}; 'outlast doctor --rebuild' makes it anew")

    def _manifest(self, path: Path) -> None:
        name = f"manifests/{path.name}"
        try:
            stamp = stamp_of(os.stat(path))
            try:
                revision = load_manifest(self._archive.layout, Digest(path.stem))
            except IntegrityError as error:
                self._report(name, str(error))
                revision = load_manifest(self._archive.layout, Digest(path.stem))
            self.revisions.append(revision)
        except FileNotFoundError:
            return  # replaced meanwhile
        except IntegrityError:
            self._quarantine(path.name, path, stamp)
        except OSError as error:
            self._unread(name, error)

    def _blobs(self) -> list[BlobInfo]:
        """All blobs: the capsules' headers are read, and not what was noted of them."""
        found = {}
        for digest, form in Forms(self._archive.layout).capsules().items():
            if form is not None:
                found[digest] = form.size
                continue
            path = self._archive.layout.capsule(digest)
            self._report(str(path), "damaged: neither of its trailers can be read")
            self._quarantine_capsule(digest, path)
        found |= {blob.digest: blob.size for blob in self._archive.plain_blobs()}
        return [BlobInfo(digest, found[digest]) for digest in sorted(found)]

    def _quarantine_capsule(self, digest: Digest, path: Path) -> None:
        """Moves a capsule away if its header still cannot be read."""
        with contextlib.suppress(FileNotFoundError):
            stamp = stamp_of(os.stat(path))
            if read_form(path, digest) is None:
                self._quarantine(path.name, path, stamp)

    def _unread(self, path: str, error: OSError) -> None:
        """Reports what the disk did not give: damage, unless it says nothing about the file."""
        if is_exhausted(error):
            code = ExhaustedError.code
        elif error.errno in (errno.EACCES, errno.EPERM):
            code = StorageError.code
        else:
            code = CorruptError.code
        self._report(path, error.strerror or str(error), code)

    def _named(self, repo: RepoId) -> list[tuple[str, GitOid]]:
        return [(ref.name, ref.commit) for ref in self._archive.refs.list(repo)]

    def _refs(
        self,
        refs: Iterable[tuple[RepoId, tuple[str, GitOid]]],
        known: Container[tuple[RepoId, GitOid]],
    ) -> None:
        """Reports which of these lead nowhere, unless they were changed or removed meanwhile."""
        for repo, (name, commit) in refs:
            if (repo, commit) not in known and (name, commit) in self._named(repo):
                self._report(f"{repo}@{name}", f"{commit} is not in the archive", "absent")

    def absent(self, revisions: Iterable[Revision]) -> None:
        """Reports archived files whose bytes are missing."""
        for revision in revisions:
            for entry in revision.files:
                if not self._archive.lies_here(entry):
                    name = f"{revision.repo}@{revision.id.hex[:12]}: {entry.path}"
                    delta = entry.sha256 is not None and self._archive.forms.of(entry.sha256)
                    what = "its base is missing" if delta else "its bytes are missing"
                    self._report(name, what, "absent")

    def suspects(self, revisions: Iterable[Revision]) -> list[Suspect]:
        """Reports files that are not what their names say."""
        judge, found = Suspects(self._archive), []
        for revision in revisions:
            self._control.cancel.check()
            where = f"{revision.repo}@{revision.id.hex[:12]}: "
            suspects = judge.of(revision)
            warn(self._control, suspects, where)
            found += [replace(suspect, path=where + suspect.path) for suspect in suspects]
        return found

    def blob(self, blob: BlobInfo) -> None:
        """Checks every representation of a blob."""
        layout = self._archive.layout
        if layout.blob(blob.digest).exists():
            self._plain(blob)
        if layout.capsule(blob.digest).exists():
            self._capsule(blob.digest)

    def _plain(self, blob: BlobInfo) -> None:
        path = self._archive.layout.blob(blob.digest)
        hashed = self._hashed(path, f"blob {blob.digest.short}", blob.digest)
        if hashed is None:
            return
        names, stat = hashed
        damage = self._archive.soundness.judge(blob.digest, stat, names, _BY)
        if damage is not None:
            self._report(str(path), f"damaged: its sha256 is {names.sha256.short}…")
            self._archive.index.forget_checked(blob.digest)
            if self._quarantines and not is_intact(path, blob.digest):
                self._quarantine(blob.digest.hex, path, stamp_of(stat))
            return
        for root in self._roots.get(blob.digest, set()) - {names.merkle_root}:
            self._report(str(path), f"the blob is intact, but a manifest says its root is {root}")
        self._control.emit(FileDone(str(path), blob.size, blob.digest.hex))

    def copy(self, copy: Copy) -> None:
        """Checks a working copy. A damaged one is deleted and not moved: it is made again."""
        hashed = self._hashed(copy.path, f"copy {copy.digest.short}")
        if hashed is None:
            return
        names, stat = hashed
        if names.sha256 == copy.digest:
            if not self._archive.layout.blob(copy.digest).exists():  # what is noted is of that
                self._archive.index.note_checked(copy.digest, stat)
            self._control.emit(FileDone(str(copy.path), copy.size, copy.digest.hex))
            return
        self._report(
            str(copy.path), f"the working copy is damaged: its sha256 is {names.sha256.short}…"
        )
        self._archive.index.forget_checked(copy.digest)
        if not self._quarantines or is_intact(copy.path, copy.digest):
            return
        if drop_damaged(self._archive.layout, copy.digest, stamp_of(stat)):
            self._control.emit(Removed("copy", copy.digest.hex, copy.size))

    def _hashed(
        self, path: Path, name: str, blob: Digest | None = None
    ) -> tuple[Names, os.stat_result] | None:
        """The names of what is in a file, and its state; None where the file is gone or cannot be
        read, which is reported, and noted of the plain file of a `blob`.
        """
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None  # garbage-collected meanwhile
        except OSError as error:
            self._unread(str(path), error)
            return None
        try:
            stat = os.fstat(fd)  # before the bytes, so that a write meanwhile shows
            names = ingest(fd, None, name, self._control)
            _forget_pages(fd)
        except TransientError as error:  # nothing of ours writes to it
            self._report(str(path), str(error))
            return None
        except OSError as error:  # the disk cannot read it back
            self._unread(str(path), error)
            if blob is not None and error.errno == errno.EIO:
                damage = Damage(blob, Form.PLAIN, Why.UNREADABLE, _BY)
                self._archive.soundness.note(damage, stat)
            return None
        finally:
            os.close(fd)
        return names, stat

    def _capsule(self, digest: Digest) -> None:
        path = self._archive.layout.capsule(digest)
        try:
            stat = os.stat(path)
            found = _check_capsule(self._archive, digest, self._control)
        except FileNotFoundError:
            return
        except NotArchivedError as error:
            if path.exists():  # else it was garbage-collected meanwhile
                self._report(str(path), str(error), NotArchivedError.code)
            return
        except ExhaustedError as error:
            self._report(str(path), str(error), error.code)
            return
        except StorageError as error:  # the disk cannot read it back
            self._report(str(path), str(error))
            return
        if found.reads:
            self._archive.soundness.note_capsule(digest, stat)
        if not found.problem:
            self._control.emit(FileDone(str(path), found.size, digest.hex))
            return
        self._report(str(path), found.problem)
        if found.reads or found.base_damaged:
            return
        if not self._archive.layout.blob(digest).exists():  # else that one counts
            damage = Damage(digest, Form.CAPSULE, Why.ROT, _BY, found.blocks)
            self._archive.soundness.note(damage, stat)
        self._quarantine(path.name, path, stamp_of(stat))

    def _quarantine(self, name: str, path: Path, stamp: str) -> None:
        if self._quarantines and self._archive.quarantine(path, stamp):
            self._control.emit(Removed("damaged", name, 0))


def _forget_pages(fd: int) -> None:
    """Lets the next read come from the disk: the error may be in what memory holds of the file."""
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)


@dataclass(frozen=True, slots=True)
class _CapsuleState:
    """What reading a capsule to its last byte found: `problem` is empty where nothing is damaged.
    `reads`: every byte of the blob can still be decoded. `base_damaged`: the capsule is intact, its
    base is not.
    """

    size: int
    problem: str = ""
    reads: bool = True
    base_damaged: bool = False
    blocks: tuple[int, ...] = ()
    """Those that are damaged."""


def _check_capsule(archive: Archive, digest: Digest, control: Control) -> _CapsuleState:
    """Decodes the whole capsule of a blob, compares the sha256, and checks the parts that a capsule
    holds twice. Raises :class:`NotArchivedError` where the capsule or a base of it is missing, and
    :class:`StorageError` where the disk fails.
    """
    path = archive.layout.capsule(digest)
    try:
        with reading.open_capsule(archive.soundness, digest, path) as blob:
            assert blob.capsule is not None
            return _inspect(blob.capsule, blob.file, digest, control)
    except IntegrityError as error:
        own = _own_damage(path, digest)
        if own:
            return _CapsuleState(0, f"damaged: {own}", reads=False)
        text = f"cannot be restored: {error}; the capsule itself is intact, its base is not"
        return _CapsuleState(0, text, reads=False, base_damaged=True)


def _own_damage(path: Path, digest: Digest) -> str:
    """What is wrong with a capsule itself, whatever its bases are; empty where nothing is."""
    file = StoredFile(path)
    try:
        capsule = CapsuleReader(file)
        if capsule.sha256 != digest:
            return f"it is the capsule of another blob, {capsule.sha256.short}…"
        damaged = [part for part in capsule.damage() if part.startswith("block")]
        if damaged or capsule.directory.bases:
            return _listed(damaged)
    except IntegrityError as error:
        return str(error)
    finally:
        file.close()
    return "it cannot be decoded"


def _inspect(
    capsule: CapsuleReader, file: Readable, digest: Digest, control: Control
) -> _CapsuleState:
    found, failed = _decode(capsule, f"blob {digest.short}", control)
    if not failed and found != digest:
        failed = f"it decodes to sha256 {found.short}…"
    if failed:
        blocks = tuple(block.number for block in capsule.damaged_blocks())
        damaged = [part for part in capsule.damage() if part.startswith("block")]
        if not damaged and not capsule.directory.bases:
            return _CapsuleState(capsule.size, f"damaged: {failed}", reads=False)
        if not damaged:
            text = f"cannot be restored: {failed}; the capsule itself is intact, its base is not"
            return _CapsuleState(capsule.size, text, reads=False, base_damaged=True)
        text = f"damaged: {_listed(damaged)}"
        return _CapsuleState(capsule.size, text, reads=False, blocks=blocks[:_MOST_BLOCKS])
    doubled = list(_damaged_frame(capsule, file))
    if doubled:
        text = f"damaged, but it still reads: {_listed(doubled)} ('outlast unpack' saves it)"
        return _CapsuleState(capsule.size, text)
    return _CapsuleState(capsule.size)


def _decode(capsule: CapsuleReader, name: str, control: Control) -> tuple[Digest, str]:
    """The sha256 of what the blocks restore, and the error of the first block that fails."""
    hasher, failed = hashlib.sha256(), ""
    for block in capsule.directory.blocks():
        control.cancel.check()
        with scratch(block.length) as buffer:
            try:
                capsule.decode(block, buffer)
            except IntegrityError as error:
                failed = failed or str(error)
            hasher.update(buffer)
        control.emit(Progress(name, block.length))
    return Digest(hasher.hexdigest()), failed


def _damaged_frame(capsule: CapsuleReader, file: Readable) -> Iterator[str]:
    """The damaged parts around the blocks: head, directory, trailer."""
    if read(file, 0, len(fmt.HEAD)) != fmt.HEAD:
        yield "the head"
    directory = capsule.directory
    end = directory.pack_end()
    if read(file, directory.payload_end, len(end)) != end:
        yield "one copy of the directory or of the trailer"


def _listed(parts: list[str]) -> str:
    more = f" and {len(parts) - _NAMED} more" if len(parts) > _NAMED else ""
    return ", ".join(parts[:_NAMED]) + more
