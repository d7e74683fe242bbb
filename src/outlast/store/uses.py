"""Which files of which models a blob is: what people know it by."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

from outlast.core.digest import Digest, GitOid
from outlast.core.errors import DamagedError, OutlastError
from outlast.core.manifest import FileEntry
from outlast.core.names import RepoId
from outlast.store.archive import Archive
from outlast.store.index import load_manifest


@dataclass(frozen=True, slots=True)
class BlobUse:
    """Where a blob belongs: a file of a revision that is here."""

    repo: RepoId
    commit: GitOid
    entry: FileEntry

    def __str__(self) -> str:
        return f"{self.repo}: {self.entry.path}"


def places_of(archive: Archive, blob: Digest) -> list[BlobUse]:
    """The files here that are a blob, those of models that are for everybody first."""
    # Drafts first: another process may complete one now, and then its manifest is here.
    drafts = [state.revision for state in archive.drafts.states()]
    revisions = [draft for draft in drafts if draft is not None]
    for manifest, _ in archive.index.uses([blob]):
        try:
            revisions.append(load_manifest(archive.layout, manifest))
        except (OutlastError, FileNotFoundError):  # damaged itself, or replaced meanwhile
            continue
    found = [
        BlobUse(revision.repo, revision.id, entry)
        for revision in revisions
        for entry in revision.files
        if entry.sha256 == blob
    ]
    return sorted(found, key=lambda place: not archive.refs.about(place.repo).is_open)


def file_name(archive: Archive, blob: Digest) -> str:
    """The name of a blob for people: a file of a model, and how many others it is; else the
    beginning of its sha256.
    """
    names = list(dict.fromkeys(map(str, places_of(archive, blob))))
    if not names:
        return f"blob {blob.short}…"
    more = f" (and {len(names) - 1} more)" if len(names) > 1 else ""
    return names[0] + more


@contextlib.contextmanager
def naming(repo: RepoId, entry: FileEntry) -> Iterator[None]:
    """Damage that is found meanwhile is told by the name of the file."""
    try:
        yield
    except DamagedError as error:
        raise DamagedError(f"{repo}: {entry.path}: {error}") from error
