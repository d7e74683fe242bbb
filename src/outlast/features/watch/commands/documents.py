"""Lines of `follow`, `log` and `withdraw`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from outlast.cli.documents.document import Document, document
from outlast.core.digest import GitOid
from outlast.core.keep_list import Priority
from outlast.core.names import RepoId
from outlast.features.watch.changes import ChangeKind
from outlast.features.watch.follow import PatternKind


@dataclass(frozen=True, slots=True, kw_only=True)
class TakesPart:
    """What archiving all that a pattern names would take."""

    hub: Annotated[str, "the hub that was asked"]
    models: Annotated[int, "models and datasets that the hub names"]
    bytes: Annotated[int, "bytes of their files that the globs want, as far as known"]
    unknown: Annotated[int, "those of the models whose sizes are not among them"]


@document("follow")
class FollowDocument(Document):
    """Something that is followed, as the command leaves it."""

    type: Literal["follow"] = "follow"
    pattern: Annotated[str, "the pattern, as it was written"]
    kind: Annotated[PatternKind, "what it names"]
    include: Annotated[Sequence[str], "globs of files that are taken; none: all"]
    exclude: Annotated[Sequence[str], "globs of files that are left out"]
    budget: Annotated[int | None, "bytes that may be fetched for it; null: it is watched only"]
    priority: Annotated[Priority, "how urgent it is"]
    list: Annotated[str, "the keep-list that names it; empty: the archive's own list"]
    dry_run: Annotated[bool, "whether nothing was changed"]
    change: Annotated[
        Literal["added", "changed", "removed"] | None, "what the command did; null: it lists"
    ]
    takes: Annotated[TakesPart | None, "what it would take; null if no hub said"]
    free_bytes: Annotated[int, "bytes that are free on the archive's disk"]


@document("log", "watch")
class ChangeDocument(Document):
    """Something that happened to a model at a hub, or a commit that this archive got from it."""

    type: Literal["change"] = "change"
    when: Annotated[str, "when this archive noticed (ISO 8601, UTC)"]
    hub: Annotated[str, "where; empty: in this archive alone"]
    repo: Annotated[RepoId | None, "the model; null: the hub as a whole"]
    what: Annotated[
        ChangeKind | Literal["archived", "withdrawn", "notice"],
        "what changed; `archived`: a ref of the archive; `withdrawn`: found when it was asked for; "
        "`notice`: by `outlast withdraw`",
    ]
    ref: Annotated[str, "the branch or tag; empty: the model as a whole"]
    before: Annotated[str, "what it was: a commit, name, licence or word"]
    after: Annotated[str, "what it is"]
    reason: Annotated[str, "what the hub said; may be empty"]
    diff: Annotated[str, "a unified diff of the texts that changed; may be empty"]
    files: Annotated[Sequence[str], "the paths that are meant, the first 100"]
    commit: Annotated[GitOid | None, "the commit that is here, of `archived`"]


@document("withdraw")
class NoticeDocument(Document):
    """A takedown notice, as the command leaves it."""

    type: Literal["notice"] = "notice"
    repo: Annotated[RepoId, "the model"]
    dry_run: Annotated[bool, "whether nothing was changed"]
    since: Annotated[str | None, "since when it stands (ISO 8601, UTC); null: there is none"]
    reason: Annotated[str, "its reason; empty if there is none"]
    stopped: Annotated[bool, "whether the model is not given out"]
