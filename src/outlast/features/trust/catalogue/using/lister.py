"""The claim *listed*: whether a catalogue that is followed lists exactly this manifest."""

from pathlib import Path

from outlast.core.claims import Claim, ClaimState, Standing
from outlast.core.digest import Digest
from outlast.core.manifest import Revision
from outlast.features.trust.catalogue.clock import write_time
from outlast.features.trust.catalogue.using.opened import Clock, OpenCatalogues, utc_now


class CatalogueLister:
    """Answers for all catalogues that an archive follows. Thread-safe; asks no network."""

    def __init__(self, home: Path, clock: Clock = utc_now) -> None:
        self._catalogues = OpenCatalogues(home, clock=clock)

    def listed(self, manifest: Digest, revision: Revision) -> ClaimState:
        """How :attr:`Claim.LISTED` stands: it holds where a catalogue that is current lists this
        manifest under this name, and is stale where only such do that are. A revision of another
        manifest is not listed, and `why` says so.
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
        if not found:
            names = ", ".join(one.record.name for one in same)
            why = f"{names} lists another manifest of this revision" if same else ""
            return ClaimState(Claim.LISTED, Standing.ABSENT, why=why)
        current = [one for one in found if one.freshness.is_current]
        who = tuple(f"{one.record.name}{one.record.label}" for one in current or found)
        if current:
            return ClaimState(Claim.LISTED, Standing.HOLDS, who)
        first = found[0].freshness
        since = "" if first.since is None else write_time(first.since)
        return ClaimState(Claim.LISTED, Standing.STALE, who, since, first.text)
