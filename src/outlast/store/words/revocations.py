"""Which manifests are revoked here: a key that may do so signed it, or the operator of this archive
did. It is remembered by the manifest's digest, also when the manifest and all statements go.

What is revoked is not run, served or shared, until the operator accepts it by its digest. To find
that out costs no cryptography: the signature was checked when the record was written.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, Self

from outlast.core.digest import Digest, GitOid
from outlast.core.errors import (
    BadNameError,
    CorruptError,
    MalformedError,
    NotFoundError,
    RevokedError,
)
from outlast.core.manifest import Revision
from outlast.core.names import RepoId
from outlast.store import disk
from outlast.store.records.equals import text_of
from outlast.store.records.facts import load_document
from outlast.store.records.records import Records
from outlast.store.words.by_manifest import ByManifest
from outlast.store.writer import WriteSession

_UNKNOWN: Final = "its record is damaged and does not say why"
_Key = tuple[RepoId, GitOid]


@dataclass(frozen=True, slots=True)
class Revoked:
    """A revocation of `manifest`, which is `commit` of `repo` (None: its record is damaged). `by`:
    who signed it; `since`: when, as the signer says; `accepted`: when the operator said that it is
    used all the same (ISO 8601, UTC; empty: never).
    """

    manifest: Digest
    repo: RepoId | None
    commit: GitOid | None
    reason: str
    by: str
    since: str
    accepted: str = ""

    def encode(self) -> bytes:
        assert self.repo is not None, "a record that was read in part is not written"
        assert self.commit is not None
        document = {
            "repo": self.repo.api_path,
            "commit": self.commit.hex,
            "reason": self.reason,
            "by": self.by,
            "since": self.since,
        }
        if self.accepted:
            document["accepted"] = self.accepted
        return json.dumps(document, sort_keys=True).encode() + b"\n"

    @classmethod
    def decode(cls, manifest: Digest, body: bytes) -> Self:
        """The inverse. Raises :class:`CorruptError`."""
        document = load_document(body)
        try:
            return cls(
                manifest,
                RepoId.parse(text_of(document["repo"])),
                GitOid(text_of(document["commit"])),
                text_of(document["reason"]),
                text_of(document["by"]),
                text_of(document["since"]),
                text_of(document.get("accepted", "")),
            )
        except (MalformedError, BadNameError, KeyError) as error:
            raise CorruptError(f"it is no revocation: {error}") from None


class Revocations:
    """Those of an archive. Thread-safe; what other processes write is seen by the next question."""

    def __init__(self, records: Records) -> None:
        self._records = records
        self._words = ByManifest(records, records.layout.revoked, Revoked, unread=_damaged)

    def of(self, manifest: Digest) -> Revoked | None:
        """The revocation of a manifest, accepted or not."""
        return self.all().get(manifest)

    def stops(self, repo: RepoId, commit: GitOid) -> Revoked | None:
        """What keeps a revision from being used: by its commit, so that a manifest with fewer files
        of it is no way around. A record that is damaged stops what its name says alone.
        """
        return self.stopped().get((repo.folded, commit))

    def stopped(self) -> Mapping[_Key, Revoked]:
        """All revisions that are not to be used, by model (in lower case) and commit."""
        return {
            (one.repo.folded, one.commit): one
            for one in self.all().values()
            if not one.accepted and one.repo is not None and one.commit is not None
        }

    def refuse(self, revision: Revision) -> None:
        """Raises :class:`RevokedError` where a revision is not to be used."""
        if not self.all():  # else its digest is computed
            return
        found = self.stops(revision.repo, revision.id) or self.unread().get(revision.digest)
        if found is not None:
            raise refused(revision.repo, found)

    def unread(self) -> Mapping[Digest, Revoked]:
        """Those whose records are damaged: they stop the manifest that is their name."""
        return {digest: one for digest, one in self.all().items() if one.repo is None}

    def all(self) -> Mapping[Digest, Revoked]:
        """Every revocation; one that cannot be read in either copy still revokes."""
        return self._words.all()

    def note(self, writer: WriteSession, revoked: Revoked) -> bool:
        """Remembers a revocation, durably; False where the manifest is revoked already: that
        record, and whether it was accepted, stays.
        """
        if self.of(revoked.manifest) is not None:
            return False
        self._write(writer, revoked)
        return True

    def accept(self, writer: WriteSession, manifest: Digest, when: str) -> Revoked:
        """Notes that the operator uses it all the same. Raises :class:`NotFoundError`."""
        found = self.of(manifest)
        if found is None:
            raise NotFoundError(
                f"{manifest} is not revoked here", hint="'outlast show' prints the digest"
            )
        if found.repo is None:
            raise self._records.damaged(self._words.path(manifest), "it cannot be read")
        if not found.accepted:
            found = replace(found, accepted=when)
            self._write(writer, found)
        return found

    def _write(self, writer: WriteSession, revoked: Revoked) -> None:
        self._words.write(writer, revoked)
        # Nodes look at what they share when the refs change.
        disk.touch(self._records.layout.refs)


def _damaged(manifest: Digest) -> Revoked:
    """Stands for a record that cannot be read."""
    return Revoked(manifest, None, None, _UNKNOWN, "", "")


def refused(repo: RepoId, found: Revoked) -> RevokedError:
    """The error of a revision that is revoked."""
    by = f" by {found.by}" if found.by else ""
    return RevokedError(
        f"{repo} is revoked{by}: {found.reason}",
        hint=f"--accept-revoked {found.manifest} uses it all the same",
    )
