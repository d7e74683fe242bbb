"""Larger files: connections fetch pieces, one thread a file hashes them in order, and judges."""

import time
from typing import NoReturn

from outlast.codec import merkle
from outlast.core.digest import Names
from outlast.core.errors import (
    BusyError,
    IntegrityError,
    OutlastError,
    UnreachableError,
)
from outlast.fetch.capsule_check import Restored
from outlast.fetch.download import Arrival
from outlast.fetch.plan import CLOSED, TurnedError
from outlast.fetch.source_state import SOURCE_FAULTS, Lane
from outlast.fetch.transfer import IDLE, Job, Work
from outlast.intake.capsule_stream import Follower, OpenFile
from outlast.sources.base import RangeReader
from outlast.store.partials import Partial


def fetch_pieces(work: Work, lane: Lane, job: Job, span: tuple[int, int]) -> None:
    arrival, started = job.arrival, time.monotonic()
    if arrival is None:
        return
    first, last = span
    start, stop = first * merkle.PIECE, min(last * merkle.PIECE, arrival.size)
    try:
        reader = work.ask(lane, job.entry, start, stop, arrival.payload)
        try:
            if reader.start == start:
                _deliver(work, lane, job, (reader, arrival), stop)
            elif _reads_on(work, lane, arrival):
                first, last = 0, arrival.count
                _deliver(work, lane, job, (reader, arrival), arrival.size)
        finally:
            reader.close()
    except SOURCE_FAULTS as error:
        arrival.release(lane, first, last)
        work.blame(lane, job.entry, error, started)
        if lane.lost is not None and arrival.only is lane:
            arrival.end_trial()
    else:
        arrival.release(lane, first, last)
        with work.state:
            work.state.notify_all()


def _reads_on(work: Work, lane: Lane, arrival: Arrival) -> bool:
    """Whether to take the whole file that a lane sends instead of a range: not the first
    time, which may be an accident, and not on two connections.
    """
    with work.state:
        lane.note_ignored_range()
    if lane.ranges:
        raise UnreachableError(f"{lane.name} ignored the range of {arrival.entry.path!r}")
    return arrival.give_all(lane)


def _deliver(
    work: Work, lane: Lane, job: Job, between: tuple[RangeReader, Arrival], stop: int
) -> None:
    reader, arrival = between
    buffer = memoryview(bytearray(merkle.PIECE))
    position = reader.start
    while position < stop and job.way.admits(lane):
        piece = buffer[: min(merkle.PIECE, arrival.size - position)]
        work.read(lane, reader, piece, job.entry)
        arrival.accept(lane, position // merkle.PIECE, piece)
        with work.state:
            lane.praise(len(piece))
        work.progress(job, len(piece), lane.name)
        position += len(piece)


def receive(work: Work, job: Job) -> None:
    """Fetches a larger file, one way or, where that proves wrong, another."""
    again = True
    while again:
        if work.guide is not None:
            work.guide.begin(job)
        if work.stop or job.finished:
            return
        again = _receive(work, job)


def _receive(work: Work, job: Job) -> bool:
    """Fetches a file as its way says; whether to begin anew, another way."""
    partial = _open_partial(work, job)
    if partial is None:
        return False
    with partial:
        if work.already_here(job):
            partial.discard()
            return False
        arrival = Arrival(job.entry, partial, job.way)
        with work.state:
            if work.stop or job.finished:
                return False
            job.arrival = arrival
            work.state.notify_all()
        try:
            if work.guide is not None:
                work.guide.joined(job)
            if job.way.is_plain:
                _take_plain(work, job, arrival)
            else:
                _take_capsule(work, job, arrival)
        except TurnedError:
            job.way = CLOSED
            return True
        except OutlastError:
            if job.error is None and not work.stop:
                raise  # the disk's fault, or a cancellation: not this job's alone
        finally:
            with work.state:
                job.arrival = None if isinstance(arrival.error, TurnedError) else arrival
            arrival.close()
    return False


def _open_partial(work: Work, job: Job) -> Partial | None:
    """None where the file came meanwhile."""
    while True:
        try:
            return work.archive.partial(job.entry, job.way.payload)
        except BusyError:  # another process fetches it: ours when it is done or dead
            if work.stop or job.finished or work.already_here(job):
                return None
            work.cancel.wait(IDLE)


def _take_plain(work: Work, job: Job, arrival: Arrival) -> None:
    """Keeps verified bytes in the form that pays; they are written plain only once."""
    partial = arrival.partial
    blob = OpenFile(partial.fd, job.entry.size)
    follower = Follower(work.intake, blob, work.room)
    try:
        if work.watch is not None:
            work.watch(arrival)
        names = _judge(work, job, arrival, follower)
        capsule = follower.finish(names, work.check)
        arrival.settle()
        with work.storing_bytes():
            if capsule is not None and capsule.publish(names.sha256):
                partial.discard()
            else:
                partial.finish(work.writer, names.sha256)
            work.finish(job, names)
    finally:
        follower.close()


def _take_capsule(work: Work, job: Job, arrival: Arrival) -> None:
    """Keeps the capsule that came, if all that it restores has the names of the file."""
    partial, entry = arrival.partial, job.entry
    with Restored(work.archive, arrival) as restored:
        for count, _ in enumerate(arrival.pieces(work.cancel), 1):
            work.check()
            restored.advance(count, work.cancel)
            if restored.problem is not None:
                break
    arrival.settle()
    names, problem = restored.names, restored.problem
    if names is None or problem is not None:
        partial.discard()
        _give_up(work, job, f"what came as the capsule of {entry.path} is another: {problem}")
    partial.seal()
    with work.storing_bytes():
        if work.writer.publish_capsule(partial.path, names.sha256, entry.size, arrival.tree):
            partial.drop_journal()
        else:
            partial.discard()
        work.finish(job, names)


def _give_up(work: Work, job: Job, reason: str) -> NoReturn:
    """A payload was not what it was said to be."""
    if work.guide is not None and work.guide.distrust(job, reason):
        raise TurnedError(reason)
    raise IntegrityError(reason)


def _judge(work: Work, job: Job, arrival: Arrival, follower: Follower) -> Names:
    """Waits for the whole file and verifies it, as often as it takes to find out who lies."""
    while True:
        names = arrival.hash(work.cancel, follower.advance)
        problem = arrival.verdict(names)
        if problem is None:
            with work.state:
                for liar in arrival.liars():
                    error = IntegrityError(f"{liar.name} sent other bytes than the verified ones")
                    liar.ban(error, arrival.entry.path)
            return names
        follower.restart()
        if arrival.tree is not None and arrival.tree.root != job.entry.merkle_root:
            arrival.settle()
            arrival.partial.discard()
            _give_up(work, job, f"what came as {job.entry.path} is another: {problem}")
        guilty = arrival.convict()
        with work.state:
            if guilty is not None:
                guilty.ban(
                    IntegrityError(f"{guilty.name} served wrong bytes as {problem}"),
                    arrival.entry.path,
                )
            work.give_up_the_hopeless()
            work.state.notify_all()
