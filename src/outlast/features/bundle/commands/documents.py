"""Lines of `export`, `import` and `inventory`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from outlast.cli.documents.document import Document, document
from outlast.core.digest import Digest


@document("export")
class ExportedDocument(Document):
    """A bundle that was written, or in a dry run (`export_plan`) that would be."""

    type: Literal["exported", "export_plan"]
    id: Annotated[Digest, "the bundle: the sha256 of what it says to everybody"]
    contents: Annotated[Digest, "the sha256 of the contents; `id`, unless it is encrypted"]
    encrypted: Annotated[bool, "whether it is encrypted"]
    sequence: Annotated[int, "1, or one more than that of the bundle that it builds on"]
    models: Annotated[int, "models and datasets in it"]
    revisions: Annotated[int, "revisions of them"]
    payloads: Annotated[int, "blobs in it"]
    payload_bytes: Annotated[int, "bytes of them, in the form that they have in it"]
    assumed: Annotated[int, "files that the reader has already"]
    parts: Annotated[int, "data parts"]
    parity_parts: Annotated[int, "parity parts"]
    bytes: Annotated[int, "bytes of all parts"]
    media: Annotated[int, "media that it takes"]
    wheels: Annotated[int, "wheels of outlast, its engine and what they need"]
    catalogues: Annotated[Sequence[str], "catalogues in it"]
    kept: Annotated[int, "parts that an earlier run had finished, read again and right"]
    written_bytes: Annotated[int, "bytes of parts that were written"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusedPart:
    """Something that was not taken."""

    what: Annotated[str, "the file, revision, ref or model"]
    reason: Annotated[str, "why, for a person"]
    code: Annotated[str, "which [error](errors.md) it is"]


@document("import")
class ImportedDocument(Document):
    """What became of a bundle."""

    type: Literal["imported"] = "imported"
    id: Annotated[Digest, "the bundle: the sha256 of what it says to everybody"]
    contents: Annotated[Digest, "the sha256 of the contents; `id`, unless it is encrypted"]
    sequence: Annotated[int, "its place in a row of bundles that build on each other"]
    new: Annotated[Sequence[str], "the revisions that are new in the archive, as org/name@commit"]
    already: Annotated[int, "revisions that were in the archive"]
    unfinished: Annotated[Sequence[str], "revisions of which files are missing or refused"]
    new_blobs: Annotated[int, "blobs that were taken"]
    new_bytes: Annotated[int, "bytes of them in the bundle"]
    had_files: Annotated[int, "files whose bytes were in the archive"]
    refs: Annotated[Sequence[str], "branches and tags that are new or name another commit now"]
    kept_refs: Annotated[Sequence[RefusedPart], "those that the bundle would have moved back"]
    refused: Annotated[Sequence[RefusedPart], "what was refused or is missing"]
    repaired_blocks: Annotated[int, "blocks of the parts that were restored from parity"]
    left_out: Annotated[Sequence[str], "files on the media that are no part of a bundle, and why"]
    statements: Annotated[int, "signed statements about revisions that are new in the archive"]
    catalogues: Annotated[Sequence[str], "catalogues that came along, which prove nothing yet"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedFile:
    """A file that a manifest in a bundle names."""

    model: Annotated[str, "org/name"]
    commit: Annotated[str, "the revision"]
    path: Annotated[str, "its path in the revision"]
    size: Annotated[int, "bytes"]
    sha256: Annotated[Digest | None, "of its bytes"]
    held: Annotated[bool, "whether the bundle has its bytes"]


@document("import")
class ListedDocument(Document):
    """What a bundle holds."""

    type: Literal["bundle"] = "bundle"
    id: Annotated[Digest, "the bundle: the sha256 of what it says to everybody"]
    contents: Annotated[Digest, "the sha256 of the contents; `id`, unless it is encrypted"]
    sequence: Annotated[int, "its place in a row of bundles that build on each other"]
    files: Annotated[Sequence[ListedFile], "the files of its revisions"]


@document("inventory")
class InventoryDocument(Document):
    """What an inventory holds."""

    type: Literal["inventory"] = "inventory"
    check: Annotated[Digest, "names the inventory"]
    blobs: Annotated[int, "blobs in it"]
    manifests: Annotated[int, "manifests in it"]
