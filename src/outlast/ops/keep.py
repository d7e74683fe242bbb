"""Keep: archive what a keep-list names, and compare the archive with it."""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from outlast.core.control import Control
from outlast.core.digest import GitOid
from outlast.core.errors import (
    Cancelled,
    DiskFullError,
    IntegrityError,
    NotFoundError,
    OutlastError,
    PolicyError,
    StorageError,
    TransientError,
    UsageError,
)
from outlast.core.keep_list import KeepLine
from outlast.core.names import RepoId, Target, plain_ref
from outlast.fetch.tuning import TUNING as FETCH_TUNING
from outlast.ops.pull import Pulled
from outlast.store import disk
from outlast.store.archive import MIN_PREFIX, Archive
from outlast.store.records.refs import Ref, RefsRead

_log = logging.getLogger(__name__)
_HEX: Final = frozenset("0123456789abcdef")
_ADOPTED: Final = "cache"
"""The source that `ops.adopt` notes."""
WORST_FIRST: Final = (
    Cancelled,
    StorageError,
    IntegrityError,
    OutlastError,
    PolicyError,
    NotFoundError,
    UsageError,
    TransientError,
)
"""Which error decides the exit status: what needs a person soonest. What passes by itself is last;
OutlastError stands for the families that are not named.
"""


class Change(StrEnum):
    """What a run did to a model of the list. `COMPLETED`: the commit is the one that was here, and
    files that were missing came. `SKIPPED`: the run ended before its turn.
    """

    NEW = "new"
    UPDATED = "updated"
    COMPLETED = "completed"
    UNCHANGED = "unchanged"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Kept:
    """What became of a line. `before` is the commit that its ref named when the run began. There is
    either a result or, where it failed, an error; neither where it was skipped.
    """

    line: KeepLine
    change: Change
    before: GitOid | None = None
    pulled: Pulled | None = None
    error: OutlastError | None = None


@dataclass(frozen=True, slots=True)
class Left:
    """A model (without a ref), or one ref of it, that the list does not name. `kept` says why it is
    not to be removed: it may be the only copy. Empty if it may be.
    """

    target: Target
    kept: str = ""


class _Before:
    """What the archive named when the run began."""

    def __init__(self, archive: Archive) -> None:
        self._refs = {
            (repo, ref.name): ref.commit
            for repo in archive.refs.repos()
            for ref in archive.refs.read(repo).refs
        }
        self._commits = {(line.repo, line.revision) for line in archive.summaries()}

    def commit(self, repo: RepoId, ref: str, now: GitOid) -> GitOid | None:
        """The commit that `ref` named; `now` is the one that it names now."""
        if _is_commit(ref, now):
            return now if (repo, now) in self._commits else None
        return self._refs.get((repo, ref))


def keep(
    archive: Archive,
    lines: Sequence[KeepLine],
    pull: Callable[[KeepLine], Pulled],
    control: Control,
) -> Iterator[Kept]:
    """Archives what each line names, with `pull`, one after the other. A line that fails does not
    stop the others; a disk that is full and a caller who cancels do: the lines that are left are
    skipped. (A model that does not fit is no full disk, while there is room for others.)
    """
    before = _Before(archive)
    stopped = False
    for line in lines:
        if stopped:
            yield Kept(line, Change.SKIPPED)
            continue
        try:
            control.cancel.check()
            pulled = pull(line)
        except OutlastError as error:
            _log.info("line %d: %s failed: %s", line.number, line.target, error)
            stopped = isinstance(error, Cancelled) or _fills_disk(archive, error)
            yield Kept(line, Change.FAILED, error=error)
            continue
        plan = pulled.plan
        old = before.commit(plan.repo, plan.ref, plan.commit)
        yield Kept(line, _change(old, pulled), old, pulled)


def _fills_disk(archive: Archive, error: OutlastError) -> bool:
    return (
        isinstance(error, DiskFullError)
        and disk.free_bytes(archive.layout.home) < FETCH_TUNING.reserve
    )


def _change(before: GitOid | None, pulled: Pulled) -> Change:
    if before is None:
        return Change.NEW
    if before != pulled.plan.commit:
        return Change.UPDATED
    return Change.COMPLETED if pulled.plan.to_fetch else Change.UNCHANGED


def exit_status(kept: Iterable[Kept]) -> int:
    """0 if all is well, else that of the error that is worst."""
    errors = [one.error for one in kept if one.error is not None]
    return min(errors, key=_rank).exit_code if errors else 0


def _rank(error: OutlastError) -> int:
    named = [kind for kind in WORST_FIRST if kind is not OutlastError]
    kind = next((kind for kind in named if isinstance(error, kind)), OutlastError)
    return WORST_FIRST.index(kind)


def left_list(archive: Archive, lines: Sequence[KeepLine]) -> list[Left]:
    """What is here and the list does not name: models, and refs of models that it names. Older
    commits of a ref that moved count as named.
    """
    asked: dict[RepoId, list[str]] = {}
    for line in lines:
        asked.setdefault(archive.refs.spelling(line.target.repo), []).append(line.ref)
    found: list[Left] = []
    for repo in sorted({line.repo for line in archive.summaries()} | {*archive.refs.repos()}):
        read = archive.refs.read(repo)
        if repo not in asked:
            found.append(Left(Target(repo, None), _why_kept(archive, repo, read)))
            continue
        refs = [ref.name for ref in read.refs if not _is_asked(ref, asked[repo])]
        if refs:
            why = _why_kept(archive, repo, read)
            found += [Left(Target(repo, name), why) for name in refs]
    return found


def _why_kept(archive: Archive, repo: RepoId, read: RefsRead) -> str:
    """Why what is here of a model may be the only copy; empty if a source is likely to have it."""
    about = archive.refs.about(repo)
    sources = {ref.source for ref in read.refs}
    if read.damaged:
        return "a ref of it is damaged"
    if about.withdrawn:
        return "a source has withdrawn it"
    if about.links or "" in sources:
        return "it was added here, or came by a link or digest"
    if _ADOPTED in sources:
        return "it was adopted from a cache"
    return "" if sources or about.pinned else "where it came from is not known"


def _is_asked(ref: Ref, asked: Iterable[str]) -> bool:
    return any(
        ref.name in (name, plain_ref(name)) or _is_commit(name, ref.commit) for name in asked
    )


def _is_commit(ref: str, commit: GitOid) -> bool:
    """Whether `ref` is this commit's id, or the beginning of it."""
    return len(ref) >= MIN_PREFIX and set(ref) <= _HEX and commit.hex.startswith(ref)
