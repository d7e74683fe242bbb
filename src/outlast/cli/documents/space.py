"""Lines of `pack`, `unpack`, `rm` and `gc`: what archives take of the disk."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from outlast.cli.documents.document import Document, document
from outlast.core.events import FileProblem


@document("pack", "unpack")
class RepackedDocument(Document):
    """The result; with --dry-run what it would be. Problems make the exit status 4."""

    type: Literal["packed", "unpacked", "would-be-packed", "would-be-unpacked"]
    changed: Annotated[int, "files that are stored in another form now"]
    thin: Annotated[int, "those of them that became deltas"]
    before_bytes: Annotated[int, "bytes of the changed files on the disk before"]
    after_bytes: Annotated[int, "and afterwards"]
    already: Annotated[int, "files that were in that form already"]
    unpaying: Annotated[int, "files that would not be smaller and stay plain"]
    linked: Annotated[int, "files that were skipped because of hard links outside the archive"]
    linked_bytes: Annotated[int, "their bytes"]
    problems: Annotated[Sequence[FileProblem], "files that could not be changed"]


@document("rm")
class RemovedAllDocument(Document):
    """The result; with --dry-run what it would be."""

    type: Literal["removed-all", "would-remove"]
    count: Annotated[int, "refs and revisions that were removed"]
    kept: Annotated[int, "blobs that stay because deltas depend on them"]
    kept_bytes: Annotated[int, "their bytes on the disk"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SparedPart:
    """A record that cannot be read, and what stays because it may name it."""

    record: Annotated[str, "its path in the archive; `gc --discard` takes it"]
    reason: Annotated[str, "what is wrong with it, for a person"]
    count: Annotated[int, "blobs that stay for no other reason"]
    size: Annotated[int, "their bytes on the disk"]


@document("gc")
class CollectedDocument(Document):
    """The result; `spared` makes the exit status 4."""

    type: Literal["collected"] = "collected"
    dry_run: Annotated[bool, "whether nothing was changed"]
    count: Annotated[int, "things that were moved to the trash or deleted"]
    bytes: Annotated[int, "their bytes on the disk"]
    freed_bytes: Annotated[int, "bytes of the disk that are free now"]
    trash_bytes: Annotated[int, "bytes that are in the trash now"]
    spared: Annotated[Sequence[SparedPart], "records that cannot be read"]
    kept: Annotated[int, "blobs that stay because deltas depend on them"]
    kept_bytes: Annotated[int, "their bytes on the disk"]


@document("gc")
class RestoredDocument(Document):
    """The result of `gc --undo`."""

    type: Literal["restored"] = "restored"
    count: Annotated[int, "files that came back from the trash"]
    bytes: Annotated[int, "their bytes"]
    left: Annotated[int, "files that stayed there: the archive has them again"]
