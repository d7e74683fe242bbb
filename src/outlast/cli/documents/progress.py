"""The line of long work that is under way."""

from typing import Annotated, Literal

from outlast.cli.documents.document import Document, document


@document()
class ProgressDocument(Document):
    """How far long work is; every 10 seconds."""

    type: Literal["progress"] = "progress"
    job: Annotated[str, "what is done: `pull`, `add`, `verify` …"]
    subject: Annotated[str, "to what"]
    done_bytes: Annotated[int, "bytes that are done, also those that were here before"]
    total_bytes: Annotated[int, "bytes in all; 0 if that is not known"]
    bytes_per_second: Annotated[int | None, "rate of the last half minute; null at the start"]
    seconds_left: Annotated[int | None, "time left at that rate; null if nothing tells"]
