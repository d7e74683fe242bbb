"""Lines of `keep`."""

from typing import Annotated, Literal

from outlast.cli.documents.document import Document, document
from outlast.core.digest import Digest, GitOid
from outlast.core.names import RepoId


@document("keep")
class CopyDocument(Document):
    """What became of a copy."""

    type: Literal["copy"] = "copy"
    repo: Annotated[RepoId, "the model"]
    commit: Annotated[GitOid, "the revision"]
    manifest: Annotated[Digest, "its manifest"]
    bytes: Annotated[int, "of its files"]
    change: Annotated[
        Literal["fetched", "failed", "dropped", "kept", "stored"], "what became of it"
    ]
    why: Annotated[str, "why it was not fetched, stored or dropped, for a person; else empty"]
    store: Annotated[str, "the URL of the second home that it is about; empty: this node"]
    dry_run: Annotated[bool, "whether nothing was changed"]


@document("keep")
class KeepDocument(Document):
    """The last line, with --once or --shrink."""

    type: Literal["summary"] = "summary"
    fetched: Annotated[int, "copies that came"]
    fetched_bytes: Annotated[int, "bytes of their files"]
    dropped: Annotated[int, "copies that were dropped; with --dry-run, that would be"]
    dropped_bytes: Annotated[int, "bytes of their files"]
    stored: Annotated[int, "copies that were put into second homes"]
    stored_bytes: Annotated[int, "bytes of their files"]
    failed: Annotated[int, "copies that could not be fetched or stored"]
    goals: Annotated[int, "models with a goal that this node knows"]
    unmet: Annotated[int, "those whose goal is not met"]
