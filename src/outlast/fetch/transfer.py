"""What the parts of a transfer share: its jobs, its sources, and how a file ends."""

import contextlib
import itertools
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

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
    WithdrawnError,
)
from outlast.core.events import FileMended, Progress
from outlast.core.manifest import FileEntry
from outlast.core.names import RepoId
from outlast.core.ratelimit import TokenBucket
from outlast.fetch.concurrency import Request, concurrency_of
from outlast.fetch.job import Done, Job, Watch
from outlast.fetch.salvage import damaged_blob
from outlast.fetch.source_state import METADATA_PATIENCE, Patience, SourceState
from outlast.fetch.tuning import TUNING, Tuning
from outlast.intake.capsule_stream import Intake
from outlast.intake.form_policy import PLAIN, SMALLEST, FormWishes
from outlast.intake.local_file import hash_blob
from outlast.sources.base import PayloadSource, RangeReader, Source
from outlast.store import disk

_log = logging.getLogger(__name__)

_LEAST_READ = 4096
"""Bytes that are read at once, however low the rate limit is."""


@dataclass(frozen=True, slots=True)
class Wishes:
    """How to transfer: the most `connections` at once, over all sources; `rate` in bytes per
    second, or 0 for no limit; `forms`: in which form to keep what comes. `metadata_patience` is
    for questions about the model.
    """

    connections: int = 8
    rate: int = 0
    patience: Patience = field(default_factory=Patience)
    forms: FormWishes = PLAIN
    metadata_patience: Patience = METADATA_PATIENCE
    tuning: Tuning = TUNING


Claim = Callable[[int], bool]
"""Asks for so many bytes of the disk beside those of the files, and says whether they may be used
until the fetch ends; called from several threads."""


class Coordinator(Protocol):
    """Knows the neighbourhood, and decides how each file comes."""

    @property
    def http(self) -> bool:
        """True if peers may be asked over HTTP; otherwise everything goes through the swarm."""

    def run(self) -> None:
        """Until the transfer ends."""

    def await_end(self) -> None:
        """Returns soon after the end of the transfer, when others know of all that came."""

    def await_plan(self, job: Job) -> None:
        """Returns once a larger file has a plan with which it can start. Blocks."""

    def download_opened(self, job: Job) -> None:
        """The download of a larger file is open."""

    def may_come(self, job: Job) -> bool:
        """Whether a file may still come that no source serves now."""

    def throttle(self, source: SourceState, count: int) -> None:
        """So many bytes came from a peer: waits as long as the rate limits ask for."""

    def shares(self) -> dict[str, int]:
        """Bytes that came through the swarm, by source."""

    def reject_payload(self, job: Job, reason: str) -> bool:
        """The payload of a file restores something else; whether the file may come otherwise."""


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
        claim: Claim = lambda _size: True,
    ) -> None:
        self.intake = intake
        self.tuning = wishes.tuning
        self.archive = intake.archive
        self.writer = intake.writer
        self._repo, self._commit = what
        self.emit = control.emit
        self.cancel = control.cancel
        self.watch = watch
        self._claim = claim
        self._done = done
        self._rate = wishes.rate
        self._pace = TokenBucket(wishes.rate) if wishes.rate else None
        self.state = threading.Condition()
        self.jobs: list[Job] = []
        self.first_open = 0
        self.unfinished = 0
        self.crash: BaseException | None = None
        self.stop = False
        self.cards = threading.Event()
        """Set once no file is awaited that may name bases of the others."""
        self.heard = time.monotonic()
        """When the last byte came (monotonic seconds)."""
        self._storing = 0
        self.coordinator: Coordinator | None = None
        self._patience = wishes.patience
        self.connections = wishes.connections
        self._read_size = wishes.tuning.read_size
        if wishes.rate:  # all connections together take a second's worth, or nothing comes for long
            share = max(_LEAST_READ, wishes.rate // max(1, wishes.connections))
            self._read_size = min(self._read_size, share)
        self._hearing = contextlib.ExitStack()
        self.sources: list[SourceState] = []
        for client in sources:
            self.add_source(client)

    def begin(self, jobs: list[Job]) -> None:
        """What is to be fetched."""
        self.jobs, self.unfinished = jobs, len(jobs)
        for job in jobs:
            job.damaged = damaged_blob(self.archive, job.entry)
        self._look_for_cards()

    def _look_for_cards(self) -> None:
        if not any(job.is_card and not job.finished for job in self.jobs):
            self.cards.set()

    def _card_ended(self, job: Job) -> None:
        if job.is_card:
            self._look_for_cards()

    def awaits_cards(self, job: Job) -> bool:
        """Whether a small file is to come after the cards: it may have a base that one of them
        names, and its form is chosen when it comes.
        """
        if self.cards.is_set() or job.entry.size < SMALLEST or not self.intake.wishes.uses_bases:
            return False
        return job.entry.path.endswith((".safetensors", ".gguf"))

    @property
    def repo(self) -> RepoId:
        return self._repo

    @property
    def rate(self) -> int:
        """The rate limit of this transfer in bytes per second; 0 if there is none."""
        return self._rate

    def release_small(self, job: Job) -> None:
        """The source that was asked for a small file is slow: another source may be asked too."""
        with self.state:
            if job.small and not job.finished:
                job.started, job.taker = False, None
                self.state.notify_all()

    @property
    def small_file(self) -> int:
        """Files up to this size are fetched in one request."""
        return self.tuning.small_file

    def add_source(self, client: Source) -> SourceState:
        """A source from now on; `end` lets go of it. Called before the start or under `state`."""
        source = SourceState(client, self._patience, self.emit, concurrency_of(client))
        self._hearing.enter_context(source.concurrency.heard_by(self._wake))
        self.sources.append(source)
        return source

    def _wake(self) -> None:
        with self.state:
            self.state.notify_all()

    def has_room(self, source: SourceState) -> bool:
        """Whether another connection to `source` may be open. Sources share them; if there are
        peers, one is theirs. Called under `state`.
        """
        if sum(one.under_way for one in self.sources) >= self.connections:
            return False
        if source.is_peer:
            return True
        alive = [one for one in self.sources if one.lost is None]
        origins = [one for one in alive if not one.is_peer]
        most = max(1, self.connections - (len(origins) < len(alive)))
        share = -(-most // max(1, len(origins)))
        return source.under_way < share and sum(one.under_way for one in origins) < most

    def returned(self, source: SourceState, request: Request) -> None:
        """A connection to `source` is free again."""
        source.concurrency.end(request)
        with self.state:
            source.under_way -= 1
            self.state.notify_all()

    def end(self) -> None:
        """Stops all work, and returns when no thread stores any more: then the caller may close the
        write session.
        """
        with self.state:
            self.stop = True
            self.state.notify_all()
            for job in self.jobs:
                if job.download is not None and not job.finished:
                    job.download.fail(Cancelled("the transfer ended"))
            while self._storing:
                self.state.wait(self.tuning.idle)
            hearing = self._hearing.pop_all()
        hearing.close()

    def check(self) -> None:
        """Raises :class:`Cancelled` once the work is over."""
        self.cancel.check()
        if self.stop:
            raise Cancelled("the transfer ended")

    def has_space(self, size: int) -> bool:
        """Whether so many bytes are free on the disk beyond what the files of this transfer still
        take, and no other fetch needs them: then they are this transfer's.
        """
        with self.state:
            awaited = sum(job.awaited for job in self.jobs if not job.finished)
        free = disk.free_bytes(self.archive.layout.home) - awaited - self.tuning.reserve
        return free >= size and self._claim(size)

    def spawn(self, work: Callable[..., None], *args: object) -> None:
        # Daemons: a thread that waits for a stalled connection must not keep the process alive. It
        # does no harm, because a closed download accepts nothing.
        threading.Thread(target=self.guard, args=(work, *args), daemon=True).start()

    def guard(self, work: Callable[..., None], *args: object) -> None:
        """Runs a thread's work; an unexpected error ends the whole transfer."""
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
        """While a thread is in this block, `end` does not return."""
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
            reasons = [source.why_not(job.entry.key) for source in self.sources]
            errors = [error for error in reasons if error is not None]
            errors.append(NotArchivedError(f"no source has {job.entry.path!r}"))
            error = min(errors, key=lambda error: not isinstance(error, WithdrawnError))
            _log.debug("%s cannot come: %s", job.entry.path, error)
            self.fail(job, error)

    def _may_come(self, job: Job) -> bool:
        """Whether some source may have a file. Of peers the coordinator knows more than we do."""
        coordinated = self.coordinator is not None
        origins = () if job.aside else (o for o in self.sources if not (coordinated and o.is_peer))
        serving = [source for source in origins if source.serves(job.entry.key)]
        if serving and not self._all_lack_a_piece(job, serving):
            return True
        return self.coordinator is not None and self.coordinator.may_come(job)

    @staticmethod
    def _all_lack_a_piece(job: Job, serving: Sequence[SourceState]) -> bool:
        """Whether a piece that is not here is wrong at each of these sources."""
        download = job.download
        if download is None:
            return False
        wrong = [source.wrong_pieces(job.entry.key) for source in serving]
        common = set(wrong[0]).intersection(*wrong[1:])
        return any(not download.partial.have[index] for index in common)

    def fail(self, job: Job, error: OutlastError) -> None:
        if not job.finished:
            self.unfinished -= 1
        job.error = job.error or error
        self._card_ended(job)
        if job.download is not None:
            job.download.fail(error)
        self.state.notify_all()

    def ask(
        self,
        source: SourceState,
        request: Request,
        entry: FileEntry,
        span: tuple[int, int],
        payload: Payload | None = None,
    ) -> RangeReader:
        """The bytes of the `span` of a file, or of the capsule that is to restore it."""
        if payload is None or payload.is_plain or not isinstance(source.client, PayloadSource):
            reader = source.client.open(self._repo, self._commit, entry, *span)
        else:
            reader = source.client.open_capsule(payload.blob, payload.size, *span)
        source.concurrency.answer(request)
        with self.state:
            source.record_answer(entry.key)
        return reader

    def progress(self, job: Job, count: int, source: str) -> None:
        """`count` more bytes came from `source`: as many of the file as they restore."""
        self.heard = time.monotonic()
        job.given[source] = job.given.get(source, 0) + count
        payload = job.plan.payload
        if payload is not None and not payload.is_plain:
            count = count * job.entry.size // payload.size
        self.emit(Progress(job.entry.path, count, source))

    def record_failure(
        self,
        source: SourceState,
        entry: FileEntry,
        error: OutlastError,
        request: Request,
        *,
        give_back: Callable[[], None],
    ) -> None:
        """`give_back` lets others take what was asked for. Until the failure is known, no other
        connection asks the source: it may be for nothing.
        """
        with self.state:
            source.failing += 1
        limited = source.concurrency.end(request, error)  # without the lock: it calls listeners
        with self.state:
            source.failing -= 1
            if limited:
                _log.debug("%s: %s has to wait: %s", source.name, entry.path, error)
                source.record_limit(error)
            else:
                source.record_failure(error, path=entry.path, key=entry.key, started=request.sent)
            give_back()
            self.fail_unreachable_jobs()
            self.state.notify_all()

    def read(
        self,
        source: SourceState,
        reader: RangeReader,
        buffer: memoryview,
        job: Job,
        came_so_far: Callable[[int], None] | None = None,
    ) -> None:
        """Fills `buffer`, or raises: also if too few bytes come in the time that it waits.
        `came_so_far` is told how many bytes of it are filled, again and again.
        """
        waited, came = 0.0, 0
        while buffer:
            self.cancel.check()
            began = time.monotonic()
            count = reader.readinto(buffer[: self._read_size])
            waited += time.monotonic() - began
            came += count
            if waited > self.tuning.slow_after and came < waited * self.tuning.least_rate:
                raise UnreachableError(
                    f"{source.name} sends {job.entry.path!r} too slowly", may_be_limit=True
                )
            if not count:
                raise UnreachableError(f"{source.name} closed {job.entry.path!r} early")
            buffer = buffer[count:]
            if came_so_far is not None:
                came_so_far(came)
            source.heard = time.monotonic()
            job.read += count
            if self._pace is not None:
                self._pace.take(count, self.cancel)
            if self.coordinator is not None and source.is_peer:
                self.coordinator.throttle(source, count)

    def finish(self, job: Job, names: Names) -> None:
        self.archive.note_names(names)
        if self._ends(job):
            if job.damaged is not None:
                self._tell_mended(job, job.damaged)
            if not job.aside:
                self._done(job.entry.with_names(names))
        self.close(job)

    def _tell_mended(self, job: Job, blob: Digest) -> None:
        source = max(job.given, key=job.given.__getitem__, default="")
        fetched, entry = sum(job.given.values()), job.entry
        _log.warning("blob %s is mended: %d bytes came from %s", blob, fetched, source or "here")
        self.emit(FileMended(entry.path, entry.size, blob.hex, fetched, source))

    def _ends(self, job: Job) -> bool:
        """Whether it is the first end of this file."""
        with self.state:
            first, job.ended = not job.ended, True
        return first

    def close(self, job: Job) -> None:
        with self.state:
            if not job.finished:
                self.unfinished -= 1
            job.done = True
            self._card_ended(job)
            self.state.notify_all()

    def already_here(self, job: Job) -> bool:
        """Whether the bytes are in the archive by now, as from another process; then the file is
        done.
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
            if not self.archive.is_free_for(self._repo, known.sha256):
                return False
            if self._ends(job) and not job.aside:
                self._done(known)
            self.close(job)
        return True

    def read_local(self, entry: FileEntry, digest: Digest) -> FileEntry | None:
        """`entry` with its merkle root, from a blob that no manifest describes yet. A damaged blob
        is quarantined, so that the right bytes can take its place.
        """
        if not self.writer.lease(digest, entry.size):
            return None
        try:
            with self.archive.open_blob(digest) as blob:
                names = hash_blob(blob, self.cancel)
            if entry.mismatch(names) is None:
                return entry.with_names(names)
            if names.sha256 == digest:  # the blob is right: what was said of it is not
                return None
        except (CorruptError, MalformedError):
            pass
        self.archive.quarantine_blob(digest)
        return None
