"""Use cases: statements about a revision of the archive, signed and kept with its manifest."""

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from outlast.core.cancel import Cancel
from outlast.core.digest import Digest
from outlast.core.errors import (
    Cancelled,
    CorruptError,
    IntegrityError,
    NotArchivedError,
    OutlastError,
    PolicyError,
    UsageError,
)
from outlast.core.manifest import Revision
from outlast.core.names import RepoId, Target
from outlast.core.threads import interruptible
from outlast.features.trust.keys.signing import Signer
from outlast.features.trust.records.dsse import DsseEnvelope, Signature
from outlast.features.trust.records.heights import Height, Heights, signed_in
from outlast.features.trust.records.hub_commit import has_commit, keep_commit
from outlast.features.trust.records.statement import (
    HubObservation,
    Predicate,
    Publication,
    Revocation,
    Statement,
    now_text,
)
from outlast.fetch.beside.questions import look_up
from outlast.sources.base import Source
from outlast.sources.git.upload_pack import GitSource
from outlast.sources.kinds import is_hub
from outlast.store.archive import Archive
from outlast.store.records.attestations import MOST_FROM_OTHERS
from outlast.store.records.file_list import entries_of, listing_digest
from outlast.store.words.revocations import Revoked

MAIN = "main"


@dataclass(frozen=True, slots=True)
class MadeStatement:
    """A statement that lies in the archive now: its bytes, and their digest. `is_new`: it did not
    before.
    """

    statement: Statement
    revision: Revision
    digest: Digest
    data: bytes
    is_new: bool = True


def publish(
    archive: Archive,
    target: Target,
    signers: Sequence[Signer],
    *,
    ref: str | None = None,
    expires: str = "",
    now: dt.datetime,
    height: Callable[[RepoId, str], Height | None],
) -> MadeStatement:
    """Signs a revision as its publisher, under its ref. Its number is the one that it has, or the
    one after the highest that this archive saw (`height`) or made.
    """
    revision = sealed(archive, target)
    name = ref or ref_of(archive, target, revision)
    records = signed_in(archive)
    made = records.get(revision.repo) or Heights()
    known = [h for h in (height(revision.repo, name), made.get(name)) if h is not None]
    highest = max(known, key=lambda h: h.sequence, default=None)
    number = 1
    if highest is not None:
        number = highest.sequence + (highest.manifest != revision.digest)
    keys = tuple(signer.key for signer in signers)
    said = Publication(name, number, now_text(now), keys, expires)
    fingerprints = tuple(sorted(key.fingerprint for key in keys))
    raised = made.raised(name, Height(number, revision.digest, said.made, fingerprints))
    if raised != made:
        with archive.writer() as writer:  # first: no crash makes one number of two revisions
            records.put(writer, revision.repo, raised)
    return attest(archive, revision, said, signers)


def observe(
    archive: Archive,
    target: Target,
    hub: Source,
    signers: Sequence[Signer],
    *,
    vantage: str,
    now: dt.datetime,
    cancel: Cancel,
) -> MadeStatement:
    """Asks a hub for the files of a commit, compares them with the manifest, and signs what was
    seen. Raises :class:`IntegrityError` where the hub lists other files.
    """
    revision = sealed(archive, target)
    if revision.commit is None:
        raise UsageError(
            f"{revision.repo} was added from a folder: no hub has this commit",
            hint="'outlast sign' signs it as its publisher",
        )
    if not is_hub(hub.name):
        raise UsageError(f"{hub.name} is not a hub", hint="name a hub with --from URL")
    repo, commit = revision.repo, revision.commit
    listing = interruptible(lambda: hub.describe(repo, commit.hex), cancel)
    if listing.commit != revision.commit:
        raise IntegrityError(f"{hub.name} answers with another commit: {listing.commit.hex[:12]}")
    if not listing.is_hubs_own:
        raise PolicyError(
            f"{hub.name} has no whole list of the files itself, or is a mirror",
            hint="observe the hub that the model was published on",
        )
    digest = listing_digest(listing.entries)
    if digest != listing_digest(entries_of(revision)):
        raise IntegrityError(f"{hub.name} lists other files of {revision.repo} than the manifest")
    said = HubObservation(
        hub=hub.name,
        commit=revision.commit,
        seen=now_text(now),
        listing=digest,
        files=len(listing.entries),
        size=sum(entry.size for entry in listing.entries),
        vantage=vantage,
    )
    return attest(archive, revision, said, signers)


def keep_hub_commit(archive: Archive, revision: Revision, hub: Source, cancel: Cancel) -> str:
    """Asks a hub for the text of a commit, where it is not here yet, and keeps it; what a person
    should know of it, or "". An observation holds without.
    """
    commit = revision.commit
    if commit is None or not isinstance(hub, GitSource) or has_commit(archive, [revision.digest]):
        return ""
    repository, entries = hub.repository(revision.repo), entries_of(revision)
    try:
        proof = interruptible(lambda: look_up(repository, commit, entries), cancel)
        keep_commit(archive, revision.digest, revision, proof)
    except Cancelled:
        raise
    except OutlastError as error:
        return f"the text of the commit is not archived: {error}"
    return f"the hub's commit id was computed again from {len(entries)} files"


def revoke(
    archive: Archive,
    target: Target,
    reason: str,
    signers: Sequence[Signer],
    *,
    now: dt.datetime,
) -> MadeStatement:
    """Signs that a revision is not to be used any more. It counts here at once, also where
    the key is not pinned: the operator of this archive said so.
    """
    revision = sealed(archive, target)
    made = attest(archive, revision, Revocation(reason, now_text(now)), signers)
    by = ", ".join(f"{s.key.comment or 'you'} ({s.key.short})" for s in signers)
    with archive.writer() as writer:
        archive.revocations.note(
            writer,
            Revoked(made.statement.manifest, revision.repo, revision.id, reason, by, now_text(now)),
        )
    return made


def take(archive: Archive, data: bytes, *, most: int = MOST_FROM_OTHERS) -> MadeStatement:
    """Keeps a statement of another person about a revision that is here. Whose signature counts, is
    asked when claims are. Raises :class:`MalformedError` and :class:`NotArchivedError`.
    """
    said = Statement.read(DsseEnvelope.read(data).payload)
    revision = _revision_of(archive, said)
    with archive.writer() as writer:
        added = archive.attestations.add(writer, said.manifest, data, most=most)
    return MadeStatement(said, revision, Digest.of(data), data, is_new=added is not None)


def attest(
    archive: Archive, revision: Revision, said: Predicate, signers: Sequence[Signer]
) -> MadeStatement:
    """Signs a statement about a revision with each of `signers`, and keeps it."""
    statement = Statement(revision.repo, revision.digest, said)
    payload = statement.to_bytes()
    message = DsseEnvelope(payload, ()).message
    signatures = [Signature(one.key.fingerprint, one.sign(message)) for one in signers]
    data = DsseEnvelope.of(payload, signatures).to_bytes()
    Statement.read(DsseEnvelope.read(data).payload)  # what others would refuse is not written
    with archive.writer() as writer:
        archive.attestations.add(writer, statement.manifest, data)
    return MadeStatement(statement, revision, Digest.of(data), data)


def sealed(archive: Archive, target: Target) -> Revision:
    """A revision of which everything is here and right. Raises :class:`NotArchivedError` and
    :class:`CorruptError`: what is signed must be what a person can check.
    """
    revision = archive.revision(target.repo, target.ref)
    drafted = archive.drafts.exists(revision.repo, revision.id)
    if drafted or revision.partial or not all(map(archive.lies_here, revision.files)):
        raise NotArchivedError(
            f"{revision.repo} at {revision.id.hex[:12]} is not complete here",
            hint="'outlast pull' fetches what is missing",
        )
    damaged = archive.damaged_blobs()
    if any(entry.sha256 in damaged for entry in revision.files):
        raise CorruptError(f"{revision.repo} at {revision.id.hex[:12]} is damaged here")
    return revision


def ref_of(archive: Archive, target: Target, revision: Revision) -> str:
    """The ref under which a revision is signed: the one that was named, `main`, or the only one
    that names it. Raises :class:`UsageError`.
    """
    names = [r.name for r in archive.refs.list(revision.repo) if r.commit == revision.id]
    if target.ref in names:
        assert target.ref is not None
        return target.ref
    if MAIN in names or not names:
        return MAIN
    if len(names) == 1:
        return names[0]
    raise UsageError(
        f"several refs name {revision.id.hex[:12]}: {', '.join(names[:5])}",
        hint="say with --ref under which one it is signed",
    )


def _revision_of(archive: Archive, said: Statement) -> Revision:
    for commit in archive.index.revisions(said.repo):
        if said.manifest in archive.index.manifests_of(said.repo, commit):
            found = archive.load(said.repo, commit)
            if found is not None and found.digest == said.manifest:
                return found
    raise NotArchivedError(
        f"{said.repo} with the manifest {said.manifest.short}… is not here",
        hint="pull or import it first",
    )
