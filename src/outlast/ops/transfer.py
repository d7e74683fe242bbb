"""Fetching many files from several sources at once, verified before they are acknowledged.

Each source has its own connections, and each connection asks for the next pieces when it is done
with the last: so sources share the work in proportion to their speed. Small files are fetched
whole, in memory; larger ones go through a partial that survives a crash.
"""

import contextlib
import itertools
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from outlast.codec import merkle
from outlast.codec.hashing import names_of
from outlast.model.control import Control
from outlast.model.digest import Digest, GitOid, Names
from outlast.model.errors import (
    BusyError,
    Cancelled,
    IntegrityError,
    NotArchivedError,
    OutlastError,
    UnreachableError,
)
from outlast.model.events import Progress
from outlast.model.manifest import FileEntry
from outlast.model.names import RepoId
from outlast.ops.arrival import CHUNK, Arrival
from outlast.ops.ingest import ingest
from outlast.ops.lanes import SOURCE_FAULTS, Lane, Patience
from outlast.ops.pace import Pace
from outlast.sources.base import RangeReader, Source
from outlast.store.archive import Archive
from outlast.store.writer import Writer

SMALL = CHUNK * merkle.PIECE
"""Files up to this many bytes are fetched in one request and verified in memory."""
_READ = 256 * 1024
_ACTIVE = 3
_IDLE = 0.5


@dataclass(frozen=True, slots=True)
class Wishes:
    """How to transfer: `connections` in all, over all sources; `rate` in bytes per second, or 0
    for no limit.
    """

    connections: int = 8
    rate: int = 0
    patience: Patience = field(default_factory=Patience)


class _Job:
    """A file to fetch, and where it stands."""

    def __init__(self, entry: FileEntry) -> None:
        self.entry = entry
        self.small = entry.size <= SMALL
        self.arrival: Arrival | None = None
        self.started = False
        self.done = False
        self.error: OutlastError | None = None

    @property
    def finished(self) -> bool:
        return self.done or self.error is not None


Done = Callable[[FileEntry], None]
"""Told of each file once its blob is verified, durable and claimed by the writer."""
Watch = Callable[[Arrival], None]
"""Told of each larger file when its transfer starts, to follow its frontier."""


class Transfer:
    """One run over a set of files of one commit."""

    def __init__(
        self,
        archive: Archive,
        writer: Writer,
        what: tuple[RepoId, GitOid],
        sources: Sequence[Source],
        *,
        wishes: Wishes,
        control: Control,
        done: Done,
        watch: Watch | None = None,
    ) -> None:
        self._archive = archive
        self._writer = writer
        self._repo, self._commit = what
        self._wishes = wishes
        self._emit = control.emit
        self._cancel = control.cancel
        self._done = done
        self._watch = watch
        self._pace = Pace(wishes.rate) if wishes.rate else None
        self._state = threading.Condition()
        self._jobs: list[_Job] = []
        self._first_open = 0
        self._storing = 0
        self._unfinished = 0
        self._crash: BaseException | None = None
        self._stop = False
        self.lanes = [Lane(source, wishes.patience, control.emit) for source in sources]

    def run(self, entries: Iterable[FileEntry]) -> list[OutlastError]:
        """Fetches `entries`; returns why some could not be had. Raises when cancelled, or when
        the disk or outlast itself fails.
        """
        self._jobs = [_Job(entry) for entry in entries]
        self._unfinished = len(self._jobs)
        per_lane = max(2, -(-self._wishes.connections // len(self.lanes)))
        for lane in self.lanes:
            for _ in range(per_lane):
                self._spawn(self._work, lane)
        try:
            self._wait()
        finally:
            with self._state:
                self._stop = True
                self._state.notify_all()
                for job in self._jobs:
                    if job.arrival is not None and not job.finished:
                        job.arrival.fail(Cancelled("the transfer ended"))
                while self._storing:  # the caller may close the writer after this
                    self._state.wait(_IDLE)
        return [job.error for job in self._jobs if job.error is not None]

    def _wait(self) -> None:
        with self._state:
            self._give_up_the_hopeless()
            while self._unfinished:
                self._state.wait(_IDLE)
                if self._crash is not None:
                    raise self._crash
                self._cancel.check()

    def _spawn(self, work: Callable[..., None], *args: object) -> None:
        # Daemons: one that waits for a stalled connection must not keep the process alive, and
        # cannot harm, because a closed arrival accepts nothing.
        threading.Thread(target=self._guard, args=(work, *args), daemon=True).start()

    def _guard(self, work: Callable[..., None], *args: object) -> None:
        """Runs a thread's work; whatever it did not expect ends the whole transfer."""
        try:
            work(*args)
        except Cancelled:
            pass
        except BaseException as error:  # noqa: BLE001 - raised again by `run`, in the caller's thread
            with self._state:
                self._crash = self._crash or error
                self._state.notify_all()

    @contextlib.contextmanager
    def _storing_bytes(self) -> Iterator[None]:
        """While somebody is in here, `run` does not return."""
        with self._state:
            if self._stop:
                raise Cancelled("the transfer ended")
            self._storing += 1
        try:
            yield
        finally:
            with self._state:
                self._storing -= 1
                self._state.notify_all()

    def _give_up_the_hopeless(self) -> None:
        for job in itertools.islice(self._jobs, self._first_open, None):
            if job.finished or any(lane.serves(job.entry.key) for lane in self.lanes):
                continue
            lost = [lane.lost for lane in self.lanes if lane.lost is not None]
            fallback = NotArchivedError(f"no source has {job.entry.path!r}")
            self._fail(job, next(iter(lost), fallback))

    def _fail(self, job: _Job, error: OutlastError) -> None:
        if not job.finished:
            self._unfinished -= 1
        job.error = job.error or error
        if job.arrival is not None:
            job.arrival.fail(error)
        self._state.notify_all()

    # A connection's life

    def _work(self, lane: Lane) -> None:
        while True:
            with self._state:
                task = None
                while task is None:
                    if self._stop or self._crash is not None or lane.lost is not None:
                        self._state.notify_all()
                        return
                    self._cancel.check()
                    pause = lane.not_before - time.monotonic()
                    task = self._next_task(lane) if pause <= 0 else None
                    if task is None:
                        self._state.wait(min(max(pause, 0.01), _IDLE) if pause > 0 else _IDLE)
            job, first, last = task
            if job.arrival is None:
                self._fetch_small(lane, job)
            else:
                self._fetch_pieces(lane, job, job.arrival, first, last)

    def _next_task(self, lane: Lane) -> tuple[_Job, int, int] | None:
        while self._first_open < len(self._jobs) and self._jobs[self._first_open].finished:
            self._first_open += 1
        active = 0
        for job in itertools.islice(self._jobs, self._first_open, None):
            if job.finished or not lane.serves(job.entry.key):
                continue
            if job.small:
                if not job.started:
                    job.started = True
                    return job, 0, 0
                continue
            active += 1
            if not job.started:
                self._start(job)
            if job.arrival is not None and (span := job.arrival.take(lane)) is not None:
                return job, *span
            if active >= _ACTIVE:
                return None
        return None

    def _start(self, job: _Job) -> None:
        job.started = True
        self._spawn(self._receive, job)

    def _ask(self, lane: Lane, entry: FileEntry, start: int, stop: int) -> RangeReader:
        return lane.source.open(self._repo, self._commit, entry, start, stop)

    def _blame(self, lane: Lane, entry: FileEntry, error: OutlastError, started: float) -> None:
        with self._state:
            lane.blame(error, path=entry.path, key=entry.key, started=started)
            self._give_up_the_hopeless()
            self._state.notify_all()

    def _read(self, lane: Lane, reader: RangeReader, buffer: memoryview, entry: FileEntry) -> None:
        """Fills `buffer`, or raises."""
        while buffer:
            self._cancel.check()
            count = reader.readinto(buffer[:_READ])
            if not count:
                raise UnreachableError(f"{lane.name} closed {entry.path!r} early")
            buffer = buffer[count:]
            if self._pace is not None:
                self._pace.take(count, self._cancel)

    # Small files

    def _fetch_small(self, lane: Lane, job: _Job) -> None:
        entry, started = job.entry, time.monotonic()
        if self._already_here(job):
            return
        try:
            data = bytearray(entry.size)
            if entry.size:
                reader = self._ask(lane, entry, 0, entry.size)
                try:
                    self._read(lane, reader, memoryview(data), entry)
                finally:
                    reader.close()
            names = names_of(data)
            if (problem := entry.mismatch(names)) is not None:
                raise IntegrityError(f"{lane.name} served wrong bytes as {entry.path}: {problem}")
        except SOURCE_FAULTS as error:
            with self._state:
                job.started = False
            self._blame(lane, entry, error, started)
            return
        with self._state:
            lane.praise(entry.size)
        self._emit(Progress(entry.path, entry.size, lane.name))
        with self._storing_bytes():
            self._archive.put(self._writer, data, names)
            self._finish(job, names)

    def _finish(self, job: _Job, names: Names) -> None:
        self._done(job.entry.with_names(names))
        self._close(job)

    def _close(self, job: _Job) -> None:
        with self._state:
            if not job.finished:
                self._unfinished -= 1
            job.done = True
            self._state.notify_all()

    # Larger files: connections fetch pieces …

    def _fetch_pieces(self, lane: Lane, job: _Job, arrival: Arrival, first: int, last: int) -> None:
        entry, started = job.entry, time.monotonic()
        start, stop = first * merkle.PIECE, min(last * merkle.PIECE, entry.size)
        try:
            reader = self._ask(lane, entry, start, stop)
            try:
                if reader.start == start:
                    self._deliver(lane, arrival, reader, stop)
                elif self._reads_on(lane, arrival):
                    first, last = 0, arrival.count
                    self._deliver(lane, arrival, reader, entry.size)
            finally:
                reader.close()
        except SOURCE_FAULTS as error:
            arrival.release(lane, first, last)
            self._blame(lane, entry, error, started)
            if lane.lost is not None and arrival.only is lane:
                arrival.end_trial()
        else:
            arrival.release(lane, first, last)
            with self._state:
                self._state.notify_all()

    def _reads_on(self, lane: Lane, arrival: Arrival) -> bool:
        """Whether to take the whole file that a lane sends instead of a range: not the first
        time, which may be an accident, and not on two connections.
        """
        with self._state:
            lane.note_ignored_range()
        if lane.ranges:
            raise UnreachableError(f"{lane.name} ignored the range of {arrival.entry.path!r}")
        return arrival.give_all(lane)

    def _deliver(self, lane: Lane, arrival: Arrival, reader: RangeReader, stop: int) -> None:
        buffer = memoryview(bytearray(merkle.PIECE))
        position = reader.start
        while position < stop:
            piece = buffer[: min(merkle.PIECE, arrival.entry.size - position)]
            self._read(lane, reader, piece, arrival.entry)
            with self._state:
                lane.praise(len(piece))
            arrival.accept(lane, position // merkle.PIECE, piece)
            self._emit(Progress(arrival.entry.path, len(piece), lane.name))
            position += len(piece)

    # … and one thread a file hashes them in order, and judges.

    def _receive(self, job: _Job) -> None:
        entry = job.entry
        while True:
            try:
                partial = self._archive.partial(entry)
                break
            except BusyError:  # another process fetches it: ours when it is done or dead
                if self._stop or job.finished or self._already_here(job):
                    return
                self._cancel.wait(_IDLE)
        with partial:
            if self._already_here(job):
                partial.discard()
                return
            arrival = Arrival(entry, partial)
            with self._state:
                if self._stop or job.finished:
                    return
                job.arrival = arrival
                self._state.notify_all()
            try:
                if self._watch is not None:
                    self._watch(arrival)
                names = self._judge(arrival)
                with self._storing_bytes():
                    partial.finish(self._writer, names.sha256)
                    self._finish(job, names)
            except OutlastError:
                if arrival.error is None:
                    raise  # the disk's fault, or a cancellation: not this job's alone
                return
            finally:
                arrival.close()

    def _already_here(self, job: _Job) -> bool:
        """Whether the bytes came into the archive otherwise, as by another process; then this
        file is done.
        """
        entry = job.entry
        known = self._archive.known(entry)
        with self._storing_bytes():
            if known is None and entry.sha256 is not None:
                known = self._read_local(entry, entry.sha256)
            if known is None or known.sha256 is None:
                return False
            if not self._writer.claim(known.sha256, known.size):
                return False
            self._done(known)
            self._close(job)
        return True

    def _read_local(self, entry: FileEntry, digest: Digest) -> FileEntry | None:
        """`entry` with its merkle root, from a blob that no manifest describes yet. A damaged
        blob is put away, so that the right bytes can take its place.
        """
        if not self._writer.claim(digest, entry.size):
            return None
        with self._archive.open(digest) as file:
            names = ingest(file.fileno(), None, entry.path, Control(cancel=self._cancel))
        if entry.mismatch(names) is None:
            return entry.with_names(names)
        self._archive.put_away(self._archive.path(digest))
        return None

    def _judge(self, arrival: Arrival) -> Names:
        """Waits for the whole file and verifies it, as often as it takes to find out who lies."""
        while True:
            names = arrival.hash(self._cancel)
            problem = arrival.verdict(names)
            if problem is None:
                with self._state:
                    for liar in arrival.liars():
                        error = IntegrityError(
                            f"{liar.name} sent other bytes than the verified ones"
                        )
                        liar.ban(error, arrival.entry.path)
                return names
            guilty = arrival.convict()
            with self._state:
                if guilty is not None:
                    guilty.ban(
                        IntegrityError(f"{guilty.name} served wrong bytes as {problem}"),
                        arrival.entry.path,
                    )
                self._give_up_the_hopeless()
                self._state.notify_all()
