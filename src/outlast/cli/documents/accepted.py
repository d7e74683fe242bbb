"""The line of `accept`."""

from typing import Annotated, Literal

from outlast.cli.documents.document import Document, document
from outlast.core.digest import Digest, GitOid
from outlast.core.names import RepoId
from outlast.store.words.accepted import WordKind


@document("accept")
class AcceptedDocument(Document):
    """A revision that `run` uses by the operator's word."""

    type: Literal["accepted"] = "accepted"
    manifest: Annotated[Digest, "the sha256 of its manifest"]
    repo: Annotated[RepoId, "the model"]
    revision: Annotated[GitOid, "the commit"]
    how: Annotated[WordKind, "how it was given: added or adopted by hand, or accepted by digest"]
    since: Annotated[str, "when (ISO 8601, UTC)"]
    undone: Annotated[bool, "whether it was taken back now"]
