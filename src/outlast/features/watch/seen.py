"""What this archive has seen of models, from the history of changes and from its own records."""

import datetime as dt
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, TypeAlias

from outlast.core.digest import GitOid
from outlast.core.errors import UsageError
from outlast.core.names import RepoId
from outlast.features.watch.changes import Change, ChangeKind
from outlast.features.watch.follows import FOLDER
from outlast.features.watch.memory import Memory
from outlast.ops.listing import list_revisions
from outlast.store.archive import Archive
from outlast.store.records.facts import About

_MEMORY: Final = "watch.sqlite"
What: TypeAlias = ChangeKind | Literal["archived", "withdrawn", "notice"]


@dataclass(frozen=True, slots=True)
class Seen:
    """One line of the log: what was noticed `when` (ISO 8601, UTC), at which hub (empty: in this
    archive alone). `change` is what `watch` saw, if it was that which saw it.
    """

    when: str
    hub: str
    repo: RepoId | None
    what: What
    ref: str = ""
    commit: GitOid | None = None
    reason: str = ""
    change: Change | None = None


def seen(home: Path, archive: Archive, repo: RepoId | None, since: str) -> list[Seen]:
    """All of it, or what is of `repo`, from `since` on (ISO 8601, UTC; empty: all), the oldest
    first.
    """
    if repo is not None:
        repo = archive.refs.spelling(repo)
    found = [*_history(home, repo, since), *_known(archive, repo)]
    return sorted((one for one in found if one.when >= since), key=lambda one: one.when)


def moment(text: str) -> str:
    """A day or a moment that a user wrote, as moments are noted (UTC). Raises
    :class:`UsageError`.
    """
    try:
        found = dt.datetime.fromisoformat(text)
        aware = found if found.tzinfo is not None else found.replace(tzinfo=dt.UTC)
        return aware.astimezone(dt.UTC).isoformat(timespec="seconds")
    except (ValueError, OverflowError):
        raise UsageError(
            f"not a date: {text[:100]!r}", hint="write 2030-01-31 or 2030-01-31T14:00+01:00"
        ) from None


def _history(home: Path, repo: RepoId | None, since: str) -> Iterator[Seen]:
    """What `watch` saw. An archive that never watched gets no file by that question."""
    if not (home / FOLDER / _MEMORY).exists():
        return
    with Memory.open(home) as memory:
        for change in memory.history(repo, since or None):
            yield Seen(
                change.when,
                change.hub,
                change.repo,
                change.kind,
                change.ref,
                reason=change.reason,
                change=change,
            )


def _known(archive: Archive, repo: RepoId | None) -> Iterator[Seen]:
    """What the archive's own records say. (No name has a character of globs.)"""
    told: set[RepoId] = set() if repo is None else {repo}
    for line in list_revisions(archive, () if repo is None else (str(repo),)).lines:
        revision = line.summary
        told.add(revision.repo)
        when = line.date.isoformat(timespec="seconds")
        refs = [ref for ref in archive.refs.list(revision.repo) if ref.name in line.refs]
        for ref in refs:
            at = ref.observed or when
            commit = revision.revision
            yield Seen(at, ref.source, revision.repo, "archived", ref.name, commit)
        if not refs:
            yield Seen(when, "", revision.repo, "archived", commit=revision.revision)
    for name in told:
        yield from _noted(name, archive.refs.about(name))


def _noted(repo: RepoId, about: About) -> Iterable[Seen]:
    """What was found withdrawn when it was asked for, and what the operator noted."""
    reasons = about.withdrawn_reasons
    for what, since in about.withdrawn.items():
        hub, _, path = what.partition(" ")
        reason = " ".join(filter(None, (path, reasons.get(what, ""))))
        yield Seen(since, hub, repo, "withdrawn", reason=reason)
    if (notice := about.notice) is not None:
        yield Seen(notice.since, "", repo, "notice", reason=notice.reason)
