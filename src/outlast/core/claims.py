"""The four claims about a revision, and which of them hold. They are never blurred into one word:
each place that shows a model names each claim by its own.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import Protocol

from outlast.core.digest import Digest, GitOid
from outlast.core.manifest import Revision
from outlast.core.names import RepoId


class Claim(StrEnum):
    """What can be said of a revision."""

    INTACT = "intact"
    """The bytes here match the digests of the manifest."""
    PUBLISHED = "published"
    """A key that is pinned for the publisher signed this manifest, under this name."""
    OBSERVED = "observed"
    """Enough of the named observers saw a hub serve exactly this manifest."""
    LISTED = "listed"
    """A catalogue that this archive follows lists this manifest under this name."""


class Standing(StrEnum):
    """How a claim stands."""

    HOLDS = "holds"
    STALE = "stale"
    """It held, and its record has expired: `since` says when."""
    SUPERSEDED = "superseded"
    """It held until its signer signed a later sequence of the same name: `since` says when. An
    older revision does not pass for the newest."""
    ABSENT = "absent"
    """No record says so."""
    REFUSED = "refused"
    """A record says so, and does not prove it: `why` says what is wrong."""


@dataclass(frozen=True, slots=True)
class ClaimState:
    """How one claim stands. `who` makes it: names of keys, observers or catalogues. `since`: when
    it was made or went stale (ISO 8601, UTC; "" where that is not known). `why`: one line for a
    person.
    """

    claim: Claim
    standing: Standing
    who: tuple[str, ...] = ()
    since: str = ""
    why: str = ""

    @property
    def holds(self) -> bool:
        return self.standing in {Standing.HOLDS, Standing.STALE}


class ForeignStanding(StrEnum):
    """What a signature of another tool comes to."""

    SIGNED = "signed"
    """By a key that is pinned here, or below a root that was given."""
    REFUSED = "refused"
    """It is there, and does not match: `why` says what is wrong."""
    UNCHECKED = "not checked"
    """There is nothing here to check it by."""


@dataclass(frozen=True, slots=True)
class ForeignSignature:
    """A signature of another tool: `format` is its own name, `path` its file in the model. It is
    none of the four claims: it binds no name to a manifest.
    """

    path: str
    format: str
    standing: ForeignStanding
    who: str = ""
    why: str = ""


@dataclass(frozen=True, slots=True)
class CommitProof:
    """What the archived text of a hub's commit comes to: from how many `files` of the manifest the
    id of `commit` was computed again, and how many entries it has that the manifest `lacks`.
    `author`: as the text names the person, which proves nothing. `why`: what is wrong ("": the id
    follows).
    """

    commit: GitOid
    files: int = 0
    lacks: int = 0
    author: str = ""
    why: str = ""


@dataclass(frozen=True, slots=True)
class Claims:
    """How all four stand, each once, in the order of :class:`Claim`. `revoked`: the reason of a
    revocation by a key that may revoke ("": there is none). `foreign`: signatures of other tools
    that lie among the files; no claim follows from them. `commit`: what the text of the hub's
    commit comes to; None where that is not here. `revoked_accepted`: the operator uses the revision
    all the same.
    """

    states: tuple[ClaimState, ...]
    revoked: str = ""
    foreign: tuple[ForeignSignature, ...] = ()
    commit: CommitProof | None = None
    revoked_accepted: bool = False

    @classmethod
    def of(
        cls,
        states: Iterable[ClaimState],
        revoked: str = "",
        foreign: Iterable[ForeignSignature] = (),
        commit: CommitProof | None = None,
        *,
        revoked_accepted: bool = False,
    ) -> "Claims":
        """These, and those that are not among them as absent."""
        given = {state.claim: state for state in states}
        absent = {claim: ClaimState(claim, Standing.ABSENT) for claim in Claim}
        found = tuple({**absent, **given}[claim] for claim in Claim)
        return cls(found, revoked, tuple(foreign), commit, revoked_accepted)

    def __getitem__(self, claim: Claim) -> ClaimState:
        return next(state for state in self.states if state.claim is claim)

    @property
    def held(self) -> tuple[Claim, ...]:
        return tuple(state.claim for state in self.states if state.holds)


class Lister(Protocol):
    """A catalogue, or several: says whether it lists a manifest. Thread-safe; asks no network."""

    def listed(self, manifest: Digest, revision: Revision) -> ClaimState:
        """How :attr:`Claim.LISTED` stands."""


class Assessor(Protocol):
    """Says which claims hold. Thread-safe; reads records, and of files only
    signatures: each once.
    """

    def claims(self, manifest: Digest, revision: Revision) -> Claims: ...

    def claims_of_all(self, revisions: Sequence[tuple[Digest, Revision]]) -> list[Claims]:
        """The same for several: what is seen of them is written down together."""


class Weight(IntEnum):
    """What a statement that came from elsewhere, or is to go there, is worth."""

    NOTHING = 0
    """It is no signed statement about this manifest under this name, or does not travel."""
    UNKNOWN = 1
    """It is one, and no key that counts here signed it: another archive may know the key."""
    COUNTS = 2
    """A key that is pinned here for such a statement signed it."""


@dataclass(frozen=True, slots=True)
class Weighed:
    """`same`: the sha256 of what two spellings of one statement by the same keys have in common, as
    signatures can be written in more than one way; None where the weight is nothing. `urgent`: it
    takes something back, so it goes first where not all can go.
    """

    weight: Weight
    same: Digest | None = None
    urgent: bool = False


class Weigher(Protocol):
    """Weighs statements by their signatures alone: it does not know who sent them. Thread-safe."""

    def weigh(self, repo: RepoId, manifest: Digest, data: bytes) -> Weighed:
        """Of the file `data`, as a statement about `manifest`, which is a revision of `repo`."""
