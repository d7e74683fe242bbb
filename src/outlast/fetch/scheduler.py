"""Fetching many files from several sources at once, verified before they are acknowledged.

Each source has its share of the connections, and each connection asks for the next pieces when it
is done with the last: so sources share the work in proportion to their speed. How many of them are
used is learned, in `fetch.concurrency`. Small files are fetched
whole, in memory; larger ones go through a partial that survives a crash.
"""

import itertools
import time
from collections.abc import Iterable

from outlast.core.errors import OutlastError
from outlast.core.manifest import FileEntry
from outlast.fetch.concurrency import Request
from outlast.fetch.download import Download
from outlast.fetch.job import Job
from outlast.fetch.large_files import fetch_pieces, receive
from outlast.fetch.plan import CLOSED
from outlast.fetch.small_files import fetch_small, take_empty
from outlast.fetch.source_state import SourceState
from outlast.fetch.transfer import Work


def transfer(work: Work, entries: Iterable[FileEntry]) -> list[OutlastError]:
    """Fetches `entries`; returns the errors of those that
    did not come. Raises when cancelled, or when the disk or outlast itself fails.
    """
    work.begin([Job(entry, small=entry.size <= work.small_file) for entry in entries])
    for job in work.jobs:
        if not job.entry.size:
            take_empty(work, job)
    if work.coordinator is not None:
        for job in work.jobs:
            job.plan = CLOSED
            job.small &= work.coordinator.http
        work.spawn(work.coordinator.run)
    for source in work.sources:
        open_source(work, source, work.connections)
    try:
        _wait(work)
    finally:
        work.end()
    if work.coordinator is not None:
        work.coordinator.await_end()
    return [job.error for job in work.jobs if job.error is not None and not job.aside]


def open_source(work: Work, source: SourceState, connections: int) -> None:
    """Begins to ask a source."""
    for _ in range(connections):
        work.spawn(_connect, work, source)


def _wait(work: Work) -> None:
    with work.state:
        work.fail_unreachable_jobs()
        while work.unfinished:
            _start(work)
            work.state.wait(work.tuning.idle)
            if work.crash is not None:
                raise work.crash
            work.cancel.check()


def _connect(work: Work, source: SourceState) -> None:
    idle = work.tuning.idle
    while True:
        with work.state:
            task = None
            while task is None:
                if work.stop or work.crash is not None or source.lost is not None:
                    work.state.notify_all()
                    return
                work.cancel.check()
                pause = source.not_before - time.monotonic()
                task = _next_task(work, source) if pause <= 0 else None
                if task is None:
                    work.state.wait(min(max(pause, 0.01), idle) if pause > 0 else idle)
        job, span, request = task
        try:
            if job.small:
                fetch_small(work, source, job, request)
            else:
                fetch_pieces(work, source, job, span, request)
        finally:
            work.returned(source, request)


_Task = tuple[Job, tuple[int, int], Request]
"""What to fetch, which of its pieces, and the request that may be sent for them."""


def _next_task(work: Work, source: SourceState) -> _Task | None:
    _start(work)
    if source.failing or source.concurrency.is_full or not work.has_room(source):
        return None
    task = _find_task(work, source)
    if task is not None:
        source.under_way += 1
    return task


def _find_task(work: Work, source: SourceState) -> _Task | None:
    solo, now = source.concurrency.solo, time.monotonic()
    active, late = 0, None
    for job in itertools.islice(work.jobs, work.first_open, None):
        key = job.entry.key
        if job.finished or not source.serves(key) or not job.plan.admits(source):
            continue
        if (solo is not None and solo != key) or not source.is_due(key, now):
            continue
        if job.small:
            if not job.started:
                if work.awaits_cards(job):
                    continue
                request = source.concurrency.send(key)
                if request is None:
                    return None
                job.started, job.taker = True, source
                job.taken_at, job.doubled = now, False
                return job, (0, 0), request
            late = late or (job if _is_late(work, source, job, now) else None)
            continue
        active += 1
        if job.download is not None and (found := _take(source, job, job.download)) is not None:
            return found
        if active >= work.tuning.active_files:
            break
    return None if late is None else _double(source, late)


def _is_late(work: Work, source: SourceState, job: Job, now: float) -> bool:
    """Whether a small file is slow to come from another source: that may be enough for no error,
    and take an hour.
    """
    slow = now - job.taken_at > work.tuning.small_hedge_after
    return slow and not job.doubled and job.taker not in (None, source)


def _double(source: SourceState, job: Job) -> _Task | None:
    """A small file from a second source; the first that has all of it wins."""
    request = source.concurrency.send(job.entry.key)
    if request is None:
        return None
    job.taker, job.doubled = source, True
    return job, (0, 0), request


def _take(source: SourceState, job: Job, download: Download) -> _Task | None:
    """Pieces of a larger file."""
    key = job.entry.key
    span = download.take(source) if source.concurrency.may_send(key) else None
    if span is None:
        return None
    request = source.concurrency.send(key)
    if request is None:  # another transfer of this process was quicker
        download.release(source, *span)
        return None
    return job, span, request


def _start(work: Work) -> None:
    """Starts the next larger files. A file without a plan counts apart, so that others need not
    wait for it.
    """
    while work.first_open < len(work.jobs) and work.jobs[work.first_open].finished:
        work.first_open += 1
    active = waiting = 0
    for job in itertools.islice(work.jobs, work.first_open, None):
        if job.finished or job.small:
            continue
        if not job.started:
            job.started = True
            work.spawn(receive, work, job)
        if job.download is None and work.coordinator is not None:
            waiting += 1
        else:
            active += 1
        if active >= work.tuning.active_files or waiting >= work.tuning.waiting_files:
            return
