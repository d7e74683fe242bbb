"""The line of `verify`."""

from collections.abc import Sequence
from typing import Annotated, Literal

from outlast.cli.documents.document import Document, document
from outlast.cli.documents.parts import FileWarning
from outlast.core.events import FileProblem


@document("verify")
class VerifiedDocument(Document):
    """The result; problems make the exit status 4 (or 5, if files could not be opened)."""

    type: Literal["verified"] = "verified"
    blobs: Annotated[int, "different files that were read"]
    bytes: Annotated[int, "their bytes"]
    problems: Annotated[Sequence[FileProblem], "damaged or missing files"]
    warnings: Annotated[Sequence[FileWarning], "files that are not what their names say"]
