"""Lines of `evidence`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from outlast.cli.documents.document import Document, document
from outlast.core.digest import Digest, GitOid
from outlast.core.names import RepoId


@dataclass(frozen=True, slots=True)
class FetchedPart:
    """Bytes that came over the network for a revision."""

    source: Annotated[str, "the place that sent them"]
    bytes: Annotated[int, "how many"]


@dataclass(frozen=True, slots=True)
class DigestPart:
    """A file that a record names."""

    name: Annotated[str, "its name, or its path in the model"]
    sha256: Annotated[Digest, "the digest of its bytes"]
    role: Annotated[str, "what it is: licence, rules, publishers, labels or list"]


@dataclass(frozen=True, slots=True)
class StampPart:
    """A timestamp of a record."""

    time: Annotated[str, "the time that it says (ISO 8601, UTC); empty: it cannot be read"]
    server: Annotated[str, "where it was asked for"]
    checked: Annotated[bool, "whether an authority below a root that was given made it"]
    why: Annotated[str, "what is wrong with it or missing; may be empty"]


@document("evidence")
class EvidenceDocument(Document):
    """A record of what was pulled: facts, and no legal verdict."""

    type: Literal["evidence"] = "evidence"
    repo: Annotated[RepoId, "the model"]
    revision: Annotated[GitOid, "the commit"]
    manifest: Annotated[Digest, "the manifest"]
    record: Annotated[Digest, "the sha256 of the record's file"]
    own: Annotated[bool, "whether this archive made the record; else it came with a bundle"]
    acquired: Annotated[str, "when all files were here, by this machine's clock (ISO 8601, UTC)"]
    source: Annotated[str, "who listed the files; empty: not known"]
    ref: Annotated[str, "the ref that was asked for; may be empty"]
    told_by: Annotated[str, "not empty: a node of the local network alone said so"]
    files: Annotated[int, "files that were here"]
    bytes: Annotated[int, "their bytes"]
    missing: Annotated[int, "files that were not"]
    fetched: Annotated[Sequence[FetchedPart], "what came over the network for it"]
    licence: Annotated[str, "as the model names it; may be empty"]
    rules: Annotated[str, "none, enforce or report"]
    digests: Annotated[Sequence[DigestPart], "licence texts, and files of the operator's rules"]
    outlast: Annotated[str, "the version that made the record"]
    signed: Annotated[str, "the fingerprint of the key that signed it; empty: unsigned"]
    key: Annotated[str, "that key, as a line of SSH; empty: the record names none"]
    known: Annotated[str, "yours or pinned, where that key is; else empty"]
    timestamps: Annotated[Sequence[StampPart], "its trusted timestamps"]
    wrong: Annotated[Sequence[str], "what does not fit; empty where nothing was found"]
    folder: Annotated[Path | None, "where it was written to; null: nowhere"]
    removed: Annotated[str, "since when the revision is here no more (ISO 8601); empty: it is"]


@document("evidence")
class DeletedEvidenceDocument(Document):
    """The evidence of a revision that had been removed is deleted."""

    type: Literal["deleted"] = "deleted"
    repo: Annotated[RepoId, "the model"]
    manifest: Annotated[Digest, "its manifest"]
    removed: Annotated[str, "since when the revision was here no more (ISO 8601)"]
    dry_run: Annotated[bool, "whether nothing was changed"]
