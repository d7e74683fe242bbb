"""Lines of ``catalogue``."""

from collections.abc import Sequence
from typing import Annotated, Literal

from outlast.cli.documents.document import Document, document
from outlast.core.digest import Digest, GitOid
from outlast.core.names import RepoId


@document("catalogue")
class MadeCatalogueDocument(Document):
    """A catalogue that was made."""

    type: Literal["made"] = "made"
    catalogue: Annotated[str, "its name"]
    folder: Annotated[str, "where it lies"]
    root: Annotated[str, "the file of its root, which followers need"]
    root_sha256: Annotated[Digest, "of that file"]
    keys: Annotated[Sequence[str], "the files of its secret keys"]


@document("catalogue")
class StagedDocument(Document):
    """A revision that the next publication lists, or (`removed`) lists no more."""

    type: Literal["staged"] = "staged"
    catalogue: Annotated[str, "the catalogue"]
    repo: Annotated[RepoId, "the model"]
    revision: Annotated[GitOid, "the revision"]
    manifest: Annotated[Digest, "the sha256 of its manifest"]
    sequence: Annotated[int, "its place among the revisions of the model in this catalogue"]
    removed: Annotated[bool, "whether it is to be removed"]
    dry_run: Annotated[bool, "whether nothing was changed"]


@document("catalogue")
class PublishedDocument(Document):
    """What publishing did; also after other keys or publishers."""

    type: Literal["published"] = "published"
    catalogue: Annotated[str, "the catalogue"]
    version: Annotated[int, "the version of its snapshot that is published now"]
    entries: Annotated[int, "revisions that it lists"]
    lists: Annotated[Sequence[str], "the lists that are new"]
    waiting: Annotated[Sequence[str], "what could not be signed yet, and why"]
    copied: Annotated[int | None, "files that --to wrote; null without it"]


@document("catalogue")
class AnnouncedDocument(Document):
    """An item of the DHT that says where a catalogue is."""

    type: Literal["announced"] = "announced"
    catalogue: Annotated[str, "its name here"]
    version: Annotated[int, "the version of its timestamp"]
    timestamp: Annotated[Digest, "the sha256 of its timestamp"]
    nodes: Annotated[int, "nodes of the DHT that keep the item"]


@document("catalogue")
class CatalogueSyncedDocument(Document):
    """A catalogue that is followed, as a sync or `follow` leaves it."""

    type: Literal["synced"] = "synced"
    catalogue: Annotated[str, "its name here"]
    place: Annotated[str, "where it is"]
    pinned: Annotated[Literal["given", "first-use"], "why its first root is trusted"]
    root_sha256: Annotated[Digest, "of the file of that root"]
    root_version: Annotated[int, "the version of its newest root"]
    version: Annotated[int, "the version of its snapshot"]
    changed: Annotated[bool, "whether there was anything new"]
    current: Annotated[bool, "whether it is current; else it is stale"]
    stale_since: Annotated[str | None, "since when it is stale (ISO 8601, UTC)"]
    received_bytes: Annotated[int, "bytes that came"]
    entries: Annotated[int, "revisions that it lists"]
    added: Annotated[Sequence[str], "those that are new, as org/name/revision"]
    removed: Annotated[Sequence[str], "those that it lists no more"]
    refused: Annotated[Sequence[str], "entries that do not count, each with the reason"]


@document("catalogue")
class CatalogueDocument(Document):
    """A catalogue that is followed, or made here."""

    type: Literal["catalogue"] = "catalogue"
    catalogue: Annotated[str, "its name here"]
    own: Annotated[bool, "whether it is made here"]
    place: Annotated[str, "where it is"]
    pinned: Annotated[
        Literal["given", "first-use"] | None, "why its first root is trusted; null: it is our own"
    ]
    root_sha256: Annotated[Digest | None, "of the file of that root"]
    current: Annotated[bool, "whether it is current; else it is stale, or was never synced"]
    stale_since: Annotated[str | None, "since when it is stale (ISO 8601, UTC)"]
    synced: Annotated[str | None, "when the last sync ended well (ISO 8601, UTC)"]
    version: Annotated[int, "the version of its snapshot; 0: never synced"]
    entries: Annotated[int, "revisions that it lists"]
    problem: Annotated[str, "why it cannot be used; empty if it can"]


@document("catalogue")
class EntryDocument(Document):
    """A revision that a catalogue lists."""

    type: Literal["entry"] = "entry"
    catalogue: Annotated[str, "the catalogue"]
    repo: Annotated[RepoId, "the model"]
    revision: Annotated[GitOid, "the revision"]
    manifest: Annotated[Digest, "the sha256 of its manifest"]
    sequence: Annotated[int, "its place among the revisions of the model in this catalogue"]
    files: Annotated[int, "its files"]
    bytes: Annotated[int, "their bytes"]
    sources: Annotated[Sequence[str], "where its files may be"]
    torrent: Annotated[str, "the v2 infohash of its torrent; empty if none is told"]
    current: Annotated[bool, "whether the list is current; else it is stale"]
    stale_since: Annotated[str | None, "since when it is stale (ISO 8601, UTC)"]


@document("catalogue")
class UnfollowedDocument(Document):
    """A catalogue that is followed no more."""

    type: Literal["unfollowed"] = "unfollowed"
    catalogue: Annotated[str, "its name here"]
    dry_run: Annotated[bool, "whether nothing was changed"]
