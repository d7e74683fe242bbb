"""Lines of `search`, `share` and `status`: other nodes."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from outlast.cli.documents.document import Document, document
from outlast.cli.documents.parts import ClaimPart
from outlast.codec.payload import Form
from outlast.core.digest import Digest, GitOid
from outlast.core.names import RepoId
from outlast.core.status import STATUS_TYPE, NodeStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class HolderPart:
    """A node that offers a model."""

    node: Annotated[str, "its id in hex"]
    name: Annotated[str, "how it was reached"]


@document("search")
class ModelDocument(Document):
    """A revision that nodes offer. Nothing of it is verified."""

    type: Literal["model"] = "model"
    repo: Annotated[RepoId, "the model"]
    revision: Annotated[GitOid, "the commit"]
    manifest: Annotated[Digest, "the manifest"]
    refs: Annotated[Sequence[str], "branches and tags that name it there"]
    files: Annotated[int, "files that they have"]
    bytes: Annotated[int, "their bytes"]
    partial: Annotated[bool, "whether files of the commit are missing there, or may be"]
    restricted: Annotated[bool, "whether it is private or gated at its hub"]
    nodes: Annotated[int, "nodes that offer it"]
    held_by: Annotated[Sequence[HolderPart], "these nodes"]
    claims: Annotated[
        Sequence[ClaimPart], "all four claims, where this archive holds the manifest; else none"
    ]
    revoked: Annotated[str, "why it is not to be used any more, where that is known here"]
    listed_by: Annotated[Sequence[str], "catalogues that are followed here and list it"]
    made_from: Annotated[
        Sequence[Digest], "with --base: the manifests that it says it was made from; else none"
    ]


@document("search")
class UnansweredDocument(Document):
    """A node that gave no answer."""

    type: Literal["unanswered"] = "unanswered"
    node: Annotated[str, "how it was asked"]
    reason: Annotated[str, "why there is no answer, for a person"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedFilePart:
    """A file of a revision that is shared."""

    path: Annotated[str, "its path"]
    bytes: Annotated[int, "its size"]
    form: Annotated[Form, "the representation that nodes exchange (`thin`: a delta)"]
    payload_bytes: Annotated[int, "bytes of that"]
    root: Annotated[Digest | None, "its merkle root (BEP 52)"]
    infohash: Annotated[str | None, "of its torrent, in hex; null if the file is empty"]
    torrent: Annotated[Path | None, "its .torrent file, with --blobs"]


@document("share")
class SharedDocument(Document):
    """The torrents of a revision."""

    type: Literal["shared"] = "shared"
    repo: Annotated[RepoId, "the model"]
    revision: Annotated[GitOid, "the commit"]
    partial: Annotated[bool, "whether files are missing, or may be"]
    restricted: Annotated[bool, "whether the policy forbids to share it, and --restricted did"]
    magnet: Annotated[str, "the magnet link"]
    torrent: Annotated[Path, "the .torrent file"]
    magnet_v1: Annotated[str | None, "the link of BitTorrent v1 alone, with --v1"]
    torrent_v1: Annotated[Path | None, "its .torrent file"]
    infohash_v1: Annotated[str | None, "in hex"]
    infohash_v2: Annotated[str | None, "in hex"]
    bytes: Annotated[int | None, "bytes of the files"]
    trackers: Annotated[Sequence[str], "URLs"]
    web_seeds: Annotated[Sequence[str], "URLs"]
    files: Annotated[Sequence[SharedFilePart], "the files"]


@document("share")
class StoppedDocument(Document):
    """The result of `share --stop`."""

    type: Literal["stopped"] = "stopped"
    repo: Annotated[RepoId, "the model"]
    infohashes: Annotated[Sequence[str], "torrents that are not seeded any more, in hex"]


@document("status")
class NodeDocument(NodeStatus, Document):
    """A running node. The command prints one list of them, on one line."""

    type: Literal["outlast-status-v1"] = STATUS_TYPE
    archive_bytes: Annotated[int, "bytes of the disk that the archive takes, as `du` counts"]
