"""The line of `verify --who`."""

from collections.abc import Sequence
from typing import Annotated, Literal

from outlast.cli.documents.document import Document, document
from outlast.cli.documents.parts import ClaimPart, CommitPart, ForeignPart, RunPart
from outlast.core.digest import Digest, GitOid
from outlast.core.names import RepoId


@document("verify")
class WhoDocument(Document):
    """With --who: which claims hold of a revision, and who makes them."""

    type: Literal["claims"] = "claims"
    repo: Annotated[RepoId, "the model"]
    revision: Annotated[GitOid, "the commit"]
    manifest: Annotated[Digest | None, "the manifest; null while files are arriving"]
    claims: Annotated[Sequence[ClaimPart], "all four; none while files are arriving"]
    revoked: Annotated[str, "why it is not to be used any more; empty: it may be used"]
    run: Annotated[RunPart | None, "whether `run` uses it; null while files are arriving"]
    foreign: Annotated[
        Sequence[ForeignPart], "signatures of other tools among the files; no claim follows of them"
    ]
    commit: Annotated[
        CommitPart | None, "what the text of the hub's commit proves; null where that is not here"
    ]
