"""What screening a model showed, as a value."""

from collections.abc import Iterable
from dataclasses import dataclass

from outlast.core.digest import GitOid
from outlast.core.names import RepoId
from outlast.features.trust.screening.lists.party import ListFacts
from outlast.features.trust.screening.names.matching import Alike, ListedHit
from outlast.features.trust.screening.subjects import PartyName


@dataclass(frozen=True, slots=True)
class ScreenedName:
    """A name, and the rows that are alike, the likest first."""

    name: PartyName
    hits: tuple[ListedHit, ...]

    @property
    def alike(self) -> Alike:
        return _most(hit.alike for hit in self.hits)


@dataclass(frozen=True, slots=True)
class Screening:
    """What comparing the names behind a model with some lists showed. It is no decision."""

    repo: RepoId
    commit: GitOid | None
    names: tuple[ScreenedName, ...]
    unknown: tuple[str, ...]
    lists: tuple[ListFacts, ...]

    @property
    def alike(self) -> Alike:
        """The likest of all rows; unknown where no name was compared."""
        if not self.names:
            return Alike.UNKNOWN
        return _most(name.alike for name in self.names)


def _most(found: Iterable[Alike]) -> Alike:
    order = [Alike.NONE, Alike.POSSIBLE, Alike.MATCH]
    return max(found, key=order.index, default=Alike.NONE)
