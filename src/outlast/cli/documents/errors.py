"""The line of a command that failed."""

from typing import Annotated, Literal

from outlast.cli.documents.document import Document, document


@document()
class ErrorDocument(Document):
    """The last line of a command that failed; stderr has the same as text."""

    type: Literal["error"] = "error"
    code: Annotated[str, "which [error](errors.md) it is"]
    message: Annotated[str, "what went wrong, in a sentence"]
    hint: Annotated[str, "what to do about it; may be empty"]
