"""What `run` asks for where no rules of the operator ask for claims: beside being intact, a
revision has one more claim, or the operator's own word. Without the feature that checks signatures,
what this archive pulled from a hub itself counts, and what was added or accepted here.

Whether it is intact is no question for records: `run` compares the files that it opens.
"""

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from outlast.core.claims import Assessor, Claim, Claims
from outlast.core.digest import Digest
from outlast.core.errors import UnvouchedError
from outlast.core.manifest import FileEntry, Revision
from outlast.intake.judging import own_claims
from outlast.store.archive import Archive
from outlast.store.words.accepted import Accepted, WordKind
from outlast.store.writer import WriteSession

ONE_OF: Final = (Claim.PUBLISHED, Claim.OBSERVED, Claim.LISTED)
"""Those of which one has to hold."""
SHOWN: Final = 16
"""Digits of a manifest's digest in a command that a person is told to type. Two of a million
models have the same ones with a chance of 1 in 10^7."""
LEAST: Final = 12
"""Digits of a digest that a person has to type, at least."""
_BY_HAND: Final = {
    WordKind.ADDED: "added here",
    WordKind.ADOPTED: "adopted here",
    WordKind.ACCEPTED: "accepted here",
}

FindAssessor = Callable[[], Assessor | None]


@dataclass(frozen=True, slots=True)
class Vouched:
    """What speaks for a revision: claims that hold, and the operator's word. `manifest`: its
    digest; None while files are arriving.
    """

    manifest: Digest | None
    claims: tuple[Claim, ...] = ()
    accepted: Accepted | None = None

    @property
    def holds(self) -> bool:
        """Whether it is enough for `run`."""
        return bool(self.claims) or self.accepted is not None

    def describe(self) -> str:
        """In a few words, for a person."""
        words = [claim.value for claim in self.claims]
        if self.accepted is not None:
            words.append(f"{_BY_HAND[self.accepted.how]} at {self.accepted.since}")
        return (
            ", ".join(words) or "not published, observed or listed, and neither added nor accepted"
        )


def vouched_by(archive: Archive, manifest: Digest | None, claims: Claims) -> Vouched:
    """What speaks for a revision of which these claims hold."""
    held = tuple(claim for claim in ONE_OF if claims[claim].holds)
    return Vouched(manifest, held, archive.accepted.of(manifest) if manifest else None)


def vouched(archive: Archive, revision: Revision, find: FindAssessor) -> Vouched:
    """What speaks for a revision that is here. `find` gives what checks claims, which takes time to
    load: it is called where the operator's word is not enough.
    """
    if archive.drafts.exists(revision.repo, revision.id):
        return vouched_by(archive, None, own_claims(archive, revision, sealed=False))
    manifest = revision.digest
    accepted = archive.accepted.of(manifest)
    if accepted is not None:
        return Vouched(manifest, accepted=accepted)
    assessor = find()
    if assessor is None:
        return vouched_by(archive, manifest, own_claims(archive, revision, sealed=True))
    return vouched_by(archive, manifest, assessor.claims(manifest, revision))


def require_vouched(archive: Archive, revision: Revision, named: str, find: FindAssessor) -> None:
    """Raises :class:`UnvouchedError` where nothing speaks for a revision. `named`: the target as
    the user wrote it, for the command that helps.
    """
    found = vouched(archive, revision, find)
    if found.holds:
        return
    if found.manifest is None:
        raise UnvouchedError(
            f"files of {named} are still arriving, and no hub listed it to this archive",
            hint=f"outlast pull {named}",
        )
    raise UnvouchedError(
        f"{named} is {found.describe()}: only its own digests speak for it",
        hint=f"outlast run {named} --accept {found.manifest.hex[:SHOWN]}",
    )


def take_word(
    archive: Archive,
    writer: WriteSession,
    revision: Revision,
    how: WordKind,
    own: tuple[FileEntry, ...],
) -> None:
    """Remembers that the operator brought a revision here by hand, if all of its files are among
    `own`, those that were brought: the archive may know more of that commit from elsewhere.
    """
    brought = {(entry.path, entry.sha256) for entry in own}
    if all((entry.path, entry.sha256) in brought for entry in revision.files):
        archive.accepted.note(writer, word_for(revision, how))


def word_for(revision: Revision, how: WordKind) -> Accepted:
    """The operator's word for a revision, given now."""
    now = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
    return Accepted(revision.digest, revision.repo, revision.id, how, now)
