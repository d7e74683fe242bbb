"""The line of `launch --print-env`."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

from outlast.cli.documents.document import Document, document


@document("launch")
class LaunchDocument(Document):
    """What a tool would be given."""

    type: Literal["launch"] = "launch"
    tool: Annotated[str, "the tool"]
    environment: Annotated[Mapping[str, str], "variables that are set, without those of the key"]
    key_in: Annotated[Sequence[str], "variables that are set to the key"]
    unset: Annotated[Sequence[str], "variables that are taken away"]
    command: Annotated[Sequence[str], "the program and its arguments"]
