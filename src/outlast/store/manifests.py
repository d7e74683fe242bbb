"""The manifests of a revision: which there are, and which of two says more."""

from collections.abc import Callable, Iterator
from pathlib import Path

from outlast.core.digest import Digest, GitOid
from outlast.core.errors import IntegrityError, OutlastError
from outlast.core.manifest import Revision
from outlast.core.names import RepoId
from outlast.store import disk
from outlast.store.index import Index, load_manifest
from outlast.store.layout import Layout


class Manifests:
    """Those that the index names. It may be wrong, so only those are compared and deleted that say
    themselves which revision they are of.
    """

    def __init__(self, layout: Layout, index: Index) -> None:
        self._layout = layout
        self._index = index

    def load(self, repo: RepoId, revision: GitOid) -> Revision | None:
        """The revision as the first of its manifests has it."""
        digests = self._index.manifests_of(repo, revision)
        if not digests:
            return None
        with disk.reporting(self._layout.manifest(digests[0])):
            return load_manifest(self._layout, digests[0])

    def compare(self, revision: Revision) -> tuple[Digest | None, list[Digest]]:
        """Of the other manifests of this commit: one that has all that `revision` has, and those
        of which `revision` has everything. Damaged ones are left to `verify`.
        """
        worse = []
        for digest in self._index.manifests_of(revision.repo, revision.id):
            if digest == revision.digest:
                continue
            try:
                other = load_manifest(self._layout, digest)
            except (OutlastError, FileNotFoundError):
                continue
            if (other.repo, other.id) != (revision.repo, revision.id):
                continue  # the index is wrong
            if _covers(other, revision):
                return digest, []
            if _covers(revision, other):
                worse.append(digest)
        return None, worse

    def delete(
        self,
        repo: RepoId,
        revision: GitOid,
        damaged: Callable[[Path], object] = lambda _path: None,
    ) -> None:
        """Removes the manifests of a revision. One that cannot be read stays, and `damaged` is told
        where it is.
        """
        for digest in self._of(repo, revision, damaged):
            # Before what is known of its model goes.
            disk.remove_durably(self._layout.manifest(digest))

    def _of(
        self, repo: RepoId, revision: GitOid, damaged: Callable[[Path], object]
    ) -> Iterator[Digest]:
        for digest in self._index.manifests_of(repo, revision):
            try:
                found = load_manifest(self._layout, digest)
            except FileNotFoundError:
                continue
            except IntegrityError:
                damaged(self._layout.manifest(digest))
                continue
            if (found.repo, found.id) == (repo, revision):
                yield digest


def merge(revision: Revision, draft: Revision) -> Revision:
    """`revision` with the files that its draft has beyond it."""
    files = {entry.path: entry for entry in (*revision.files, *draft.files)}
    missing = {e.path: e for e in (*draft.missing, *revision.missing) if e.path not in files}
    return Revision.of(
        revision.repo,
        revision.commit,
        files.values(),
        missing.values(),
        unlisted=revision.unlisted and draft.unlisted,
    )


def _covers(one: Revision, other: Revision) -> bool:
    """Whether `one` says all that `other` says of the same commit."""
    here = {entry.path for entry in one.files}
    listed = all(entry.path in here or entry in one.missing for entry in other.missing)
    known = set(other.files) <= set(one.files)
    return known and listed and (other.unlisted or not one.unlisted)
