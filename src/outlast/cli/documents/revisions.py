"""Lines of `ls`."""

from collections.abc import Sequence
from typing import Annotated, Literal

from outlast.cli.documents.document import Document, document
from outlast.cli.documents.parts import ClaimPart, NoticePart
from outlast.core.digest import Digest, GitOid
from outlast.core.names import RepoId


@document("ls")
class RevisionDocument(Document):
    """A revision that is archived, or of which files are still arriving."""

    type: Literal["revision"] = "revision"
    repo: Annotated[RepoId, "the model"]
    revision: Annotated[GitOid, "the commit"]
    refs: Annotated[Sequence[str], "branches and tags that name it here"]
    manifest: Annotated[Digest | None, "the manifest; null while files are arriving"]
    files: Annotated[int, "files that are here"]
    bytes: Annotated[int, "bytes of these files, as a client sees them"]
    missing: Annotated[int, "files of the commit that are not here"]
    partial: Annotated[bool, "whether files are missing, or may be"]
    unlisted: Annotated[bool, "whether there may be files that no list names"]
    stored_bytes: Annotated[int, "bytes on the disk, as `du` counts, each content once"]
    own_bytes: Annotated[int, "those of `stored_bytes` that no line before has"]
    saving: Annotated[float, "which part of `bytes` the disk need not hold, from 0 to 1"]
    capsules: Annotated[int, "files that are compressed"]
    thin: Annotated[int, "those of them that are deltas"]
    bases: Annotated[Sequence[str], "models that the deltas are against"]
    damaged: Annotated[int, "contents of it that are damaged here, or depend on one that is"]
    unconfirmed: Annotated[bool, "whether only a node on the LAN told of it"]
    withdrawn: Annotated[Sequence[str], "sources that withdrew the model, or files of it"]
    notice: Annotated[NoticePart | None, "the takedown notice of `outlast withdraw`, if any"]
    date: Annotated[
        str,
        "`observed`, else when the revision's record was written (ISO 8601, UTC)",
    ]
    observed: Annotated[
        str | None,
        "when a source last said that one of `refs` names it (ISO 8601, UTC); null if none did",
    ]
    claims: Annotated[Sequence[ClaimPart], "all four claims; none while files are arriving"]
    revoked: Annotated[str, "why it is not to be used any more; empty: it may be used"]


@document("ls")
class DamagedDocument(Document):
    """A ref or draft that cannot be read. The command ends with exit status 4."""

    type: Literal["damaged"] = "damaged"
    repo: Annotated[RepoId, "the model"]
    revision: Annotated[GitOid | None, "the commit of the draft; null for a ref"]
    refs: Annotated[Sequence[str], "the ref, or none"]
    damaged: Annotated[str, "what is wrong, for a person"]
