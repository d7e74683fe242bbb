"""Removing: refs and revisions by name, then whatever nothing refers to."""

from dataclasses import dataclass

from outlast.model.control import Control
from outlast.model.digest import GitOid
from outlast.model.events import Removed
from outlast.model.names import RepoId, Target
from outlast.store.archive import Archive
from outlast.store.collect import collect


@dataclass(frozen=True, slots=True)
class Collected:
    """What a garbage collection freed (or would): how many things and how many bytes."""

    count: int
    size: int


def remove(archive: Archive, target: Target, *, dry_run: bool, control: Control) -> list[Removed]:
    """Forgets what `target` names: a model with all its revisions; a commit with the refs that
    point at it; or a ref, and its revision where no other ref names that.

    Refs go first: a crash in between leaves a revision without a name, never a name without one.
    """
    repo = target.repo
    if target.ref is None:
        commits = archive.commits(repo)
        names = [ref.name for ref in archive.refs.list(repo)]
        if not commits and not names:
            archive.revision(repo)  # raises what is wrong
    else:
        names, commits = _named(archive, repo, target.ref)
    removed = [Removed("ref", f"{repo}@{name}", 0) for name in names]
    for commit in commits:
        revision = archive.load(repo, commit)
        removed.append(Removed("revision", f"{repo}@{commit}", revision.size if revision else 0))
    if not dry_run:
        for name in names:
            archive.refs.delete(repo, name)
        for commit in commits:
            archive.delete_revision(repo, commit)
    for event in removed:
        control.emit(event)
    return removed


def _named(archive: Archive, repo: RepoId, ref: str) -> tuple[list[str], list[GitOid]]:
    refs = archive.refs.list(repo)
    found = archive.refs.get(repo, ref)
    if found is not None:
        others = [r for r in refs if r.commit == found.commit and r.name != ref]
        return [ref], [] if others else [found.commit]
    commit = archive.revision(repo, ref).id
    return [r.name for r in refs if r.commit == commit], [commit]


def collect_garbage(archive: Archive, *, dry_run: bool, control: Control) -> Collected:
    """Deletes blobs and downloads that no revision refers to."""
    count = size = 0
    for garbage in collect(archive, dry_run=dry_run):
        count += 1
        size += garbage.size
        control.emit(Removed(garbage.what, garbage.name, garbage.size))
    return Collected(count, size)
