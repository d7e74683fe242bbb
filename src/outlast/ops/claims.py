"""Which claims hold of archived revisions, and for which the operator vouches. Reads records alone,
and no blob.
"""

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from outlast.core.cancel import Cancel
from outlast.core.claims import Assessor, Claims
from outlast.core.digest import Digest
from outlast.core.errors import (
    NotArchivedError,
    NotFoundError,
    OutlastError,
    UnvouchedError,
    UsageError,
)
from outlast.core.manifest import Revision
from outlast.core.names import Target
from outlast.intake.vouched import word_for
from outlast.store import disk
from outlast.store.archive import Archive
from outlast.store.index import load_manifest
from outlast.store.words.accepted import Accepted, WordKind

_AT_ONCE = 128
"""Revisions that are looked at together: what is seen of them is written together, and that costs
more than the looks. Guess: half a second's worth.
"""


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
    for some in _batches(_revisions(archive, targets), _AT_ONCE):
        cancel.check()
        drafts = [archive.drafts.exists(revision.repo, revision.id) for revision in some]
        whole = [(r.digest, r) for r, is_draft in zip(some, drafts, strict=True) if not is_draft]
        claims = zip(whole, assessor.claims_of_all(whole), strict=True)
        for revision, is_draft in zip(some, drafts, strict=True):
            if is_draft:
                yield Assessed(revision, None, None)
            else:
                (digest, _), said = next(claims)
                yield Assessed(revision, digest, said)


def _batches(revisions: Iterable[Revision], most: int) -> Iterator[list[Revision]]:
    """So many at once; those before one that cannot be read come before its error."""
    batch: list[Revision] = []
    try:
        for revision in revisions:
            batch.append(revision)
            if len(batch) == most:
                yield batch
                batch = []
    except OutlastError:
        if batch:
            yield batch
        raise
    if batch:
        yield batch


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


# The operator's word


def accepted(archive: Archive) -> list[Accepted]:
    """All that the operator vouches for, by model and then by time."""
    found = archive.accepted.all().values()
    return sorted(found, key=lambda one: (one.repo.folded, one.since, one.manifest))


def accept_target(archive: Archive, target: Target, prefix: str) -> Accepted:
    """Accepts the manifest of `target`, if its digest begins with `prefix`. Raises
    :class:`UsageError` where it does not: a name may come to mean another; :class:`UnvouchedError`
    while files are arriving; and as :func:`_note`.
    """
    revision = archive.revision(target.repo, target.ref)
    if archive.drafts.exists(revision.repo, revision.id):
        raise UnvouchedError(
            f"files of {target} are still arriving: it has no manifest that one could accept",
            hint=f"outlast pull {target}",
        )
    manifest = revision.digest
    if not manifest.hex.startswith(prefix):
        raise UsageError(
            f"the manifest of {target} is {manifest.short}…, not {prefix[:64]}…",
            hint="'outlast show' prints it; --accept takes the digest of the model that runs",
        )
    return _note(archive, revision)


def accept_of(archive: Archive, targets: Sequence[Target], prefix: str) -> Accepted:
    """Accepts the manifest of that of `targets` whose digest begins with `prefix`; of the last one
    where none does, with what :func:`accept_target` raises.
    """
    for target in targets:
        if archive.revision(target.repo, target.ref).digest.hex.startswith(prefix):
            return accept_target(archive, target, prefix)
    return accept_target(archive, targets[-1], prefix)


def accept_manifest(archive: Archive, prefix: str) -> Accepted:
    """Accepts the manifest here whose digest begins with `prefix`. Raises :class:`NotArchivedError`
    where there is none, :class:`UsageError` for several, and as :func:`_note`.
    """
    found = _only(prefix, _manifests(archive))
    if found is None:
        raise NotArchivedError(
            f"no manifest {prefix[:64]}… is here", hint="'outlast show' prints the digest"
        )
    return _note(archive, load_manifest(archive.layout, found))


def take_back(archive: Archive, prefix: str) -> Accepted:
    """Takes the operator's word back, however it was given. Raises :class:`NotFoundError` where it
    was not given, :class:`UsageError` where several digests begin so.
    """
    known = archive.accepted.all()
    found = _only(prefix, known)
    if found is None:
        raise NotFoundError(
            f"{prefix[:64]}… is not accepted here", hint="'outlast accept' lists what is"
        )
    with archive.writer():  # brings an archive of an older format up to date
        archive.accepted.delete(found)
    return known[found]


def _note(archive: Archive, revision: Revision) -> Accepted:
    """Remembers it. Raises :class:`~outlast.core.errors.RevokedError` for what is not to be used
    any more: that is accepted by another option alone.
    """
    archive.revocations.refuse(revision)
    word = word_for(revision, WordKind.ACCEPTED)
    with archive.writer() as writer:
        archive.accepted.note(writer, word)
    return archive.accepted.of(word.manifest) or word


def _manifests(archive: Archive) -> list[Digest]:
    """All that are here."""
    with disk.reporting(archive.layout.manifests):
        names = (name.removesuffix(".json") for name in disk.listed(archive.layout.manifests))
        return [Digest(name) for name in names if Digest.is_valid(name)]


def _only(prefix: str, digests: Iterable[Digest]) -> Digest | None:
    """The digest that begins so; None where none does."""
    found: Sequence[Digest] = [one for one in digests if one.hex.startswith(prefix)]
    if len(found) > 1:
        raise UsageError(f"{len(found)} digests begin with {prefix}", hint="type more of it")
    return found[0] if found else None
