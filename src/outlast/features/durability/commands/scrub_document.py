"""The line of `scrub`."""

from collections.abc import Sequence
from typing import Annotated, Literal

from outlast.cli.documents.document import Document, document
from outlast.features.durability.scrub.found import FoundDamage


@document("scrub")
class ScrubbedDocument(Document):
    """The result; damage that is left makes the exit status 4."""

    type: Literal["scrubbed"] = "scrubbed"
    store: Annotated[str, "the URL of the second home that was read; empty: this archive"]
    mode: Annotated[Literal["quick", "full"], "by checksums, or by sha256"]
    files: Annotated[int, "files that were read"]
    bytes: Annotated[int, "their bytes on the disk"]
    seconds: Annotated[float, "how long it took"]
    found: Annotated[Sequence[FoundDamage], "what was damaged"]
    mended: Annotated[int, "how many of these are right again"]
    damage_left: Annotated[int, "how many are not"]
    complete: Annotated[bool, "whether the pass is through"]
    left: Annotated[int, "files of this pass that were not read yet"]
    left_bytes: Annotated[int, "their bytes on the disk"]
    oldest_seconds: Annotated[
        float, "since the file was checked, or came, for which that is longest"
    ]
    parity_files: Annotated[int, "files of which parity was written"]
    parity_bytes: Annotated[int, "bytes of that parity"]
    parity_lacking: Annotated[int, "files that lack the parity that the settings want"]
