"""The line of `copy`."""

from collections.abc import Sequence
from typing import Annotated, Literal

from outlast.cli.documents.document import Document, document


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
