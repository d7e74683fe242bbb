"""Fetching many files from several sources at once, verified before they are acknowledged.

Each source has its own connections, and each connection asks for the next pieces when it is done
with the last: so sources share the work in proportion to their speed. Small files are fetched
whole, in memory; larger ones go through a partial that survives a crash.
"""

import itertools
import time
from collections.abc import Iterable

from outlast.core.errors import OutlastError
from outlast.core.manifest import FileEntry
from outlast.fetch.large_files import fetch_pieces, receive
from outlast.fetch.plan import CLOSED
from outlast.fetch.small_files import fetch_small, take_empty
from outlast.fetch.source_state import SourceState
from outlast.fetch.transfer import Job, Work


def transfer(work: Work, entries: Iterable[FileEntry], connections: int) -> list[OutlastError]:
    """Fetches `entries` on so many connections, over all sources; returns the errors of those that
    did not come. Raises when cancelled, or when the disk or outlast itself fails.
    """
    work.jobs = [Job(entry, small=entry.size <= work.small_file) for entry in entries]
    work.unfinished = len(work.jobs)
    for job in work.jobs:
        if not job.entry.size:
            take_empty(work, job)
    if work.coordinator is not None:
        for job in work.jobs:
            job.plan = CLOSED
            job.small &= work.coordinator.http
        work.spawn(work.coordinator.run)
    per_source = max(2, -(-connections // max(1, len(work.sources))))
    for source in work.sources:
        open_source(work, source, per_source)
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
        job, span = task
        if job.small:
            fetch_small(work, source, job)
        else:
            fetch_pieces(work, source, job, span)


def _next_task(work: Work, source: SourceState) -> tuple[Job, tuple[int, int]] | None:
    _start(work)
    active = 0
    for job in itertools.islice(work.jobs, work.first_open, None):
        if job.finished or not source.serves(job.entry.key) or not job.plan.admits(source):
            continue
        if job.small:
            if not job.started:
                job.started = True
                return job, (0, 0)
            continue
        active += 1
        if job.download is not None and (span := job.download.take(source)) is not None:
            return job, span
        if active >= work.tuning.active_files:
            return None
    return None


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
