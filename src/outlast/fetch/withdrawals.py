"""What sources withdrew, and since when this archive knows: noted with what hubs say of a model."""

import contextlib
import datetime as dt
from collections.abc import Iterator, Sequence

from outlast.core.errors import DamagedRecordError, WithdrawnError
from outlast.core.events import Emit, Event, SourceWithdrew
from outlast.core.names import RepoId
from outlast.store.archive import Archive


@contextlib.contextmanager
def noting_withdrawals(
    archive: Archive, repo: RepoId, emit: Emit, *, keep: bool = True
) -> Iterator[Emit]:
    """Gives an `Emit` that passes everything on to `emit`, and notes in the archive which source
    withdraws files of `repo`, or all of it, in the block; a note that is there already stays.

    Models of which the archive knows nothing get no note. A :class:`WithdrawnError` that leaves
    the block says since when the archive knows. `keep` is false in a dry run.
    """
    seen: list[SourceWithdrew] = []

    def hear(event: Event) -> None:
        if isinstance(event, SourceWithdrew):
            seen.append(event)
        emit(event)

    try:
        yield hear
    except WithdrawnError as error:
        _note(archive, repo, seen if keep else ())
        since = _since(archive, repo, seen, error)
        if not since:
            raise
        text = f"{error}; known here since {since}"
        raise WithdrawnError(text, hint=error.hint) from error
    except BaseException:
        _note(archive, repo, seen if keep else ())
        raise
    _note(archive, repo, seen if keep else ())


def _note(archive: Archive, repo: RepoId, seen: Sequence[SourceWithdrew]) -> None:
    if not seen:
        return
    try:
        about = archive.refs.stored_about(repo)
    except DamagedRecordError:
        return  # `verify` tells of it
    if about is None:
        return
    now = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
    with archive.writer() as writer:
        for event in seen:
            about = about.with_withdrawn(event.source, event.path, now, event.reason)
        archive.refs.put_about(writer, repo, about)


def _since(
    archive: Archive, repo: RepoId, seen: Sequence[SourceWithdrew], error: WithdrawnError
) -> str:
    """When the archive learned first of what `error` says; empty if it has no note."""
    for event in seen:
        if event.reason == str(error):
            return archive.refs.about(repo).withdrawn_since(event.source, event.path)
    return ""
