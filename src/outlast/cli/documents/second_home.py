"""The line of `copy`."""

from collections.abc import Sequence
from typing import Annotated, Literal

from outlast.cli.documents.document import Document, document
from outlast.core.digest import GitOid
from outlast.core.names import RepoId


@document("copy")
class CopiedDocument(Document):
    """The result."""

    type: Literal["copied"] = "copied"
    store: Annotated[str, "the URL of the second home"]
    revisions: Annotated[Sequence[str], "what is there now, as `org/name@commit`"]
    blobs: Annotated[int, "different files that were sent"]
    bytes: Annotated[int, "bytes that were sent"]
    already: Annotated[int, "files that were there already"]
    trees: Annotated[int, "those of them that got the tree which proves single pieces"]
    statements: Annotated[int, "signed statements about the revisions that are new there"]


@document("ls")
class StoredRevisionDocument(Document):
    """A revision in a second home, with --store."""

    type: Literal["stored"] = "stored"
    store: Annotated[str, "the URL of the second home"]
    repo: Annotated[RepoId, "the model"]
    revision: Annotated[GitOid, "the commit"]
    refs: Annotated[Sequence[str], "branches and tags that name it there"]
    files: Annotated[int, "files that its manifest there has"]
    bytes: Annotated[int, "bytes of these files, as a client sees them"]
    stored_bytes: Annotated[int, "bytes of what holds them there"]
    capsules: Annotated[int, "files that are compressed there"]
    missing: Annotated[int, "files without bytes there, or with too few"]
    partial: Annotated[bool, "whether the commit has more files than were copied"]
    complete: Annotated[bool, "whether all is there, as far as the store's list says"]
    damaged: Annotated[str, "why its manifest cannot be read; empty if it can"]
