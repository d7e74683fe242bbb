"""Whether a revision is published: what the statements of its publisher come to."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from outlast.core.claims import Claim, ClaimState, Standing
from outlast.core.digest import Digest
from outlast.features.trust.keys.pins import Pin, PinState
from outlast.features.trust.records.heights import Height, Heights
from outlast.features.trust.records.model_view import Heard, ModelView, signing
from outlast.features.trust.records.statement import Publication

RANKS: Final = (
    *(Standing.HOLDS, Standing.STALE, Standing.SUPERSEDED, Standing.REFUSED, Standing.ABSENT),
)
"""The first of these that a statement comes to counts: a bad one takes nothing from a good one."""


def published(view: ModelView, manifest: Digest, needed: int, now: str) -> ClaimState:
    """How the claim stands at the time `now`, where `needed` keys of the publisher have to sign."""
    heard = view.heard.get(manifest, [])
    judge = _Judge(view, manifest, heard, needed, now)
    found = [*judge.states()] or [absent(Claim.PUBLISHED, view, manifest)]
    return min(found, key=lambda state: (RANKS.index(state.standing), state.since))


def absent(claim: Claim, view: ModelView, manifest: Digest) -> ClaimState:
    """No statement says so; those that cannot be read may have."""
    unread = view.unread.get(manifest, [])
    why = ""
    if unread:
        more = f", and {len(unread) - 1} more" if len(unread) > 1 else ""
        why = f"a statement cannot be read: {unread[0]}{more}"
    return ClaimState(claim, Standing.ABSENT, why=why)


@dataclass(frozen=True, slots=True)
class _Judge:
    view: ModelView
    manifest: Digest
    heard: Sequence[Heard]
    needed: int
    now: str

    def states(self) -> Iterator[ClaimState]:
        """What each publication comes to."""
        for one in self.heard:
            if isinstance(one.statement.predicate, Publication):
                yield self._state(one, one.statement.predicate)

    def _state(self, one: Heard, said: Publication) -> ClaimState:
        if one.wrong:
            return _state(Standing.REFUSED, why=one.wrong)
        active = [*signing(self.heard, said, PinState.ACTIVE).values()]
        if len(active) < self.needed:
            return self._unsigned(one, said, active)
        if len(self.view.forks.get((said.ref, said.sequence), ())) > 1:
            why = f"its keys signed two revisions as number {said.sequence} of {said.ref}"
            return _state(Standing.REFUSED, active, why=why)
        if (newer := _newer(self.view.heights, said)) is not None:
            return _superseded(said, newer, active)
        if said.expires and said.expires <= self.now:
            return _state(Standing.STALE, active, said.expires, f"it expired at {said.expires}")
        why = f"number {said.sequence} of {said.ref}"
        return _state(Standing.HOLDS, active, said.made, why)

    def _unsigned(self, one: Heard, said: Publication, active: Sequence[Pin]) -> ClaimState:
        """Too few keys that count now signed it; some may have counted before."""
        retired = [*signing(self.heard, said, PinState.ACTIVE, PinState.RETIRED).values()]
        if len(retired) >= self.needed:
            if (newer := _newer(self.view.past, said)) is not None:
                return _superseded(said, newer, retired)
            ended = max(pin.ended for pin in retired)
            return _state(Standing.STALE, retired, ended, "its publisher has another key since")
        if active:
            why = f"{len(active)} of the {self.needed} keys that are needed signed it"
            return _state(Standing.REFUSED, active, why=why)
        return _state(Standing.REFUSED, one.signers.good, why=one.signers.why)


def _newer(heights: Heights, said: Publication) -> Height | None:
    """What was signed after it under the same ref."""
    height = heights.get(said.ref)
    return height if height is not None and height.sequence > said.sequence else None


def _superseded(said: Publication, newer: Height, pins: Sequence[Pin]) -> ClaimState:
    why = (
        f"number {said.sequence} of {said.ref}; number {newer.sequence} is {newer.manifest.short}…"
    )
    return _state(Standing.SUPERSEDED, pins, newer.made, why)


def _state(
    standing: Standing, pins: Sequence[Pin] = (), since: str = "", why: str = ""
) -> ClaimState:
    who = tuple(sorted(pin.label for pin in pins))
    return ClaimState(Claim.PUBLISHED, standing, who, since, why)
