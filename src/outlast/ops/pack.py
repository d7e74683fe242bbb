"""Pack and unpack: change the representation of archived blobs.

A plain file is deleted only after its capsule is durable and was read back and hashed as a whole.
Blobs are changed one by one, so an interruption loses nothing but the work on one blob.
"""

import contextlib
import hashlib
import logging
import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum

from outlast.codec.format import BaseRef
from outlast.codec.memory import Readable
from outlast.codec.payload import Form
from outlast.codec.writer import Base, CapsuleWriter
from outlast.core.control import Control
from outlast.core.digest import Digest
from outlast.core.errors import (
    CorruptError,
    IntegrityError,
    NotArchivedError,
    TooDeepError,
)
from outlast.core.events import FileProblem, Planned, Progress, Reformed
from outlast.core.manifest import FileEntry, Revision
from outlast.core.names import Target
from outlast.intake.base_finder import find_bases
from outlast.intake.base_names import BaseNames
from outlast.intake.form_policy import FormWish, FormWishes, choose
from outlast.ops.tuning import TUNING, Tuning
from outlast.store import disk, reading
from outlast.store.archive import Archive
from outlast.store.encoding import Encoding
from outlast.store.forms import StoredForm
from outlast.store.reading import BlobReader
from outlast.store.soundness.sums import Summing
from outlast.store.writer import WriteSession

_log = logging.getLogger(__name__)


class Outcome(StrEnum):
    """What happened to a blob."""

    PACKED = "packed"
    UNPACKED = "unpacked"
    ALREADY = "already"
    """It has the wanted representation already."""
    UNPAYING = "unpaying"
    """A capsule would save too little."""
    LINKED = "linked"
    """Its plain file has a hard link outside of the archive, so packing would free nothing."""
    DAMAGED = "damaged"
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class Changed:
    """What happened to one blob, with the bytes on the disk before and after."""

    digest: Digest
    outcome: Outcome
    before: int
    after: int
    form: Form = Form.PLAIN


@dataclass(frozen=True, slots=True)
class Changes:
    """What happened to all blobs, and which ones are damaged."""

    blobs: tuple[Changed, ...]
    problems: tuple[FileProblem, ...]

    def of(self, outcome: Outcome) -> list[Changed]:
        return [blob for blob in self.blobs if blob.outcome is outcome]


def pack(
    archive: Archive,
    targets: Iterable[Target],
    wishes: FormWishes,
    *,
    dry_run: bool,
    control: Control,
    tuning: Tuning = TUNING,
) -> Changes:
    """Gives the blobs of `targets`, or of all revisions, the smallest representation that
    :class:`FormWishes` allows. Without bases, delta capsules become full capsules or plain.

    With `dry_run`, everything is encoded and nothing is written.
    """
    files = sorted(_files(archive, targets), key=lambda file: (not file.derived, file.entry.size))
    files = [file for file in files if wishes.tries(file.entry.size)]
    with ThreadPoolExecutor(tuning.pack_threads, thread_name_prefix="pack") as executor:
        job = _Packing(archive, control, executor, wishes, tuning, dry_run=dry_run)
        return job.run("pack", files)


def unpack(
    archive: Archive,
    targets: Iterable[Target],
    *,
    dry_run: bool,
    control: Control,
    tuning: Tuning = TUNING,
) -> Changes:
    """Makes the blobs of `targets`, or of all revisions, plain. Each blob is hashed before its
    capsule is deleted.
    """
    held = archive.forms.held()
    files = [file for file in _files(archive, targets) if file.digest in held]
    with ThreadPoolExecutor(tuning.pack_threads, thread_name_prefix="unpack") as executor:
        job = _Unpacking(archive, control, executor, dry_run=dry_run)
        return job.run("unpack", sorted(files, key=lambda file: file.entry.size))


@dataclass(frozen=True, slots=True)
class _File:
    """A blob, and a revision that has it. `derived`: the model's card names a base. Derived blobs
    are packed before their bases.
    """

    revision: Revision
    entry: FileEntry
    digest: Digest
    derived: bool


def _files(archive: Archive, targets: Iterable[Target]) -> Iterator[_File]:
    """Each blob once."""
    chosen = [archive.revision(target.repo, target.ref) for target in targets]
    seen: set[Digest] = set()
    for revision in chosen or _all(archive):
        derived = None
        for entry in revision.files:
            if entry.sha256 is not None and entry.sha256 not in seen and archive.lies_here(entry):
                seen.add(entry.sha256)
                if derived is None:
                    names = BaseNames(archive, revision.repo)
                    names.learn_revision(revision)
                    derived = bool(names.all())
                yield _File(revision, entry, entry.sha256, derived)


def _all(archive: Archive) -> Iterator[Revision]:
    for summary in archive.summaries():
        with contextlib.suppress(IntegrityError):  # `verify` reports it
            revision = archive.load(summary.repo, summary.revision)
            if revision is not None:
                yield revision


class _Job(ABC):
    def __init__(
        self, archive: Archive, control: Control, executor: Executor, *, dry_run: bool
    ) -> None:
        self._archive = archive
        self._control = control
        self._executor = executor
        self._dry_run = dry_run
        self._told = 0

    def run(self, job: str, files: list[_File]) -> Changes:
        total = sum(file.entry.size for file in files)
        self._control.emit(Planned(job, "archive", len(files), total))
        changed: list[Changed] = []
        problems: list[FileProblem] = []
        for file in files:
            self._control.cancel.check()
            self._told = 0
            try:
                done = self._change(file)
            except IntegrityError as error:
                problem = FileProblem(file.entry.path, str(error), error.code)
                problems.append(problem)
                self._control.emit(problem)
                size = file.entry.size
                done = Changed(file.digest, Outcome.DAMAGED, size, size)
            _log.debug(
                "%s: %s, held as %s in %d bytes (%d before)",
                file.entry.path,
                done.outcome.value,
                done.form.value,
                done.after,
                done.before,
            )
            changed.append(done)
            self._tell(file, done)
        return Changes(tuple(changed), tuple(problems))

    @abstractmethod
    def _change(self, file: _File) -> Changed: ...

    def _tell(self, file: _File, done: Changed) -> None:
        if done.outcome in {Outcome.PACKED, Outcome.UNPACKED}:
            name = f"{file.revision.repo}: {file.entry.path}"
            self._control.emit(
                Reformed(name, done.digest.hex, done.form.value, file.entry.size, done.after)
            )
        else:
            self._progress(file, file.entry.size - self._told)

    def _progress(self, file: _File, count: int) -> None:
        self._control.cancel.check()
        self._told += count
        self._control.emit(Progress(file.entry.path, count))


class _Packing(_Job):
    def __init__(
        self,
        archive: Archive,
        control: Control,
        executor: Executor,
        wishes: FormWishes,
        tuning: Tuning,
        *,
        dry_run: bool,
    ) -> None:
        super().__init__(archive, control, executor, dry_run=dry_run)
        self._wishes = wishes
        self._step = tuning.pack_step
        self._would_depend: dict[Digest, tuple[Digest, ...]] = {}
        self._right: set[Digest] = set()

    def _change(self, file: _File) -> Changed:
        try:
            form = self._archive.form_of(file.digest)
        except NotArchivedError:
            return Changed(file.digest, Outcome.GONE, 0, 0)
        settled = self._settle(file)
        if settled is not None:
            return settled
        same = Changed(
            file.digest, Outcome.ALREADY, form.stored_bytes, form.stored_bytes, form.form
        )
        if form.form is Form.DELTA and self._wishes.allow_bases:
            return same
        if form.form is Form.PLAIN and self._linked(file):
            return Changed(file.digest, Outcome.LINKED, form.size, form.size)
        bases = self._bases(file) if self._wishes.allow_bases else ()
        if form.form is Form.CAPSULE and not bases:
            return same
        if self._is_unpaying(file, bases):
            return self._keep(file, form)
        return self._encode(file, form, bases)

    def _is_unpaying(self, file: _File, bases: tuple[Digest, ...]) -> bool:
        auto = self._wishes.form is FormWish.AUTO
        return auto and self._archive.index.is_unpaying(file.digest, bases)

    def _keep(self, file: _File, form: StoredForm) -> Changed:
        """The outcome for a blob for which there is no better capsule."""
        if form.form is Form.DELTA:  # deltas are not wanted any more
            if not self._dry_run:
                make_plain(self._archive, file.digest, self._executor, self._control)
            return Changed(file.digest, Outcome.UNPACKED, form.stored_bytes, form.size)
        outcome = Outcome.UNPAYING if form.form is Form.PLAIN else Outcome.ALREADY
        return Changed(file.digest, outcome, form.stored_bytes, form.stored_bytes, form.form)

    def _settle(self, file: _File) -> Changed | None:
        """Deletes the plain file of a capsule, if a crash came before that step."""
        if self._dry_run or not self._archive.layout.capsule(file.digest).exists():
            return None
        with self._archive.writer() as writer:
            freed = writer.settle(file.digest)
        form = self._archive.form_of(file.digest)
        if not freed:
            return None
        self._progress(file, file.entry.size)
        return Changed(file.digest, Outcome.PACKED, freed, form.stored_bytes, form.form)

    def _linked(self, file: _File) -> bool:
        try:
            return os.stat(self._archive.layout.blob(file.digest)).st_nlink > 1
        except FileNotFoundError:
            return False

    def _bases(self, file: _File) -> tuple[Digest, ...]:
        found = tuple(find_bases(self._archive, file.revision, file.entry, self._wishes))
        refs = [BaseRef(base, self._archive.form_of(base).size) for base in found]
        circle = any(file.digest in self._would_depend.get(base, ()) for base in found)
        return found if self._archive.forms.may_depend(file.digest, refs) and not circle else ()

    def _encode(self, file: _File, form: StoredForm, bases: tuple[Digest, ...]) -> Changed:
        digest, before = file.digest, form.stored_bytes
        with contextlib.ExitStack() as stack:
            writer = stack.enter_context(self._archive.writer())
            self._archive.refuse_damaged(digest)
            if not writer.lease(digest, form.size):
                return Changed(digest, Outcome.GONE, 0, 0)
            blob = stack.enter_context(self._archive.open_blob(digest))
            encodable = []
            for base in bases:
                reader = stack.enter_context(self._archive.open_blob(base))
                if writer.lease(base, reader.size):
                    self._check_base(base, reader)
                    encodable.append(Base(base, reader))
            choice = choose(blob, blob.size, self._wishes, encodable)
            after = None
            if choice.encode and (choice.bases or form.form is not Form.CAPSULE):
                after = self._write(file, writer, blob, choice.bases, form)
        if after is None:
            if self._wishes.form is FormWish.AUTO:
                self._archive.index.note_unpaying(digest, bases)
            return self._keep(file, form)
        if self._dry_run:
            self._would_depend[digest] = tuple(base.sha256 for base in choice.bases)
        kind = Form.DELTA if choice.bases else Form.CAPSULE
        return Changed(digest, Outcome.PACKED, before, after, kind)

    def _check_base(self, base: Digest, reader: BlobReader) -> None:
        """Hashes a base once: a capsule that is encoded against damaged bytes could be decoded
        with these alone, and is lost when the base is repaired.
        """
        if base not in self._right:
            if reader.sha256(self._executor) != base:
                raise CorruptError(
                    f"its base {base.short}… is damaged; nothing was changed",
                    hint="'outlast verify --quarantine' moves it away; then pull again",
                )
            self._right.add(base)

    def _write(
        self,
        file: _File,
        writer: WriteSession,
        blob: Readable,
        bases: tuple[Base, ...],
        form: StoredForm,
    ) -> int | None:
        """The size of the new capsule; None if it saves too little."""
        most = form.stored_bytes if form.form is Form.CAPSULE else form.size
        if self._dry_run:
            sink = CapsuleWriter(blob, len, bases=bases, executor=self._executor, check=False)
            self._advance(file, sink, blob.size, 1)
            sink.finish(file.digest)
            return sink.written if self._wishes.keeps(sink.written, most) else None
        with Encoding(writer, blob, bases=bases, executor=self._executor) as encoding:
            self._advance(file, encoding, blob.size, 2)
            encoding.finish(file.digest)
            if not self._wishes.keeps(encoding.written, most):
                return None
            self._read_back(file, encoding)
            try:
                writer.pack(encoding.path, file.digest, blob.size, encoding.tree)
            except (NotArchivedError, TooDeepError):  # another process changed the archive
                return None
            return encoding.written

    def _advance(self, file: _File, sink: Encoding | CapsuleWriter, size: int, passes: int) -> None:
        step = self._step
        for end in range(step, size + step, step):
            sink.advance(min(end, size))
            self._progress(file, (min(end, size) - end + step) // passes)

    def _read_back(self, file: _File, encoding: Encoding) -> None:
        hasher = hashlib.sha256()
        with reading.open_capsule(self._archive.soundness, file.digest, encoding.path) as packed:
            for chunk in packed.chunks(self._executor):
                hasher.update(chunk)
                self._progress(file, min(len(chunk) // 2, packed.size - self._told))
            self._progress(file, packed.size - self._told)
        found = Digest(hasher.hexdigest())
        if found != file.digest:
            raise CorruptError(
                f"damaged: its sha256 is {found.short}…; nothing was changed",
                hint="'outlast verify --quarantine' moves it away; then pull again",
            )


class _Unpacking(_Job):
    def _change(self, file: _File) -> Changed:
        try:
            form = self._archive.form_of(file.digest)
            if not self._dry_run:
                make_plain(self._archive, file.digest, self._executor, self._control)
        except NotArchivedError:
            return Changed(file.digest, Outcome.GONE, 0, 0)
        return Changed(file.digest, Outcome.UNPACKED, form.stored_bytes, form.size)


def make_plain(archive: Archive, digest: Digest, executor: Executor, control: Control) -> None:
    """Decodes the capsule of a blob, compares the sha256, and replaces the capsule by the plain
    bytes. Raises :class:`CorruptError` if the sha256 differs, :class:`NotArchivedError`.
    """
    with archive.writer() as writer, archive.open_blob(digest) as blob:
        writer.lease(digest, blob.size)
        temp = writer.temp()
        with disk.reporting(archive.layout.blob(digest)):
            sums = Summing()
            chunks = sums.watch(blob.chunks(executor))
            found = disk.write_chunks(temp, _followed(chunks, digest, control))
        if found != digest.hex:
            raise CorruptError(f"damaged: its capsule decodes to sha256 {found[:12]}…")
        writer.unpack(temp, digest, sums.of(digest))


def _followed(
    chunks: Iterator[memoryview], digest: Digest, control: Control
) -> Iterator[memoryview]:
    for chunk in chunks:
        control.cancel.check()
        yield chunk
        control.emit(Progress(f"blob {digest.short}", len(chunk)))
