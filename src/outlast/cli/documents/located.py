"""Lines of `locate`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from outlast.cli.documents.document import Document, document
from outlast.core.digest import GitOid
from outlast.core.names import RepoId
from outlast.ops.holders.values import HolderKind, HolderState


@document("locate")
class HolderDocument(Document):
    """A place that was asked for a model. What it says to have is not verified."""

    type: Literal["holder"] = "holder"
    holder: Annotated[str, "how it was asked"]
    kind: Annotated[HolderKind, "what it is"]
    group: Annotated[str, "holders of one group count as one: they may be the same"]
    state: Annotated[HolderState, "how much it has, or why that is not known"]
    files: Annotated[int, "files of the revision that it has, by digest"]
    bytes: Annotated[int, "their bytes"]
    commit: Annotated[GitOid | None, "the commit or listing that it names; null if it names none"]
    note: Annotated[str, "what a person should know; may be empty"]


@document("locate")
class LocatedDocument(Document):
    """The last line: which revision was looked for, and what follows."""

    type: Literal["located"] = "located"
    repo: Annotated[RepoId, "the model"]
    revision: Annotated[GitOid, "the commit"]
    told_by: Annotated[str, "who said which files it has: this archive, or a source"]
    files: Annotated[int, "its files"]
    bytes: Annotated[int, "their bytes"]
    restricted: Annotated[bool, "whether only sources and static peers were asked"]
    holders: Annotated[int, "independent holders of all files beside this archive"]
    here: Annotated[int, "files that are here"]
    elsewhere: Annotated[bool, "whether the others together have all files"]
    nodes_without: Annotated[int, "nodes on the LAN that have no file of it"]
    status: Annotated[int, "the exit status"]
    disputes: Annotated[
        Sequence[str], "what followed catalogues say against each other of it, in a line each"
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class EqualPart:
    """A model of another place that has files of this one, by digest."""

    hub: Annotated[str, "the place"]
    name: Annotated[RepoId, "what the model is called there"]
    revision: Annotated[GitOid, "the commit or listing there"]
    files: Annotated[int, "files of this revision that are there"]
    of: Annotated[int, "files of this revision"]
    share: Annotated[float, "which part of this revision's bytes is there, from 0 to 1"]
    more: Annotated[int, "files there that this revision has not"]
    whole: Annotated[bool, "whether each has all files of the other"]
    seen: Annotated[str, "when that was seen (ISO 8601, UTC)"]
