"""Lines of `mirror`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from outlast.cli.documents.document import Document, document
from outlast.core.digest import GitOid
from outlast.core.names import RepoId


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenPart:
    """A holder as it was seen."""

    name: Annotated[str, "how it was asked"]
    kind: Annotated[str, "`hub`, `mirror`, `source`, `node`, `neighbour` or `swarm`"]
    group: Annotated[str, "holders of one group count as one"]
    files: Annotated[int, "files that it said to have"]
    bytes: Annotated[int, "their bytes"]
    whole: Annotated[bool, "whether those are all files"]
    seen: Annotated[str, "when (ISO 8601, UTC)"]


@document("mirror")
class DependenceDocument(Document):
    """A model, and who was seen to hold it."""

    type: Literal["dependence"] = "dependence"
    repo: Annotated[RepoId, "the model"]
    commit: Annotated[GitOid | None, "the revision that was asked for; null if none was"]
    bytes: Annotated[int, "its bytes"]
    here: Annotated[bool | None, "whether all of it is here; null if nothing is"]
    holders: Annotated[int, "independent holders of all of it, beside this archive"]
    seen: Annotated[Sequence[SeenPart], "all that were seen to hold some of it"]
    asked: Annotated[str | None, "when they were asked (ISO 8601, UTC); null: never"]


@document("mirror")
class LossDocument(Document):
    """What would have no other known holder if a hub went away."""

    type: Literal["loss"] = "loss"
    hub: Annotated[str, "the hub, or other place of the configuration, by its registrable name"]
    models: Annotated[int, "models that only it and this archive hold, or only it"]
    bytes: Annotated[int, "their bytes"]
    lost_models: Annotated[int, "those of them that are not whole here"]
    lost_bytes: Annotated[int, "their bytes"]
    only_here: Annotated[Sequence[RepoId], "those that only this archive would have"]
    lost: Annotated[Sequence[RepoId], "those that would be lost"]


@document("mirror")
class MirrorDocument(Document):
    """The last line."""

    type: Literal["summary"] = "summary"
    models: Annotated[int, "models that were looked at"]
    unknown: Annotated[int, "those that were never asked for"]
    without: Annotated[int, "those that were, and of which no other holder of all is known"]
    asked: Annotated[int, "those that --refresh asked for now"]
