"""Names of models that are known beside those that an archive holds, for comparing names."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class KnownName:
    """`name`: ``org/name``, or an organisation alone. `where`: what knows it, in words, as "listed
    by acme". `trusted`: the operator named it; others may list what they like.
    """

    name: str
    where: str
    trusted: bool = False


class KnownNames(Protocol):
    """Thread-safe; asks no network."""

    def stamp(self) -> object:
        """Another value whenever the names may be others."""

    def names(self) -> Iterable[KnownName]:
        """All of them."""
