"""What the parts of a transfer share: its jobs, its lanes, and how a file ends."""

import contextlib
import itertools
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from outlast.codec import merkle
from outlast.codec.payload import Payload
from outlast.core.control import Control
from outlast.core.digest import Digest, GitOid, Names
from outlast.core.errors import (
    Cancelled,
    CorruptError,
    MalformedError,
    NotArchivedError,
    OutlastError,
    UnreachableError,
)
from outlast.core.events import Progress
from outlast.core.manifest import FileEntry
from outlast.core.names import RepoId
from outlast.core.ratelimit import TokenBucket
from outlast.fetch.download import CHUNK, Download
from outlast.fetch.plan import DIRECT, FetchPlan
from outlast.fetch.source_state import Patience, SourceState
from outlast.intake.capsule_stream import Intake
from outlast.intake.form_policy import PLAIN, FormWishes
from outlast.intake.local_file import hash_blob
from outlast.sources.base import PayloadSource, RangeReader, Source
from outlast.store import disk

SMALL = CHUNK * merkle.PIECE
"""Files up to this many bytes are fetched in one request and verified in memory."""
IDLE = 0.5
RESERVE = 64 * 1024 * 1024
"""Bytes left free on the disk, for manifests, the index and everybody else."""
_READ = 256 * 1024


@dataclass(frozen=True, slots=True)
class Wishes:
    """How to transfer: `connections` in all, over all sources; `rate` in bytes per second, or 0
    for no limit; `forms`, in which form to keep what comes.
    """

    connections: int = 8
    rate: int = 0
    patience: Patience = field(default_factory=Patience)
    forms: FormWishes = PLAIN


class Job:
    """A file to fetch, and where it stands. `aside`: it is no file of the revision, but what one
    of them leans on.
    """

    def __init__(self, entry: FileEntry, *, aside: bool = False) -> None:
        self.entry = entry
        self.aside = aside
        self.plan: FetchPlan = DIRECT
        self.small = entry.size <= SMALL
        self.download: Download | None = None
        self.started = False
        self.done = False
        self.error: OutlastError | None = None
        self.given: dict[str, int] = {}
        """Bytes that came, by source."""

    @property
    def finished(self) -> bool:
        return self.done or self.error is not None

    @property
    def awaited(self) -> int:
        """Bytes that are still to be written, at most."""
        download = self.download
        if download is None:
            return self.entry.size
        return max(0, download.size - sum(download.partial.have) * merkle.PIECE)


Done = Callable[[FileEntry], None]
"""Told of each file once its blob is verified, durable and claimed by the writer."""
Watch = Callable[[Download], None]
"""Told of each larger file when its transfer starts, to follow its frontier."""


class Coordinator(Protocol):
    """Who knows the neighbourhood, and decides how files come while they come."""

    @property
    def http(self) -> bool:
        """Whether peers are asked for files; else all come in pieces, the small ones too."""

    def run(self) -> None:
        """Until the transfer ends."""

    def await_end(self) -> None:
        """Returns soon after the end of the transfer, when others know of all that came."""

    def begin(self, job: Job) -> None:
        """A larger file is to be fetched: returns when its way is known. May block."""

    def joined(self, job: Job) -> None:
        """Its arrival is open."""

    def hopeful(self, job: Job) -> bool:
        """Whether a file may still come, though no lane serves it now."""

    def paced(self, source: SourceState, count: int) -> None:
        """Bytes came from a peer: waits as long as the caps ask for."""

    def shares(self) -> dict[str, int]:
        """Bytes that came through the swarm, by source."""

    def reject_payload(self, job: Job, reason: str) -> bool:
        """The payload that a file came as restores something else; whether there is another way."""


class Work:
    """The state of a transfer, guarded by `state`."""

    def __init__(
        self,
        intake: Intake,
        what: tuple[RepoId, GitOid],
        sources: Sequence[Source],
        *,
        wishes: Wishes,
        control: Control,
        done: Done,
        watch: Watch | None = None,
    ) -> None:
        self.intake = intake
        self.archive = intake.archive
        self.writer = intake.writer
        self._repo, self._commit = what
        self.emit = control.emit
        self.cancel = control.cancel
        self.watch = watch
        self._done = done
        self._pace = TokenBucket(wishes.rate) if wishes.rate else None
        self.state = threading.Condition()
        self.jobs: list[Job] = []
        self.first_open = 0
        self.unfinished = 0
        self.crash: BaseException | None = None
        self.stop = False
        self._storing = 0
        self.coordinator: Coordinator | None = None
        self._patience = wishes.patience
        self.sources: list[SourceState] = []
        for client in sources:
            self.add_source(client)

    @property
    def repo(self) -> RepoId:
        return self._repo

    def add_source(self, client: Source) -> SourceState:
        source = SourceState(client, self._patience, self.emit)
        self.sources.append(source)
        return source

    def end(self) -> None:
        """Stops all work, and returns when nobody stores any more: the caller may close the writer
        after this.
        """
        with self.state:
            self.stop = True
            self.state.notify_all()
            for job in self.jobs:
                if job.download is not None and not job.finished:
                    job.download.fail(Cancelled("the transfer ended"))
            while self._storing:
                self.state.wait(IDLE)

    def check(self) -> None:
        """Raises :class:`Cancelled` once the work is over."""
        self.cancel.check()
        if self.stop:
            raise Cancelled("the transfer ended")

    def room(self) -> int:
        """Bytes that are free on the disk beyond what the files of this transfer still take."""
        with self.state:
            awaited = sum(job.awaited for job in self.jobs if not job.finished)
        return disk.free_bytes(self.archive.layout.home) - awaited - RESERVE

    def spawn(self, work: Callable[..., None], *args: object) -> None:
        # Daemons: one that waits for a stalled connection must not keep the process alive, and
        # cannot harm, because a closed arrival accepts nothing.
        threading.Thread(target=self.guard, args=(work, *args), daemon=True).start()

    def guard(self, work: Callable[..., None], *args: object) -> None:
        """Runs a thread's work; whatever it did not expect ends the whole transfer."""
        try:
            work(*args)
        except Cancelled:
            pass
        except BaseException as error:  # noqa: BLE001 - raised again by `run`, in the caller's thread
            with self.state:
                self.crash = self.crash or error
                self.state.notify_all()

    @contextlib.contextmanager
    def storing_bytes(self) -> Iterator[None]:
        """While somebody is in here, `run` does not return."""
        with self.state:
            if self.stop:
                raise Cancelled("the transfer ended")
            self._storing += 1
        try:
            yield
        finally:
            with self.state:
                self._storing -= 1
                self.state.notify_all()

    def fail_unreachable_jobs(self) -> None:
        for job in itertools.islice(self.jobs, self.first_open, None):
            if job.finished or self._may_come(job):
                continue
            lost = [source.lost for source in self.sources if source.lost is not None]
            fallback = NotArchivedError(f"no source has {job.entry.path!r}")
            self.fail(job, next(iter(lost), fallback))

    def _may_come(self, job: Job) -> bool:
        """Whether some source may have a file; of peers the guide knows more than their lanes."""
        coordinated = self.coordinator is not None
        origins = () if job.aside else (o for o in self.sources if not (coordinated and o.is_peer))
        if any(source.serves(job.entry.key) for source in origins):
            return True
        return self.coordinator is not None and self.coordinator.hopeful(job)

    def fail(self, job: Job, error: OutlastError) -> None:
        if not job.finished:
            self.unfinished -= 1
        job.error = job.error or error
        if job.download is not None:
            job.download.fail(error)
        self.state.notify_all()

    def ask(
        self,
        source: SourceState,
        entry: FileEntry,
        start: int,
        stop: int,
        payload: Payload | None = None,
    ) -> RangeReader:
        """A range of a file, or of the capsule that is to restore it."""
        if payload is None or payload.is_plain or not isinstance(source.client, PayloadSource):
            return source.client.open(self._repo, self._commit, entry, start, stop)
        return source.client.open_capsule(payload.blob, payload.size, start, stop)

    def progress(self, job: Job, count: int, source: str) -> None:
        """`count` more bytes came from `source`: as many of the file as they restore."""
        job.given[source] = job.given.get(source, 0) + count
        payload = job.plan.payload
        if payload is not None and not payload.is_plain:
            count = count * job.entry.size // payload.size
        self.emit(Progress(job.entry.path, count, source))

    def record_failure(
        self, source: SourceState, entry: FileEntry, error: OutlastError, started: float
    ) -> None:
        with self.state:
            source.record_failure(error, path=entry.path, key=entry.key, started=started)
            self.fail_unreachable_jobs()
            self.state.notify_all()

    def read(
        self, source: SourceState, reader: RangeReader, buffer: memoryview, entry: FileEntry
    ) -> None:
        """Fills `buffer`, or raises."""
        while buffer:
            self.cancel.check()
            count = reader.readinto(buffer[:_READ])
            if not count:
                raise UnreachableError(f"{source.name} closed {entry.path!r} early")
            buffer = buffer[count:]
            source.heard = time.monotonic()
            if self._pace is not None:
                self._pace.take(count, self.cancel)
            if self.coordinator is not None and source.is_peer:
                self.coordinator.paced(source, count)

    def finish(self, job: Job, names: Names) -> None:
        self.archive.note_names(names)
        if not job.aside:
            self._done(job.entry.with_names(names))
        self.close(job)

    def close(self, job: Job) -> None:
        with self.state:
            if not job.finished:
                self.unfinished -= 1
            job.done = True
            self.state.notify_all()

    def already_here(self, job: Job) -> bool:
        """Whether the bytes came into the archive otherwise, as by another process; then this
        file is done.
        """
        entry = job.entry
        known = self.archive.known(entry)
        with self.storing_bytes():
            if known is None and entry.sha256 is not None:
                known = self.read_local(entry, entry.sha256)
            if known is None or known.sha256 is None:
                return False
            if not self.writer.lease(known.sha256, known.size):
                return False
            if not job.aside:
                self._done(known)
            self.close(job)
        return True

    def read_local(self, entry: FileEntry, digest: Digest) -> FileEntry | None:
        """`entry` with its merkle root, from a blob that no manifest describes yet. A damaged
        blob is put away, so that the right bytes can take its place.
        """
        if not self.writer.lease(digest, entry.size):
            return None
        try:
            with self.archive.open_blob(digest) as blob:
                names = hash_blob(blob, self.cancel)
            if entry.mismatch(names) is None:
                return entry.with_names(names)
        except (CorruptError, MalformedError):
            pass
        self.archive.quarantine_blob(digest)
        return None
