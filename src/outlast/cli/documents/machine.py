"""Lines of `doctor`."""

from typing import Annotated, Literal

from outlast.cli.documents.document import Document, document
from outlast.ops.doctor import Health
from outlast.ops.mend import Fate


@document("doctor")
class FindingDocument(Document):
    """What a check found."""

    type: Literal["finding"] = "finding"
    check: Annotated[str, "which check"]
    health: Annotated[Health, "how bad it is; `wrong` makes the exit status 1"]
    text: Annotated[str, "what was found, for a person"]
    mend: Annotated[str, "how to fix it; empty if there is nothing to fix"]


@document("doctor")
class MendedDocument(Document):
    """What became of a damaged file, with --mend."""

    type: Literal["mended"] = "mended"
    name: Annotated[str, "its path in the archive"]
    outcome: Annotated[Fate, "what became of it"]
    lost: Annotated[str, "what is not known any more; empty if nothing is lost"]
