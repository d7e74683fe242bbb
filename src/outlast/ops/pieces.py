"""Larger files: connections fetch pieces, one thread a file hashes them in order, and judges."""

import time

from outlast.codec import merkle
from outlast.model.digest import Names
from outlast.model.errors import BusyError, IntegrityError, OutlastError, UnreachableError
from outlast.model.events import Progress
from outlast.ops.arrival import Arrival
from outlast.ops.encoding import Follower, OpenFile
from outlast.ops.lanes import SOURCE_FAULTS, Lane
from outlast.ops.work import IDLE, Job, Work
from outlast.sources.base import RangeReader
from outlast.store.partials import Partial


def fetch_pieces(work: Work, lane: Lane, arrival: Arrival, span: tuple[int, int]) -> None:
    entry, started = arrival.entry, time.monotonic()
    first, last = span
    start, stop = first * merkle.PIECE, min(last * merkle.PIECE, entry.size)
    try:
        reader = work.ask(lane, entry, start, stop)
        try:
            if reader.start == start:
                _deliver(work, lane, arrival, reader, stop)
            elif _reads_on(work, lane, arrival):
                first, last = 0, arrival.count
                _deliver(work, lane, arrival, reader, entry.size)
        finally:
            reader.close()
    except SOURCE_FAULTS as error:
        arrival.release(lane, first, last)
        work.blame(lane, entry, error, started)
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


def _deliver(work: Work, lane: Lane, arrival: Arrival, reader: RangeReader, stop: int) -> None:
    buffer = memoryview(bytearray(merkle.PIECE))
    position = reader.start
    while position < stop:
        piece = buffer[: min(merkle.PIECE, arrival.entry.size - position)]
        work.read(lane, reader, piece, arrival.entry)
        with work.state:
            lane.praise(len(piece))
        arrival.accept(lane, position // merkle.PIECE, piece)
        work.emit(Progress(arrival.entry.path, len(piece), lane.name))
        position += len(piece)


def receive(work: Work, job: Job) -> None:
    entry = job.entry
    while True:
        try:
            partial = work.archive.partial(entry)
            break
        except BusyError:  # another process fetches it: ours when it is done or dead
            if work.stop or job.finished or work.already_here(job):
                return
            work.cancel.wait(IDLE)
    with partial:
        if work.already_here(job):
            partial.discard()
            return
        arrival = Arrival(entry, partial)
        with work.state:
            if work.stop or job.finished:
                return
            job.arrival = arrival
            work.state.notify_all()
        blob = OpenFile(partial.fd, entry.size)
        follower = Follower(work.intake, blob, work.room)
        try:
            if work.watch is not None:
                work.watch(arrival)
            names = _judge(work, arrival, follower)
            _store(work, job, partial, follower, names)
        except OutlastError:
            if arrival.error is None:
                raise  # the disk's fault, or a cancellation: not this job's alone
            return
        finally:
            arrival.close()
            follower.close()


def _store(work: Work, job: Job, partial: Partial, follower: Follower, names: Names) -> None:
    """Keeps verified bytes in the form that pays; they were written plain only once."""
    capsule = follower.finish(names, work.check)
    with work.storing_bytes():
        if capsule is not None and capsule.publish(names.sha256):
            partial.discard()
        else:
            partial.finish(work.writer, names.sha256)
        work.finish(job, names)


def _judge(work: Work, arrival: Arrival, follower: Follower) -> Names:
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
        guilty = arrival.convict()
        with work.state:
            if guilty is not None:
                guilty.ban(
                    IntegrityError(f"{guilty.name} served wrong bytes as {problem}"),
                    arrival.entry.path,
                )
            work.give_up_the_hopeless()
            work.state.notify_all()
