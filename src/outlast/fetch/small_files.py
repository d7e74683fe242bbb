"""Small files: fetched in one request, verified in memory."""

from outlast.codec.hashing import names_of
from outlast.core.errors import IntegrityError
from outlast.fetch.concurrency import Request
from outlast.fetch.job import Job
from outlast.fetch.source_state import SOURCE_FAULTS, SourceState
from outlast.fetch.transfer import Work
from outlast.intake.capsule_stream import put


def take_empty(work: Work, job: Job) -> None:
    """A file without bytes needs no source."""
    entry, names = job.entry, names_of(b"")
    if (problem := entry.mismatch(names)) is not None:
        with work.state:
            work.fail(job, IntegrityError(f"{entry.path} cannot be empty: {problem}"))
        return
    with work.storing_bytes():
        put(work.intake, bytearray(), names)
        work.finish(job, names)


def fetch_small(work: Work, source: SourceState, job: Job, request: Request) -> None:
    entry = job.entry
    if work.already_here(job):
        return
    try:
        data = bytearray(entry.size)
        if entry.size:
            reader = work.ask(source, request, entry, (0, entry.size))
            try:
                work.read(source, reader, memoryview(data), job)
            finally:
                reader.close()
        names = names_of(data)
        if (problem := entry.mismatch(names)) is not None:
            raise IntegrityError(f"{source.name} served wrong bytes as {entry.path}: {problem}")
    except SOURCE_FAULTS as error:

        def give_back() -> None:
            if job.taker is source:
                job.started = False

        work.record_failure(source, entry, error, request, give_back=give_back)
        return
    source.concurrency.end(request)
    with work.state:
        source.record_success(entry.size, entry.key)
        if job.finished or job.ended:
            return  # it took so long that another source was asked, which was quicker
    work.progress(job, entry.size, source.name)
    with work.storing_bytes():
        put(work.intake, data, names)
        work.finish(job, names)
