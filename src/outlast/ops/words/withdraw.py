"""Withdraw: record a takedown notice against a model, stop giving it out, or lift the notice.

The bytes stay. The notice lies with what is known of the model, in two copies; what decides who
gets what (`node.policy`, `mirror.access`, `ops.share`) reads it there.
"""

import datetime as dt
from dataclasses import dataclass
from typing import Final

from outlast.core.errors import RepoNotFoundError, UsageError
from outlast.core.names import RepoId
from outlast.store.archive import Archive
from outlast.store.records.facts import Notice

MAX_REASON: Final = 500
"""Characters."""


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """The notice of a model before and after."""

    repo: RepoId
    before: Notice | None
    after: Notice | None


def withdraw(
    archive: Archive, repo: RepoId, reason: str, *, stop: bool, now: dt.datetime, dry_run: bool
) -> Withdrawn:
    """Records a notice with its `reason`; with `stop` the model is not given out from now on.
    A notice that is there keeps its date, and what it stopped stays so. Raises
    :class:`RepoNotFoundError` of a model that the archive knows nothing of.
    """
    text = " ".join(reason.split())
    if not text or len(text) > MAX_REASON or not text.isprintable():
        raise UsageError(
            "a reason is a text of one line", hint=f"write --reason TEXT of up to {MAX_REASON}"
        )
    repo, before = _known(archive, repo)
    since = before.since if before is not None else now.isoformat(timespec="seconds")
    stopped = stop or (before is not None and before.stopped)
    return _put(archive, Withdrawn(repo, before, Notice(since, text, stopped)), dry_run=dry_run)


def lift(archive: Archive, repo: RepoId, *, dry_run: bool) -> Withdrawn:
    """Takes the notice of a model away. Raises :class:`RepoNotFoundError` where there is none."""
    repo, before = _known(archive, repo)
    if before is None:
        raise RepoNotFoundError(
            f"there is no notice against {repo}", hint=f"'outlast log {repo}' tells what was noted"
        )
    return _put(archive, Withdrawn(repo, before, None), dry_run=dry_run)


def _known(archive: Archive, repo: RepoId) -> tuple[RepoId, Notice | None]:
    """A model in the archive's spelling, and its notice."""
    repo = archive.refs.spelling(repo)
    if archive.refs.stored_about(repo) is None and not archive.commits(repo):
        raise RepoNotFoundError(f"the archive has no {repo}", hint="'outlast ls' lists the models")
    return repo, archive.refs.about(repo).notice


def _put(archive: Archive, found: Withdrawn, *, dry_run: bool) -> Withdrawn:
    if not dry_run:
        with archive.writer() as writer:
            about = archive.refs.about(found.repo).with_notice(found.after)
            archive.refs.put_about(writer, found.repo, about)
            archive.refs.tidy(found.repo)
    return found
