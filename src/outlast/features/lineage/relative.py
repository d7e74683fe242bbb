"""What was found of a model and another one: how they are bound, and by what evidence."""

from dataclasses import dataclass
from enum import StrEnum

from outlast.core.digest import Digest, GitOid
from outlast.core.names import RepoId


class Bond(StrEnum):
    """What the other is to the model that was asked about."""

    SAME = "same"
    """It has the same files of weights."""
    PARENT = "parent"
    """The model was made from it."""
    CHILD = "child"
    """It was made from the model."""
    RELATED = "related"
    """They share weights; nothing tells which one was there first."""
    UNRELATED = "unrelated"
    """No test finds shared weights."""
    UNTESTED = "untested"
    """Nothing of both can be compared."""


class EvidenceKind(StrEnum):
    """What evidence is made of."""

    RECORD = "record"
    FILES = "files"
    TENSORS = "tensors"
    REQUANTISED = "requantised"
    MERGE = "merge"
    ROWS = "rows"
    UNITS = "units"
    VALUES = "values"
    SHAPES = "shapes"
    DISTANCE = "distance"
    RANK = "rank"
    PRUNED = "pruned"
    VOCABULARY = "vocabulary"
    STRUCTURE = "structure"
    TOKENIZER = "tokenizer"
    TEMPLATE = "template"
    FAULT = "fault"


@dataclass(frozen=True, slots=True)
class LineageEvidence:
    """`text` is for people. `log_p`: the natural logarithm of its p-value, before Holm; None where
    it is no test. `value`: its figure (a share, a cosine, a rho, a rank), None for none.
    """

    kind: EvidenceKind
    text: str
    log_p: float | None = None
    value: float | None = None


@dataclass(frozen=True, slots=True)
class Relative:
    """A model that was compared. `manifest` and `commit` are of its revision; `here`: it is in the
    archive. `log_p`: of all tests together, after Holm over all models; None where there was none.
    `distance`: 0 for equal weights, 1 for no likeness.
    """

    repo: RepoId
    manifest: Digest
    commit: GitOid | None
    bond: Bond
    evidence: tuple[LineageEvidence, ...]
    log_p: float | None = None
    distance: float = 1.0
    here: bool = True

    @property
    def is_bound(self) -> bool:
        return self.bond not in (Bond.UNRELATED, Bond.UNTESTED)


@dataclass(frozen=True, slots=True)
class LineageFound:
    """Of a model: its relatives, the parents first and of each bond the nearest first, and what is
    none. `considered` models are the family of tests, `compared` of them were compared in full:
    the sketches of the others are not near.
    """

    repo: RepoId
    manifest: Digest
    commit: GitOid
    structure: str
    relatives: tuple[Relative, ...]
    others: tuple[Relative, ...]
    considered: int
    compared: int
