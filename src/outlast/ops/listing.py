"""What is there: the figures behind ``ls`` and ``show``."""

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from outlast.model.digest import Digest
from outlast.model.manifest import FileEntry, Revision
from outlast.model.names import RepoId, Target
from outlast.store.archive import Archive
from outlast.store.index import Summary
from outlast.store.refs import About, Ref


@dataclass(frozen=True, slots=True)
class Line:
    """A revision with the refs that name it."""

    summary: Summary
    refs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Details:
    """One revision in full. `shared` counts bytes that other revisions hold too, `absent` are
    files whose bytes should be here and are not.
    """

    revision: Revision
    manifest: Digest | None
    refs: tuple[Ref, ...]
    about: About
    shared: int
    absent: tuple[FileEntry, ...]


def list_revisions(archive: Archive, patterns: Sequence[str] = ()) -> list[Line]:
    """Every revision whose model matches one of the globs `patterns`."""
    refs: dict[RepoId, list[Ref]] = {}
    lines = []
    for summary in archive.summaries():
        repo = summary.repo
        if patterns and not any(fnmatchcase(str(repo), pattern) for pattern in patterns):
            continue
        if repo not in refs:
            refs[repo] = archive.refs.list(repo)
        names = tuple(ref.name for ref in refs[repo] if ref.commit == summary.revision)
        lines.append(Line(summary, names))
    return lines


def show(archive: Archive, target: Target) -> Details:
    """Everything that the archive knows of one revision."""
    revision = archive.revision(target.repo, target.ref)
    digests = [e.sha256 for e in revision.files if e.sha256 is not None]
    sizes = {e.key: e.size for e in revision.files}
    drafted = archive.drafts.exists(revision.repo, revision.id)
    users = archive.index.users(set(digests))
    shared = sum(sizes[name] for name, count in users.items() if count > (0 if drafted else 1))
    refs = [ref for ref in archive.refs.list(revision.repo) if ref.commit == revision.id]
    return Details(
        revision=revision,
        manifest=None if drafted else revision.digest,
        refs=tuple(refs),
        about=archive.refs.about(revision.repo),
        shared=shared,
        absent=tuple(e for e in revision.files if not archive.holds(e)),
    )
