"""The claim *listed*: whether a catalogue that is followed lists exactly this manifest."""

from collections.abc import Collection, Sequence
from pathlib import Path

from outlast.core.claims import Claim, ClaimState, Standing
from outlast.core.digest import Digest
from outlast.core.manifest import Revision
from outlast.features.trust.catalogue.clock import write_time
from outlast.features.trust.catalogue.using.opened import (
    Clock,
    ListedEntry,
    OpenCatalogues,
    utc_now,
)


class CatalogueLister:
    """Answers for all catalogues that an archive follows. Thread-safe; asks no network."""

    def __init__(
        self, home: Path, clock: Clock = utc_now, *, deciding: Collection[str] = ()
    ) -> None:
        """`deciding` are those whose word counts where several contradict each other."""
        self._deciding = frozenset(deciding)
        self._catalogues = OpenCatalogues(home, clock=clock)

    def listed(self, manifest: Digest, revision: Revision) -> ClaimState:
        """How :attr:`Claim.LISTED` stands: it holds where a catalogue that is current lists this
        manifest under this name, and is stale where only such do that are. A revision of another
        manifest is not listed, and `why` says so. Where two list one revision with different
        manifests, it is refused to both, unless one of them decides.
        """
        same = [
            one
            for one in self._catalogues.of_model(revision.repo)
            if one.entry.name.revision == revision.id
        ]
        found = [
            one
            for one in same
            if one.entry.manifest == manifest and one.entry.name.repo == revision.repo
        ]
        if found and (against := self._contradicted(found, same)):
            return ClaimState(Claim.LISTED, Standing.REFUSED, _who(found), why=against)
        if not found:
            names = ", ".join(one.record.name for one in same)
            why = f"{names} lists another manifest of this revision" if same else ""
            return ClaimState(Claim.LISTED, Standing.ABSENT, why=why)
        current = [one for one in found if one.freshness.is_current]
        who = _who(current or found)
        if current:
            return ClaimState(Claim.LISTED, Standing.HOLDS, who)
        first = found[0].freshness
        since = "" if first.since is None else write_time(first.since)
        return ClaimState(Claim.LISTED, Standing.STALE, who, since, first.text)

    def _contradicted(self, found: Sequence[ListedEntry], same: Sequence[ListedEntry]) -> str:
        """Which catalogues say otherwise, in one line; empty where none does, or one of those that
        say it decides.
        """
        others = [one for one in same if one not in found]
        sides = [{one.record.name for one in side} for side in (found, others)]
        mine, theirs = (side & self._deciding for side in sides)
        if not others or (mine and not theirs):
            return ""
        names = ", ".join(sorted(sides[0])), ", ".join(sorted(sides[1]))
        return f"{names[0]} lists this manifest of the revision, {names[1]} lists another one"


def _who(found: Sequence[ListedEntry]) -> tuple[str, ...]:
    return tuple(f"{one.record.name}{one.record.label}" for one in found)
