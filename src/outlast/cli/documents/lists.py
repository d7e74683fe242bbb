"""Lines of `sync`, and of `pull` with a keep-list."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from outlast.cli.documents.document import Document, document
from outlast.cli.documents.parts import FileWarning
from outlast.core.digest import Digest, GitOid
from outlast.core.names import RepoId
from outlast.ops.keep import Change


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorPart:
    """Why a line of a keep-list failed."""

    code: Annotated[str, "which [error](errors.md) it is"]
    message: Annotated[str, "what went wrong, in a sentence"]
    hint: Annotated[str, "what to do about it; may be empty"]


@document("pull", "sync")
class KeptDocument(Document):
    """What became of a line of a keep-list. Without a plan, what it would tell is null."""

    type: Literal["kept"] = "kept"
    dry_run: Annotated[bool, "whether nothing was changed"]
    line: Annotated[int, "the number of the line"]
    repo: Annotated[RepoId, "the model"]
    ref: Annotated[str, "the branch, tag or commit"]
    state: Annotated[Change, "what became of it"]
    before: Annotated[GitOid | None, "the commit that the ref named here before"]
    commit: Annotated[GitOid | None, "the commit that it names now"]
    manifest: Annotated[Digest | None, "the manifest"]
    partial: Annotated[bool | None, "whether files of the commit are missing here, or may be"]
    files: Annotated[int | None, "files that were wanted"]
    bytes: Annotated[int | None, "their bytes"]
    to_fetch_bytes: Annotated[int | None, "bytes of these that were still to come"]
    fetched: Annotated[Mapping[str, int], "bytes that came over the network, by source"]
    warnings: Annotated[Sequence[FileWarning], "files that are not what their names say"]
    error: Annotated[ErrorPart | None, "why it failed"]


@document("pull")
class PulledListDocument(Document):
    """The last line of a pull with a keep-list."""

    type: Literal["summary"] = "summary"
    dry_run: Annotated[bool, "whether nothing was changed"]
    models: Annotated[int, "lines of the list"]
    new: Annotated[int, "those whose ref was not in the archive"]
    updated: Annotated[int, "those whose ref names another commit now"]
    completed: Annotated[int, "those of which missing files came"]
    unchanged: Annotated[int, "those with nothing to do"]
    failed: Annotated[int, "those that failed"]
    skipped: Annotated[int, "those whose turn did not come"]
    fetched_bytes: Annotated[int, "bytes that came over the network"]
    to_fetch_bytes: Annotated[int, "bytes that were still to come"]
    status: Annotated[int, "the exit status"]


@document("sync")
class SyncedDocument(PulledListDocument):
    """The last line of a sync."""

    left: Annotated[int, "models and refs here that the list does not name"]
    removed: Annotated[int, "those of them that were removed, or would be"]


@document("sync")
class LeftDocument(Document):
    """A model or ref that is here and that the list does not name."""

    type: Literal["left"] = "left"
    repo: Annotated[RepoId, "the model"]
    ref: Annotated[str | None, "the ref; null if the list names none of the model's"]
    kept: Annotated[str, "why --remove leaves it; empty if it does not"]
