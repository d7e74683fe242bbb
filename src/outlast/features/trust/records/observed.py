"""Whether a revision was observed: how many of the named observers saw a hub serve it."""

from dataclasses import dataclass, field
from typing import Self

from outlast.core.claims import Claim, ClaimState, Standing
from outlast.core.digest import Digest
from outlast.core.manifest import Revision
from outlast.features.trust.records.model_view import Heard, ModelView
from outlast.features.trust.records.published import absent
from outlast.features.trust.records.statement import HubObservation
from outlast.store.records.file_list import entries_of, listing_digest
from outlast.store.records.seen import YOU, SeenRevision, SeenRevisions


@dataclass(slots=True)
class _Seen:
    """By observer: when it saw the revision, and where; `expired`: those whose statement has."""

    fresh: dict[str, tuple[str, str]] = field(default_factory=dict)
    expired: dict[str, str] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Sight:
    """A revision, and which hubs listed it to this archive itself, with just these files; `other`:
    whether one listed the commit with other files.
    """

    manifest: Digest
    revision: Revision
    own: tuple[SeenRevision, ...] = ()
    other: bool = False

    @classmethod
    def of(cls, manifest: Digest, revision: Revision, seen: SeenRevisions | None) -> Self:
        """What `seen` says of a revision."""
        if seen is None or not seen.has(revision.id):
            return cls(manifest, revision)
        own = seen.of(revision.id, listing_digest(entries_of(revision)))
        return cls(manifest, revision, own, other=not own)


def observed(view: ModelView, sight: Sight, needed: int, now: str) -> ClaimState:
    """How the claim stands at the time `now`, where `needed` observers have to agree."""
    manifest, revision = sight.manifest, sight.revision
    seen = _Seen()
    if sight.own:
        first = min(sight.own, key=lambda row: row.when)
        seen.fresh[YOU] = first.when, first.hub
    elif sight.other:
        seen.wrong.append("a hub listed other files of this commit to this archive")
    said = [one for one in view.heard.get(manifest, []) if _is_observation(one)]
    digest = listing_digest(entries_of(revision)) if said else None
    for one in said:
        _take(seen, one, revision, digest, now)
    return _state(seen, needed) or absent(Claim.OBSERVED, view, manifest)


def _is_observation(one: Heard) -> bool:
    return isinstance(one.statement.predicate, HubObservation)


def _take(seen: _Seen, one: Heard, revision: Revision, digest: Digest | None, now: str) -> None:
    said = one.statement.predicate
    assert isinstance(said, HubObservation)
    wrong = one.wrong
    if not wrong and said.commit != revision.commit:
        wrong = f"it is about commit {said.commit.hex[:12]}"
    if not wrong and said.listing != digest:
        wrong = "the hub listed other files than the manifest"
    if wrong or not one.signers.active:
        seen.wrong.append(wrong or one.signers.why or "its key is retired")
        return
    for pin in one.signers.active:
        if said.expires and said.expires <= now:
            seen.expired[pin.label] = max(said.expires, seen.expired.get(pin.label, ""))
        else:
            old = seen.fresh.get(pin.label)
            if old is None or said.seen < old[0]:
                seen.fresh[pin.label] = said.seen, said.hub


def _state(seen: _Seen, needed: int) -> ClaimState | None:
    """How the claim stands; None where no statement was made."""
    fresh = tuple(sorted(seen.fresh))
    if len(fresh) >= needed:
        hubs = ", ".join(sorted({hub for _, hub in seen.fresh.values()})[:3])
        since = min(when for when, _ in seen.fresh.values())
        return ClaimState(Claim.OBSERVED, Standing.HOLDS, fresh, since, f"at {hubs}")
    both = tuple(sorted({*fresh, *seen.expired}))
    if len(both) >= needed:
        since = max(seen.expired.values())
        return ClaimState(Claim.OBSERVED, Standing.STALE, both, since, f"it expired at {since}")
    if both:
        why = f"{len(both)} of the {needed} observers that are needed saw it"
        return ClaimState(Claim.OBSERVED, Standing.REFUSED, both, why=why)
    if seen.wrong:
        return ClaimState(Claim.OBSERVED, Standing.REFUSED, why=seen.wrong[0])
    return None
