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
    key: Annotated[str | None, "the fingerprint of the key that signed it; null: none did"]


@document("bom")
class SignedBomDocument(Document):
    """`bom --check`: a bill of materials whose signature is right."""

    type: Literal["signed-bom"] = "signed-bom"
    path: Annotated[Path, "the file"]
    key: Annotated[str, "the fingerprint of the key that signed it, as 'outlast key list' shows it"]
