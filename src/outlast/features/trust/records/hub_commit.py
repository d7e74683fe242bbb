"""The text of a hub's commit, kept with the manifest of its files: so that the hub's own name for
them can be computed again, by this archive and by others, when the hub is gone.

It is a statement without a signature, and needs none: its bytes have the commit's id or have not.
"""

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

import rfc8785

from outlast.codec.git.commits import CommitText
from outlast.codec.git.proof import MOST_BESIDE, Beside, HubCommit, prove
from outlast.core.claims import CommitProof
from outlast.core.digest import Digest, GitOid
from outlast.core.errors import IntegrityError, MalformedError, one_line
from outlast.core.manifest import FileEntry, Revision
from outlast.core.names import RepoId
from outlast.features.trust.keys.public import decode_base64
from outlast.features.trust.records.dsse import DsseEnvelope
from outlast.features.trust.records.statement import (
    HUB_COMMIT,
    STATEMENT_TYPE,
    only,
    read_model,
    read_statement,
    subject,
    text,
)
from outlast.store.archive import Archive
from outlast.store.records.attestations import StoredAttestation
from outlast.store.records.file_list import entries_of

_MOST_TEXT: Final = 400_000
"""Characters of a commit in base64: those of 256 KiB."""
_MOST_PERSON: Final = 200


@dataclass(frozen=True, slots=True)
class HubCommitRecord:
    """The commit of a revision, with the name and the manifest of that."""

    repo: RepoId
    manifest: Digest
    commit: GitOid
    proof: HubCommit

    @property
    def payload(self) -> bytes:
        """The payload of its envelope."""
        return rfc8785.dumps(
            {
                "_type": STATEMENT_TYPE,
                "subject": [subject(self.repo.api_path, self.manifest)],
                "predicateType": HUB_COMMIT,
                "predicate": {
                    "beside": "\n".join(one.to_line() for one in self.proof.beside),
                    "commit": self.commit.hex,
                    "text": base64.b64encode(self.proof.text).decode(),
                },
            }
        )

    def to_bytes(self) -> bytes:
        """Its file."""
        return DsseEnvelope.of(self.payload, []).to_bytes()

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Self:
        """The record of a statement that was read. Raises :class:`MalformedError`."""
        repo, manifest = read_model(document)
        said = document["predicate"]
        only(said, {"beside", "commit", "text"})
        if not isinstance(said["text"], str) or len(said["text"]) > _MOST_TEXT:
            raise MalformedError("the text of the commit is no text")
        proof = HubCommit(decode_base64(said["text"]), _beside(said["beside"]))
        return cls(repo, manifest, GitOid(text(said["commit"])), proof)


def _beside(value: object) -> tuple[Beside, ...]:
    if not isinstance(value, str) or value.count("\n") >= MOST_BESIDE:
        raise MalformedError("the entries beside the manifest are no text")
    found = tuple(map(Beside.of_line, value.split("\n"))) if value else ()
    paths = [one.path for one in found]
    if paths != sorted(set(paths)):
        raise MalformedError("the entries beside the manifest are not in order")
    return found


def keep_commit(archive: Archive, manifest: Digest, revision: Revision, proof: HubCommit) -> bool:
    """Keeps the text of the commit of a revision that is here; whether it is new. Raises
    :class:`IntegrityError` where the commit has other files than the manifest.
    """
    if revision.commit is None:
        raise IntegrityError("a folder that was added has no commit")
    prove(revision.commit, entries_of(revision), proof)
    record = HubCommitRecord(revision.repo, manifest, revision.commit, proof)
    data = record.to_bytes()
    HubCommitRecord.of(read_statement(record.payload))  # what cannot be read is not written
    with archive.writer() as writer:
        return archive.attestations.add(writer, manifest, data) is not None


def has_commit(archive: Archive, manifests: Iterable[Digest]) -> bool:
    """Whether there is a record for each of these manifests; False without any."""
    found = [any(map(_is_commit, archive.attestations.of(one))) for one in manifests]
    return bool(found) and all(found)


def _is_commit(stored: StoredAttestation) -> bool:
    try:
        document = read_statement(DsseEnvelope.read(stored.data, unsigned=True).payload)
    except MalformedError:
        return False
    return bool(document["predicateType"] == HUB_COMMIT)


def proof_of(
    manifest: Digest, revision: Revision, records: Sequence[HubCommitRecord]
) -> CommitProof | None:
    """What the records of a manifest come to: one that is right is enough. None without any."""
    worst = None
    entries: tuple[FileEntry, ...] = entries_of(revision)
    for record in records:
        if record.manifest != manifest or revision.commit is None:
            worst = CommitProof(record.commit, why="it is about another manifest")
            continue
        try:
            files = prove(revision.commit, entries, record.proof)
        except IntegrityError as error:
            worst = CommitProof(record.commit, why=one_line(str(error), 300))
            continue
        author = CommitText.read(record.proof.text).author
        lacking = sum(one.oid is not None for one in record.proof.beside)
        return CommitProof(record.commit, files, lacking, one_line(author, _MOST_PERSON))
    return worst
