"""Which claims hold of archived revisions. Reads records alone, and no blob."""

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from outlast.core.cancel import Cancel
from outlast.core.claims import Assessor, Claims
from outlast.core.digest import Digest
from outlast.core.errors import OutlastError
from outlast.core.manifest import Revision
from outlast.core.names import Target
from outlast.store.archive import Archive
from outlast.store.index import load_manifest


@dataclass(frozen=True, slots=True)
class Assessed:
    """What is claimed of a revision. `manifest` is None, and so are `claims`, while its files are
    arriving: nothing is signed yet that one could claim.
    """

    revision: Revision
    manifest: Digest | None
    claims: Claims | None


def assess(
    archive: Archive, assessor: Assessor, targets: Sequence[Target], cancel: Cancel
) -> Iterator[Assessed]:
    """The claims of `targets`, or of all revisions by name."""
    for revision in _revisions(archive, targets):
        cancel.check()
        yield assessed(archive, assessor, revision)


def assessed(archive: Archive, assessor: Assessor, revision: Revision) -> Assessed:
    """The claims of one revision that is here."""
    if archive.drafts.exists(revision.repo, revision.id):
        return Assessed(revision, None, None)
    digest = revision.digest
    return Assessed(revision, digest, assessor.claims(digest, revision))


def claims_of(
    archive: Archive, assessor: Assessor, manifests: Iterable[Digest], cancel: Cancel
) -> dict[Digest, Claims]:
    """The claims of manifests, by digest; one that cannot be read has none."""
    found = {}
    for digest in manifests:
        cancel.check()
        with contextlib.suppress(OutlastError, FileNotFoundError):  # `verify` tells
            found[digest] = assessor.claims(digest, load_manifest(archive.layout, digest))
    return found


def remember_revocations(archive: Archive, assessor: Assessor, cancel: Cancel) -> None:
    """Looks at all statements once, so that a revocation which came with a copy of the archive, or
    whose key was pinned since, counts from now on.
    """
    claims_of(archive, assessor, archive.attestations.manifests(), cancel)


def look_for_revocation(
    archive: Archive, assessor: Assessor | None, target: Target, cancel: Cancel
) -> None:
    """The same for one revision: where there are statements about it, and no revocation is known.
    Raises :class:`~outlast.core.errors.NotFoundError`.
    """
    if assessor is None or not archive.attestations.manifests():
        return
    revision = archive.revision(target.repo, target.ref)
    claims_of(archive, assessor, archive.index.manifests_of(revision.repo, revision.id), cancel)


def accept_revoked(archive: Archive, manifests: Iterable[Digest], when: str) -> None:
    """Remembers that the operator uses these although they are revoked. Raises
    :class:`~outlast.core.errors.NotFoundError` for one that is not.
    """
    with archive.writer() as writer:
        for manifest in manifests:
            archive.revocations.accept(writer, manifest, when)


def _revisions(archive: Archive, targets: Sequence[Target]) -> Iterator[Revision]:
    if targets:
        for target in targets:
            yield archive.revision(target.repo, target.ref)
        return
    for summary in archive.summaries():
        found = archive.load(summary.repo, summary.revision)
        if found is not None:
            yield found
