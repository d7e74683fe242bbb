"""Lines of `policy screen`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from outlast.cli.documents.document import Document, document
from outlast.core.digest import Digest, GitOid
from outlast.core.names import RepoId
from outlast.features.trust.screening.lists.party import DatedBy, ListFacts, ListKind
from outlast.features.trust.screening.names.matching import Alike, ListedHit
from outlast.features.trust.screening.screened import ScreenedName, Screening
from outlast.features.trust.screening.subjects import PartyRole


@dataclass(frozen=True, slots=True, kw_only=True)
class ListPart:
    """A list that names were compared with."""

    kind: Annotated[ListKind, "whose list it is, and its format"]
    file: Annotated[str, "the name of its file"]
    date: Annotated[str, "the day that it is of (ISO 8601)"]
    dated_by: Annotated[DatedBy, "who says so: its data, or the operator with --as-of"]
    sha256: Annotated[Digest, "the digest of the file"]
    rows: Annotated[int, "rows in it"]
    parties: Annotated[int, "parties that they describe"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedRowPart:
    """A row that is alike."""

    alike: Annotated[Alike, "how alike it is"]
    score: Annotated[int, "the same from 0 to 100"]
    sha256: Annotated[Digest, "the digest of the list that has it"]
    part: Annotated[str, "the part of the list, as the list says"]
    id: Annotated[str, "the id of the party in the list"]
    party: Annotated[str, "the name of the party"]
    name: Annotated[str, "which of its names is alike"]
    programmes: Annotated[Sequence[str], "the programmes or regimes that list it"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScreenedNamePart:
    """A name that was compared."""

    name: Annotated[str, "the name"]
    role: Annotated[PartyRole, "what it is to the model"]
    of: Annotated[RepoId, "the model: the one that is screened, or one that it was made from"]
    lineage: Annotated[Sequence[RepoId], "the models from the one that is screened to that one"]
    alike: Annotated[Alike, "the likest of its rows"]
    rows: Annotated[Sequence[ListedRowPart], "the rows that are alike, the likest first, up to 10"]


@document("policy")
class ScreeningDocument(Document):
    """What comparing the names behind a model with the lists showed. It is no decision."""

    type: Literal["screening"] = "screening"
    repo: Annotated[RepoId, "the model"]
    commit: Annotated[GitOid | None, "its revision; null: it is not archived"]
    alike: Annotated[Alike, "the likest of all rows"]
    names: Annotated[Sequence[ScreenedNamePart], "all names that were compared"]
    unknown: Annotated[Sequence[str], "what could not be found out, and so was not compared"]
    lists: Annotated[Sequence[ListPart], "the lists"]


def screening_document(found: Screening) -> ScreeningDocument:
    """A screening as a line."""
    return ScreeningDocument(
        repo=found.repo,
        commit=found.commit,
        alike=found.alike,
        names=list(map(_name, found.names)),
        unknown=found.unknown,
        lists=list(map(_list, found.lists)),
    )


def _list(facts: ListFacts) -> ListPart:
    return ListPart(
        kind=facts.kind,
        file=facts.file,
        date=facts.date.isoformat(),
        dated_by=facts.dated_by,
        sha256=facts.digest,
        rows=facts.rows,
        parties=facts.parties,
    )


def _name(found: ScreenedName) -> ScreenedNamePart:
    return ScreenedNamePart(
        name=found.name.text,
        role=found.name.role,
        of=found.name.of,
        lineage=found.name.lineage,
        alike=found.alike,
        rows=list(map(_row, found.hits)),
    )


def _row(hit: ListedHit) -> ListedRowPart:
    return ListedRowPart(
        alike=hit.alike,
        score=hit.score,
        sha256=hit.facts.digest,
        part=hit.party.list_name,
        id=hit.party.id,
        party=hit.party.name,
        name=hit.name,
        programmes=hit.party.programmes,
    )
