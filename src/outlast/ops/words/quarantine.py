"""Quarantine: which files of a model other programs do not get, and which the operator allows."""

import datetime as dt
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from outlast.core.digest import Digest
from outlast.core.errors import EntryNotFoundError
from outlast.core.manifest import FileEntry, Revision
from outlast.core.names import RepoId, Target
from outlast.intake.formats.allowed import AllowedFile, AllowedUnsafe
from outlast.intake.formats.quarantine import twin_of
from outlast.intake.formats.withheld import unsafe_files
from outlast.store.archive import Archive


@dataclass(frozen=True, slots=True)
class QuarantinedFile:
    """A file of a revision that other programs do not get, and why; unless it is `allowed`. `twin`
    is the file of the same revision to use in its place.
    """

    repo: RepoId
    entry: FileEntry
    reason: str
    twin: str = ""
    allowed: bool = False


def in_quarantine(archive: Archive, target: Target) -> list[QuarantinedFile]:
    """The files of a revision that are unsafe, by path. Raises what reading them raises."""
    revision = archive.revision(target.repo, target.ref)
    here = [entry for entry in revision.files if archive.lies_here(entry)]
    allowed = AllowedUnsafe(archive.layout.home).digests()
    unsafe = unsafe_files(archive, here)
    entries = {entry.path: entry for entry in here}
    return [_file(revision, entries[path], str(unsafe[path]), allowed) for path in sorted(unsafe)]


def _file(
    revision: Revision, entry: FileEntry, reason: str, allowed: Collection[Digest]
) -> QuarantinedFile:
    twin = twin_of(entry, revision.files)
    return QuarantinedFile(
        revision.repo, entry, reason, "" if twin is None else twin.path, entry.sha256 in allowed
    )


def allowed_files(archive: Archive) -> list[AllowedFile]:
    """What the operator allows."""
    return AllowedUnsafe(archive.layout.home).all()


def allow(archive: Archive, digests: Sequence[Digest], day: dt.date) -> list[AllowedFile]:
    """Allows files by their digests, also such as are not here yet; what is known of them."""
    known = AllowedUnsafe(archive.layout.home)
    known.allow([(digest, _named(archive, digest)) for digest in digests], day)
    return [one for one in known.all() if one.digest in digests]


def undo(archive: Archive, digests: Sequence[Digest]) -> list[AllowedFile]:
    """Allows them no more. Raises :class:`EntryNotFoundError`, and changes nothing, where one of
    them is not allowed.
    """
    known = AllowedUnsafe(archive.layout.home)
    found = [one for one in known.all() if one.digest in digests]
    strange = set(digests) - {one.digest for one in found}
    if strange:
        first = min(strange, key=str)
        raise EntryNotFoundError(
            f"{first} is not allowed", hint="'outlast quarantine ls' lists what is"
        )
    known.undo(digests)
    return found


def _named(archive: Archive, digest: Digest) -> str:
    """A name that the bytes have here."""
    owners = sorted(archive.index.owners(digest), key=str)
    for repo in owners:
        for commit in archive.commits(repo):
            revision = archive.load(repo, commit)
            for entry in () if revision is None else revision.files:
                if entry.sha256 == digest:
                    return f"{repo} {entry.path}"
    return "not here when it was allowed"
