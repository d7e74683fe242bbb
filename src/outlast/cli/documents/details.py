"""The line of `show`."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from outlast.cli.documents.document import OMITTED, Document, document
from outlast.cli.documents.located import EqualPart
from outlast.cli.documents.parts import (
    ClaimPart,
    CommitPart,
    FileWarning,
    ForeignPart,
    NoticePart,
    RunPart,
    WithdrawnPart,
)
from outlast.codec.payload import Form
from outlast.core.digest import Digest, GitOid
from outlast.core.names import RepoId
from outlast.core.records.lineage import AncestorRole, Making, WeightsForm


@dataclass(frozen=True, slots=True, kw_only=True)
class RefPart:
    """A branch or tag of the archive."""

    name: Annotated[str, "its name"]
    commit: Annotated[GitOid, "the commit that it names"]
    source: Annotated[str, "the source that said so; empty for a local ref"]
    observed: Annotated[str, "when it did (ISO 8601, UTC); empty for a local ref"]
    kind: Annotated[str, "`branch` or `tag`; empty if the source did not say"]
    complete: Annotated[GitOid | None, "a commit named before of which everything is here"]
    unconfirmed: Annotated[bool, "whether `source` is a node on the LAN, and no hub said so"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ToldPart:
    """Who on the LAN alone said which files a revision has."""

    by: Annotated[str, "the node; empty if that cannot be read"]
    since: Annotated[str, "when it did (ISO 8601, UTC); empty if that cannot be read"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AboutPart:
    """What a hub says of a model beside its files."""

    private: Annotated[bool, "whether it is private"]
    gated: Annotated[str | bool, "whether it is gated; or how, as the hub says"]
    tags: Annotated[Sequence[str], "its tags"]
    facts: Annotated[Mapping[str, str], "further facts, by name; and notes of outlast"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FilePart:
    """A file of a revision."""

    path: Annotated[str, "its path"]
    size: Annotated[int, "bytes"]
    sha256: Annotated[Digest | None, "of its bytes"] = dataclasses.field(
        default=None, metadata=OMITTED
    )
    git_sha1: Annotated[GitOid | None, "its git blob id, if the hub keeps it in git"] = (
        dataclasses.field(default=None, metadata=OMITTED)
    )
    merkle_root: Annotated[Digest | None, "of its bytes (BEP 52)"] = dataclasses.field(
        default=None, metadata=OMITTED
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class BasePart:
    """A file that a delta depends on."""

    sha256: Annotated[Digest, "of its bytes"]
    bytes: Annotated[int, "its size"]
    models: Annotated[Sequence[str], "archived models that have it"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FormPart:
    """How a file is stored."""

    path: Annotated[str, "the file's path"]
    form: Annotated[Form | None, "its representation (`thin`: a delta); null if it is lost"]
    same_as: Annotated[str | None, "another path with the same bytes, which counts them"]
    stored_bytes: Annotated[int, "bytes on the disk; 0 with `same_as`"]
    saving: Annotated[float, "which part of its size the disk need not hold, from 0 to 1"]
    bases: Annotated[Sequence[BasePart], "what it is a delta against"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DamagedFilePart:
    """A file that is damaged here."""

    path: Annotated[str, "the file's path"]
    damage: Annotated[str, "what is wrong, for a person"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AncestorPart:
    """A revision that a model was made from."""

    repo: Annotated[RepoId, "its name"]
    manifest: Annotated[Digest, "the sha256 of its manifest"]
    commit: Annotated[GitOid | None, "the hub's commit; null: it has none"]
    role: Annotated[AncestorRole, "what it is to the model"]
    form: Annotated[WeightsForm, "in which form its weights were used"]
    file: Annotated[str, "the file of it that was used; empty: all"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LineagePart:
    """How a model was made, as its own record says."""

    making: Annotated[Making, "how"]
    ancestors: Annotated[Sequence[AncestorPart], "from what; the base first"]
    data: Annotated[Digest | None, "sha256 of the training data; null: there was none"]
    tokenizer: Annotated[Digest | None, "sha256 of the tokenizer; null: unknown"]
    template: Annotated[Digest | None, "sha256 of the chat template's text; null: none"]
    seed: Annotated[int | None, "the seed of the training; null: there was none"]
    parameters: Annotated[dict[str, str | int | float | bool], "what the training was told"]
    versions: Annotated[dict[str, str | int | float | bool], "of the programs that made it"]
    metrics: Annotated[dict[str, str | int | float | bool], "losses in nats per token, counts"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FamilyPart:
    """A model of the family tree: bases, and what was made of them."""

    repo: Annotated[RepoId, "the model"]
    manifest: Annotated[Digest, "the sha256 of its manifest"]
    making: Annotated[Making | None, "how it was made from `parent`; null: it is the eldest"]
    here: Annotated[bool, "whether it is in the archive"]
    parent: Annotated[Digest | None, "the manifest of what it was made from"]


@document("show")
class DetailsDocument(Document):
    """One revision in full."""

    type: Literal["details"] = "details"
    repo: Annotated[RepoId, "the model"]
    revision: Annotated[GitOid, "the commit"]
    manifest: Annotated[Digest | None, "the manifest; null while files are arriving"]
    refs: Annotated[Sequence[RefPart], "branches and tags that name it here"]
    partial: Annotated[bool, "whether files are missing, or may be"]
    unlisted: Annotated[bool, "whether there may be files that no list names"]
    bytes: Annotated[int, "bytes of the files that are here, as a client sees them"]
    shared_bytes: Annotated[int, "those of them that other revisions have too"]
    damaged_refs: Annotated[Sequence[str], "refs of the model that cannot be read"]
    about: Annotated[AboutPart, "what the hub says of the model"]
    about_known: Annotated[bool, "whether that can be read; else the model counts as private"]
    withdrawn: Annotated[Sequence[WithdrawnPart], "sources that do not give it out any more"]
    notice: Annotated[NoticePart | None, "the takedown notice of `outlast withdraw`, if any"]
    link: Annotated[str | None, "the magnet link that it came by"]
    listed_by: Annotated[ToldPart | None, "the node on the LAN that alone listed its files, if so"]
    files: Annotated[Sequence[FilePart], "the files that are here"]
    missing: Annotated[Sequence[FilePart], "the files of the commit that are not"]
    absent: Annotated[Sequence[str], "paths of archived files whose bytes are lost"]
    damaged: Annotated[Sequence[DamagedFilePart], "archived files that are damaged here"]
    stored_bytes: Annotated[int, "bytes on the disk, as `du` counts, each content once"]
    saving: Annotated[float, "which part of `bytes` the disk need not hold, from 0 to 1"]
    forms: Annotated[Sequence[FormPart], "how each of `files` is stored"]
    warnings: Annotated[Sequence[FileWarning], "files that are not what their names say"]
    code: Annotated[
        Sequence[str],
        "paths of files that are code by their names; `run` uses none but Python that is allowed",
    ]
    code_digest: Annotated[
        Digest | None,
        "that of all its Python files, for `run --allow-code`; null: there are none, or they are "
        "still arriving",
    ]
    code_allowed: Annotated[bool, "whether exactly these Python files may run"]
    equals: Annotated[Sequence[EqualPart], "models elsewhere with its files, as `locate` saw"]
    claims: Annotated[Sequence[ClaimPart], "all four claims; none while files are arriving"]
    revoked: Annotated[str, "why it is not to be used any more; empty: it may be used"]
    resembles: Annotated[
        str, "a warning where its name looks like that of another model that is known; or empty"
    ]
    run: Annotated[RunPart | None, "whether `run` uses it; null while files are arriving"]
    foreign: Annotated[
        Sequence[ForeignPart], "signatures of other tools among the files; no claim follows of them"
    ]
    lineage: Annotated[LineagePart | None, "how it was made; null: it has no record"]
    family: Annotated[Sequence[FamilyPart], "bases and derivatives here, parents first"]
    commit: Annotated[
        CommitPart | None, "what the text of the hub's commit proves; null where that is not here"
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateChangePart:
    """A chat template that differs between two revisions."""

    place: Annotated[str, "the file; after a colon, which template of it"]
    what: Annotated[Literal["added", "removed", "changed"], "how it differs"]
    diff: Annotated[Sequence[str], "lines of a unified diff"]


@document("show")
class TemplateDiffDocument(Document):
    """How the chat templates of a revision differ from those of another one (`--template-diff`)."""

    type: Literal["template-diff"] = "template-diff"
    repo: Annotated[RepoId, "the model"]
    revision: Annotated[GitOid, "the commit"]
    old: Annotated[GitOid, "the commit that it is compared with"]
    templates: Annotated[int, "chat templates of the revision"]
    changes: Annotated[Sequence[TemplateChangePart], "those that differ"]
