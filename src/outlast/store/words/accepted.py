"""Which manifests the operator of this archive vouches for: those of folders that were added here
by hand, and those that were accepted by their digest. A record is bound to the manifest's digest,
so it says nothing of other files, another name or another revision. No source, bundle or node
writes one.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

from outlast.core.digest import Digest, GitOid
from outlast.core.errors import BadNameError, CorruptError, MalformedError
from outlast.core.names import RepoId
from outlast.store.records.equals import text_of
from outlast.store.records.facts import load_document
from outlast.store.records.records import Records
from outlast.store.words.by_manifest import ByManifest
from outlast.store.writer import WriteSession


class WordKind(StrEnum):
    """How the operator came to vouch for a manifest."""

    ADDED = "added"
    """A folder or file of this machine was added by hand."""
    ADOPTED = "adopted"
    """A cache of this machine was adopted by hand."""
    ACCEPTED = "accepted"
    """Its digest was named."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """The operator's word for `manifest`, which is `commit` of `repo`. `since`: when it was given
    (ISO 8601, UTC).
    """

    manifest: Digest
    repo: RepoId
    commit: GitOid
    how: WordKind
    since: str

    def encode(self) -> bytes:
        document = {
            "repo": self.repo.api_path,
            "commit": self.commit.hex,
            "how": self.how.value,
            "since": self.since,
        }
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
                WordKind(text_of(document["how"])),
                text_of(document["since"]),
            )
        except (MalformedError, BadNameError, KeyError, ValueError) as error:
            raise CorruptError(f"it accepts nothing: {error}") from None


class AcceptedManifests:
    """Those of an archive. Thread-safe; what other processes write is seen by the next question."""

    def __init__(self, records: Records) -> None:
        self._words = ByManifest(records, records.layout.accepted, Accepted)

    def of(self, manifest: Digest) -> Accepted | None:
        """The operator's word for a manifest; None where there is none, or it cannot be read."""
        return self._words.read(manifest)

    def all(self) -> Mapping[Digest, Accepted]:
        """All of them, by digest; those that cannot be read are left out."""
        return self._words.all()

    def note(self, writer: WriteSession, accepted: Accepted) -> bool:
        """Remembers it, durably; False where it is known already: that record stays."""
        if self.of(accepted.manifest) is not None:
            return False
        self._words.write(writer, accepted)
        return True

    def delete(self, manifest: Digest) -> bool:
        """Takes it back, durably; False where there was none."""
        return self._words.delete(manifest)
