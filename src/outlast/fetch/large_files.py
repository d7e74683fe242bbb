"""Larger files: connections fetch pieces; one thread a file hashes them in order and verifies."""

import contextlib
import logging
import time
from dataclasses import replace
from typing import NoReturn

from outlast.codec import merkle
from outlast.core.digest import Names
from outlast.core.errors import (
    BusyError,
    DamagedThereError,
    IntegrityError,
    OutlastError,
    StorageError,
    UnreachableError,
)
from outlast.fetch.capsule_check import CapsuleCheck
from outlast.fetch.concurrency import Request
from outlast.fetch.download import Download
from outlast.fetch.job import Job
from outlast.fetch.plan import CLOSED, FetchPlan, PlanChangedError
from outlast.fetch.salvage import noted_tree, salvage, salvage_capsule
from outlast.fetch.source_state import SOURCE_FAULTS, SourceState
from outlast.fetch.transfer import Work
from outlast.intake.capsule_stream import Follower, OpenFile
from outlast.sources.base import RangeReader
from outlast.store.partials import Partial

_log = logging.getLogger(__name__)


def fetch_pieces(
    work: Work, source: SourceState, job: Job, span: tuple[int, int], request: Request
) -> None:
    download = job.download
    if download is None:
        return
    first, last = span
    start, stop = first * merkle.PIECE, min(last * merkle.PIECE, download.size)
    try:
        reader = work.ask(source, request, job.entry, (start, stop), download.payload)
        try:
            if reader.start == start:
                _deliver(work, source, job, download, reader, stop=stop)
            elif _reads_on(work, source, download):
                first, last = 0, download.count
                _deliver(work, source, job, download, reader, stop=download.size)
        finally:
            reader.close()
    except SOURCE_FAULTS as error:

        def give_back() -> None:
            download.release(source, first, last)

        if isinstance(error, DamagedThereError) and error.piece is not None:
            with work.state:
                source.note_wrong_piece(job.entry.key, error.piece, error)
        work.record_failure(source, job.entry, error, request, give_back=give_back)
    else:
        download.release(source, first, last)


def _reads_on(work: Work, source: SourceState, download: Download) -> bool:
    """Whether to take the whole file that a source sends instead of a range: not the first time,
    which may be an accident, and not on two connections.
    """
    with work.state:
        source.note_ignored_range()
    if source.ranges:
        raise UnreachableError(f"{source.name} ignored the range of {download.entry.path!r}")
    return download.give_all(source)


def _deliver(
    work: Work,
    source: SourceState,
    job: Job,
    download: Download,
    reader: RangeReader,
    *,
    stop: int,
) -> None:
    buffer = memoryview(bytearray(merkle.PIECE))
    position = reader.start
    while position < stop and job.plan.admits(source):
        piece = buffer[: min(merkle.PIECE, download.size - position)]
        index = position // merkle.PIECE
        with download.showing(index, piece) as came_so_far:
            work.read(source, reader, piece, job, came_so_far)
            download.accept(source, index, piece)
        with work.state:
            source.record_success(len(piece), job.entry.key)
        work.progress(job, len(piece), source.name)
        position += len(piece)


def receive(work: Work, job: Job) -> None:
    """Fetches a larger file; with another plan if the first proves wrong."""
    again = True
    while again:
        if work.coordinator is not None:
            work.coordinator.await_plan(job)
        if work.stop or job.finished:
            return
        again = _receive(work, job)


def _receive(work: Work, job: Job) -> bool:
    """Fetches a file as its plan says; whether to start again with another plan."""
    partial = _open_partial(work, job)
    if partial is None:
        return False
    with partial:
        if work.already_here(job):
            partial.discard()
            return False
        begun = _begin(work, job, partial)
        if begun is None:
            return False
        download, salvaged = begun
        try:
            if work.coordinator is not None:
                work.coordinator.download_opened(job)
            if job.plan.is_plain:
                _take_plain(work, job, download)
            else:
                _take_capsule(work, job, download)
        except PlanChangedError as error:
            _log.debug("%s: download restarted: %s", job.entry.path, error)
            job.plan = CLOSED
            return True
        except OutlastError:
            if job.error is None and not work.stop:
                raise  # the disk's fault, or a cancellation: not this job's alone
        finally:
            with work.state:
                job.download = None if isinstance(download.error, PlanChangedError) else download
            download.close()
            if salvaged and job.error is not None:
                _drop_salvaged(work, job, partial, salvaged)
    return False


def _begin(work: Work, job: Job, partial: Partial) -> tuple[Download, set[int]] | None:
    """The download of a job, and the pieces of it that were copied here; None where the job ended
    meanwhile.
    """
    plan, salvaged = _salvaged(work, job, partial)
    download = Download(job.entry, partial, plan, work.tuning)
    with work.state:
        if not work.stop and not job.finished:
            job.download = download
            work.state.notify_all()
            return download, salvaged
    if salvaged and job.error is not None:
        _drop_salvaged(work, job, partial, salvaged)
    return None


def _salvaged(work: Work, job: Job, partial: Partial) -> tuple[FetchPlan, set[int]]:
    """The plan of a job, with what is known here; the partial of a damaged file gets what is right
    of it first: these pieces.
    """
    plan, blob = job.plan, job.damaged
    if blob is None:
        return plan, set()
    if not plan.is_plain:
        if plan.tree is None:
            return plan, set()
        return plan, salvage_capsule(work.archive, blob, partial, plan.tree, work.cancel)
    tree = plan.tree or noted_tree(work.archive, blob, job.entry.size)
    found = salvage(work.archive, blob, partial, tree, work.cancel)
    return replace(plan, tree=tree), found


def _drop_salvaged(work: Work, job: Job, partial: Partial, salvaged: set[int]) -> None:
    """A file that no source could complete leaves no second copy of itself: what came goes into
    another partial, and what lies here anyway goes. The old file stays as it is for its readers.
    """
    came = [index for index, have in enumerate(partial.have) if have and index not in salvaged]
    partial.discard()
    buffer = memoryview(bytearray(merkle.PIECE))
    if came:
        # Another process may fetch the file now; a full disk costs that what came comes again.
        with (
            contextlib.suppress(BusyError, StorageError),
            work.archive.partial(job.entry, job.plan.payload) as anew,
        ):
            for index in came:
                anew.write(index, partial.read(index, buffer))


def _open_partial(work: Work, job: Job) -> Partial | None:
    """None if the file came meanwhile."""
    try:
        while True:
            try:
                return work.archive.partial(job.entry, job.plan.payload)
            except BusyError:  # another process fetches it: ours when it is done or dead
                if work.stop or job.finished or work.already_here(job):
                    return None
                if not job.locked_since:
                    job.locked_since = time.monotonic()
                    _log.debug("%s: another process fetches it", job.entry.path)
                work.cancel.wait(work.tuning.idle)
    finally:
        job.locked_since = 0.0


def _take_plain(work: Work, job: Job, download: Download) -> None:
    """Keeps verified bytes in the form that pays. The plain bytes are written once."""
    partial = download.partial
    blob = OpenFile(partial.fd, job.entry.size)
    cards = None if job.is_card else work.cards  # it does not wait for itself
    follower = Follower(work.intake, blob, work.has_space, cards)
    try:
        if work.watch is not None:
            work.watch(download)
        names = _verify(work, job, download, follower)
        capsule = follower.finish(names, work.check)
        download.settle()
        with work.storing_bytes():
            if capsule is not None and capsule.publish(names.sha256):
                partial.discard()
            else:
                partial.finish(work.writer, names.sha256, names.sums)
            work.finish(job, names)
    finally:
        follower.close()


def _take_capsule(work: Work, job: Job, download: Download) -> None:
    """Keeps the capsule that came, if it restores the file."""
    partial, entry = download.partial, job.entry
    with CapsuleCheck(work.archive, download) as check:
        for count, _ in enumerate(download.pieces(work.cancel), 1):
            work.check()
            check.advance(count, work.cancel)
            if check.problem is not None:
                break
    download.settle()
    names, problem = check.names, check.problem
    if names is None or problem is not None:
        partial.discard()
        _reject(work, job, f"what came as the capsule of {entry.path} is another: {problem}")
    partial.seal()
    with work.storing_bytes():
        if work.writer.publish_capsule(partial.path, names.sha256, entry.size, download.tree):
            partial.drop_journal()
        else:
            partial.discard()
        work.finish(job, names)


def _reject(work: Work, job: Job, reason: str) -> NoReturn:
    """A payload restores something else: the file comes as another, or fails."""
    if work.coordinator is not None and work.coordinator.reject_payload(job, reason):
        raise PlanChangedError(reason)
    raise IntegrityError(reason)


def _verify(work: Work, job: Job, download: Download, follower: Follower) -> Names:
    """Waits for the whole file and verifies it, until it is right or a liar is found."""
    while True:
        names = download.hash(work.cancel, follower.advance)
        problem = download.verdict(names)
        if problem is None:
            with work.state:
                for liar in download.liars():
                    error = IntegrityError(f"{liar.name} sent other bytes than the verified ones")
                    liar.ban(error, download.entry.path)
            return names
        follower.restart()
        if download.tree is not None and download.tree.root != job.entry.merkle_root:
            download.settle()
            download.partial.discard()
            _reject(work, job, f"what came as {job.entry.path} is another: {problem}")
        guilty = download.find_liar()
        with work.state:
            if guilty is not None:
                guilty.ban(
                    IntegrityError(f"{guilty.name} served wrong bytes as {problem}"),
                    download.entry.path,
                )
            work.fail_unreachable_jobs()
            work.state.notify_all()
