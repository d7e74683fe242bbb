"""What can happen to a model at a hub, as values: what was seen, and what changed since."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from outlast.core.digest import GitOid
from outlast.core.names import RepoId


class HubStanding(StrEnum):
    """How a hub answers for a model, from where we ask and with the token that we have."""

    OPEN = "open"
    GATED = "gated"
    PRIVATE = "private"
    """It answers, and says that the model is private: the token may read it."""
    REFUSED = "refused"
    """401 or 403: it wants another token, or does not say whether the model exists."""
    MISSING = "missing"
    """404."""
    GONE = "gone"
    """410."""
    BLOCKED = "blocked"
    """451: a law or a notice keeps it from us, perhaps only where we are."""

    @property
    def serves(self) -> bool:
        """Whether the hub still speaks of the model."""
        return self in {HubStanding.OPEN, HubStanding.GATED, HubStanding.PRIVATE}


class ChangeKind(StrEnum):
    """What changed. The words are those of alerts, of ``outlast log`` and of ``--json``."""

    APPEARED = "appeared"
    """A model that a pattern names, and that was not there at the last poll."""
    NEW_REF = "new-ref"
    MOVED = "moved"
    """A ref names a commit that descends from the one before."""
    FORCE_PUSHED = "force-pushed"
    """A ref left its own history."""
    REF_DELETED = "ref-deleted"
    FILES_DROPPED = "files-dropped"
    """A new commit lacks files that the one before had."""
    RELICENSED = "relicensed"
    CARD_CHANGED = "card-changed"
    GATED = "gated"
    UNGATED = "ungated"
    MADE_PRIVATE = "made-private"
    RENAMED = "renamed"
    """It answers by another name in the same organisation."""
    TRANSFERRED = "transferred"
    """It answers by a name in another organisation."""
    REFUSED = "refused"
    DELETED = "deleted"
    ACCOUNT_GONE = "account-gone"
    """All models of an organisation went at once."""
    BLOCKED = "blocked"
    RETURNED = "returned"
    HUB_DARK = "hub-dark"
    """The hub as a whole answers nothing, or only errors of its own."""
    HUB_BACK = "hub-back"

    @property
    def withdraws(self) -> bool:
        """Whether what was there can no longer be fetched."""
        return self in _WITHDRAWS

    @property
    def withdraws_model(self) -> bool:
        """The same of the model as a whole."""
        return self in _WITHDRAWS_MODEL


_WITHDRAWS_MODEL = frozenset(
    {
        ChangeKind.GATED,
        ChangeKind.MADE_PRIVATE,
        ChangeKind.REFUSED,
        ChangeKind.DELETED,
        ChangeKind.ACCOUNT_GONE,
        ChangeKind.BLOCKED,
    }
)
_WITHDRAWS = _WITHDRAWS_MODEL | {
    ChangeKind.FORCE_PUSHED,
    ChangeKind.REF_DELETED,
    ChangeKind.FILES_DROPPED,
}


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that happened, noticed at `when` (ISO 8601, UTC). `repo` is None where the hub as a
    whole is meant, `ref` empty where the model as a whole is. `before` and `after` are short words
    (commits, names, licences, standings), `reason` is what the hub said, and `diff` a unified diff
    of two texts.
    """

    kind: ChangeKind
    hub: str
    when: str
    repo: RepoId | None = None
    ref: str = ""
    before: str = ""
    after: str = ""
    reason: str = ""
    diff: str = ""
    files: tuple[str, ...] = ()
    """The paths that are meant, the first 100 of them."""


@dataclass(frozen=True, slots=True)
class Observation:
    """What a hub said of a model in one poll. Where it no longer serves the model, all but
    `standing` and `reason` is empty. `name` is the hub's own name for it, which differs from the
    followed one after a rename. `refs` is None if they were not asked for.
    """

    standing: HubStanding
    name: str = ""
    commit: GitOid | None = None
    """Of `main`."""
    refs: Mapping[str, GitOid] | None = None
    licence: str = ""
    modified: str = ""
    files: int = 0
    size: int = 0
    """Bytes, where the hub says."""
    reason: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)
