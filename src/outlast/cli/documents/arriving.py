"""Lines of `pull`, `add` and `adopt`: what came into the archive."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

from outlast.cli.documents.document import Document, document
from outlast.cli.documents.parts import FileWarning
from outlast.core.digest import Digest, GitOid
from outlast.core.events import FileProblem
from outlast.core.names import RepoId


@document("pull")
class PulledDocument(Document):
    """The result of a pull by name or by digest; with --dry-run what it would do (`plan`)."""

    type: Literal["pulled", "plan"]
    repo: Annotated[RepoId, "the model"]
    ref: Annotated[str, "the branch, tag or commit that was asked for"]
    commit: Annotated[GitOid, "the commit"]
    manifest: Annotated[Digest | None, "the manifest; null in a plan"]
    partial: Annotated[bool, "whether files of the commit are missing here, or may be"]
    refused: Annotated[Sequence[str], "files left out because of their names"]
    source: Annotated[str, "which source named the commit"]
    unconfirmed: Annotated[bool, "whether only a node on the LAN says so"]
    files: Annotated[int, "files that were wanted"]
    bytes: Annotated[int, "their bytes"]
    to_fetch: Annotated[Sequence[str], "paths of the files that were not here"]
    to_fetch_bytes: Annotated[int, "bytes of these that were still to come"]
    free_bytes: Annotated[int, "free bytes of the disk before"]
    fits: Annotated[bool, "whether the files fit into them"]
    fetched: Annotated[Mapping[str, int], "bytes that came over the network, by source"]
    mended: Annotated[Sequence[str], "paths of files that were here, damaged, and are right again"]
    held_bytes: Annotated[int, "bytes of the wanted files on the disk, as `du` counts"]
    warnings: Annotated[Sequence[FileWarning], "files that are not what their names say"]


@document("pull")
class PulledLinkDocument(Document):
    """The result of a pull by link or torrent file; with --dry-run what it would do (`plan`)."""

    type: Literal["pulled", "plan"]
    repo: Annotated[RepoId, "the name that it is archived by"]
    ref: Annotated[str, "the branch that names it here"]
    link: Annotated[str, "the link"]
    commit: Annotated[GitOid | None, "the revision; null in a plan"]
    manifest: Annotated[Digest | None, "the manifest; null in a plan"]
    partial: Annotated[bool, "false: a link is archived whole"]
    restricted: Annotated[bool, "whether it came from static peers, and is for them only"]
    files: Annotated[int, "its files"]
    bytes: Annotated[int, "their bytes"]
    free_bytes: Annotated[int, "free bytes of the disk before"]
    fits: Annotated[bool, "whether the files fit into them"]
    fetched: Annotated[Mapping[str, int], "bytes that came over the network, by source"]
    held_bytes: Annotated[int, "bytes of the files on the disk, as `du` counts"]
    warnings: Annotated[Sequence[FileWarning], "files that are not what their names say"]


@document("add")
class AddedDocument(Document):
    """The result of an add."""

    type: Literal["added"] = "added"
    repo: Annotated[RepoId, "the model"]
    commit: Annotated[GitOid, "the revision's id"]
    manifest: Annotated[Digest, "the manifest"]
    files: Annotated[int, "its files"]
    bytes: Annotated[int, "their bytes"]
    stored_bytes: Annotated[int, "those of `bytes` that were new to the archive"]
    held_bytes: Annotated[int, "bytes of the files on the disk, as `du` counts"]
    warnings: Annotated[Sequence[FileWarning], "files that are not what their names say"]


@document("adopt")
class AdoptedDocument(Document):
    """The result of an import; problems make the exit status 4."""

    type: Literal["adopted"] = "adopted"
    revisions: Annotated[Sequence[str], "what was imported, as `org/name@commit`"]
    linked_bytes: Annotated[int, "bytes that the cache and the archive share"]
    copied_bytes: Annotated[int, "bytes that were copied"]
    problems: Annotated[Sequence[FileProblem], "files that were refused"]
    warnings: Annotated[Sequence[FileWarning], "files that are not what their names say"]
