"""Lines of `bom`."""

from pathlib import Path
from typing import Annotated, Literal

from outlast.cli.documents.document import Document, document


@document("bom")
class BomDocument(Document):
    """A bill of materials that was written."""

    type: Literal["bom"] = "bom"
    path: Annotated[Path, "the file"]
    serial: Annotated[str, "its serial number, a UUID that follows from what it says"]
    models: Annotated[int, "revisions in it"]
    incomplete: Annotated[int, "those of them of which files are not archived"]
    bytes: Annotated[int, "the size of the file"]
    key: Annotated[str | None, "the SHA-256 of the public key that signed it; null: none did"]
