"""Lines of `quarantine`."""

from typing import Annotated, Literal

from outlast.cli.documents.document import Document, document
from outlast.core.digest import Digest
from outlast.core.names import RepoId


@document("quarantine")
class QuarantinedDocument(Document):
    """A file that other programs do not get."""

    type: Literal["quarantined"] = "quarantined"
    repo: Annotated[RepoId, "the model"]
    path: Annotated[str, "the file"]
    digest: Annotated[Digest | None, "its sha256"]
    size: Annotated[int, "bytes"]
    reason: Annotated[str, "what is unsafe about it"]
    twin: Annotated[str, "the file to use in its place; empty: there is none"]
    allowed: Annotated[bool, "whether the operator allows it nevertheless"]


@document("quarantine")
class AllowedDocument(Document):
    """A file that is allowed by its digest, or is so no more."""

    type: Literal["allowed"] = "allowed"
    digest: Annotated[Digest, "its sha256"]
    day: Annotated[str, "since when (ISO 8601)"]
    what: Annotated[str, "which file it was then"]
    allowed: Annotated[bool, "whether it still is"]
