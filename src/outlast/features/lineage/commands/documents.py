"""The line of `lineage`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from outlast.cli.documents.document import Document, document
from outlast.core.digest import Digest, GitOid
from outlast.core.names import RepoId
from outlast.features.lineage.relative import Bond, EvidenceKind


@dataclass(frozen=True, slots=True, kw_only=True)
class LineageEvidencePart:
    """A piece of evidence about two models."""

    kind: Annotated[EvidenceKind, "what it is made of"]
    text: Annotated[str, "a sentence for people"]
    log10_p: Annotated[
        float | None,
        "the logarithm of its p-value to the base of 10, by itself; null: it is no test",
    ]
    value: Annotated[float | None, "its figure: a share, a cosine, a rho, a rank; null: none"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RelativePart:
    """A model that was compared."""

    repo: Annotated[RepoId, "the model"]
    manifest: Annotated[Digest, "the sha256 of its manifest"]
    revision: Annotated[GitOid | None, "its commit; null: unknown"]
    bond: Annotated[Bond, "what it is to the model that was asked about"]
    here: Annotated[bool, "whether it is in the archive"]
    log10_p: Annotated[
        float | None,
        "the logarithm of the p-value of all its tests to the base of "
        "10, after Holm over all models; null: there was none",
    ]
    evidence: Annotated[Sequence[LineageEvidencePart], "what was found"]


@document("lineage")
class LineageDocument(Document):
    """What a model is related to."""

    type: Literal["lineage"] = "lineage"
    repo: Annotated[RepoId, "the model"]
    revision: Annotated[GitOid, "its commit"]
    manifest: Annotated[Digest, "the sha256 of its manifest"]
    structure: Annotated[str, "its layers, width, tokens and main type"]
    relatives: Annotated[
        Sequence[RelativePart], "parents first, the nearest first; empty: none of these"
    ]
    others: Annotated[Sequence[RelativePart], "what was compared and is no relative"]
    considered: Annotated[int, "models that it was compared with: the family of the tests"]
    compared: Annotated[int, "those of them that were compared in full"]
    alpha: Annotated[float, "the largest chance that any relative of tests alone is none"]
