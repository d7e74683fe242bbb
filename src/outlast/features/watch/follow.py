"""What a user follows: a pattern of models at hubs, which of their files, and how much of it."""

from dataclasses import dataclass
from enum import StrEnum

from outlast.core.names import RepoId, RepoKind


class Priority(StrEnum):
    """What goes first where not all can be polled or archived at once."""

    HIGH = "high"
    NORMAL = "normal"
    LOW = "low"


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
    terms: tuple[tuple[str, str], ...] = ()
    """Of a search."""
    ref: str | None = None
    """Only this ref is archived; None: `main`. All refs are watched."""
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    budget: int | None = None
    """Bytes that may be fetched for it; None: nothing is archived, it is only watched."""
    priority: Priority = Priority.NORMAL
    origin: str = ""
    """The file that has the line; empty if it was given by command."""
