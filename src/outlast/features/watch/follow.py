"""What a user follows: a pattern of models at hubs, which of their files, and how much of it."""

from dataclasses import dataclass
from enum import StrEnum

from outlast.core.keep_list import Priority
from outlast.core.names import RepoId, RepoKind

__all__ = ["Follow", "PatternKind", "Priority"]


class PatternKind(StrEnum):
    """How the models of a follow are found."""

    MODEL = "model"
    """One model or dataset, by its name."""
    ORGANISATION = "organisation"
    """All of an organisation: ``org/*``."""
    COLLECTION = "collection"
    """A hub's collection, by its slug: ``collections/org/slug``."""
    SEARCH = "search"
    """``search:author=ORG,tag=TAG,license=LICENCE,base_model=ORG/NAME``."""


@dataclass(frozen=True, slots=True)
class Follow:
    """One line of a list of follows, or one call of ``outlast follow``. `text` is as the user wrote
    the pattern, and names the follow.
    """

    text: str
    kind: PatternKind
    what: RepoKind = RepoKind.MODEL
    repo: RepoId | None = None
    """If one model is named."""
    organisation: str = ""
    slug: str = ""
    """Of a collection, with its organisation: ``org/slug``."""
    terms: tuple[tuple[str, str], ...] = ()
    """Of a search: the terms in the order of the pattern; ``tag`` may come several times."""
    ref: str | None = None
    """Only this ref is archived; None: `main`. All refs are watched."""
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    budget: int | None = None
    """Bytes that may be fetched for it; None: nothing is archived, it is only watched."""
    priority: Priority = Priority.NORMAL
    origin: str = ""
    """The file that has the line; empty if it was given by command."""

    @property
    def key(self) -> str:
        """The same for two follows of the same thing, in whatever spelling."""
        if self.repo is not None:
            return f"{self.repo.folded}@{self.ref or 'main'}"
        if self.organisation and not self.slug:
            return f"{self.what.plural}/{self.organisation}/*".lower()
        terms = ",".join(sorted(f"{key}={value}" for key, value in self.terms))
        return (self.slug or terms).lower()
