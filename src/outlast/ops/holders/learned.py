"""What is noted of the answers: who holds how much of a model, and which models are the same."""

from outlast.ops.holders.compare import compare, shared
from outlast.ops.holders.places import PlaceAnswer, address_of
from outlast.ops.holders.values import HolderKind, HolderState, Located, WantedFiles
from outlast.sources.base import Source
from outlast.sources.kinds import SourceAddress
from outlast.store.records.equals import Equal
from outlast.store.records.holders import SeenHolder, SeenHolders


def hub_of(source: Source) -> str:
    """What a source is called, without the name that one model has there."""
    at = address_of(source)
    return str(SourceAddress(at.kind, at.url))


def equal_of(source: Source, wanted: WantedFiles, answer: PlaceAnswer, now: str) -> Equal | None:
    """How far what a source lists is the same; None if no digest says so."""
    there = answer.listing.entries
    digests = shared(wanted.entries, there)
    if not digests:
        return None
    match = compare(wanted.entries, there)
    return Equal(
        hub=hub_of(source),
        name=answer.name,
        there=answer.listing.commit,
        commit=wanted.commit,
        files=len(match.files),
        of=len(wanted.entries),
        size=wanted.size_of(match.files),
        of_size=wanted.size,
        more=match.more,
        when=now,
        digests=digests,
    )


def seen_of(found: Located, before: SeenHolders | None, now: str) -> SeenHolders:
    """What to note of the holders. Those that did not answer keep what was noted of them before, of
    the same commit.
    """
    wanted = found.wanted
    holders: dict[str, SeenHolder] = {}
    if before is not None and before.commit == wanted.commit:
        asked = {holder.name for holder in found.others if holder.state.has_answered}
        holders = {one.name: one for one in before.holders if one.name not in asked}
    for holder in found.others:
        # A node on the LAN has another id each time; all of them count as one.
        name = holder.group if holder.kind is HolderKind.NEIGHBOUR else holder.name
        known = holders.get(name)
        better = known is None or known.seen != now or holder.size > known.size
        if holder.files and better:
            holders[name] = SeenHolder(
                name,
                holder.kind.value,
                holder.group,
                len(holder.files),
                holder.size,
                holder.state is HolderState.COMPLETE,
                now,
            )
    return SeenHolders(
        wanted.commit, len(wanted.entries), wanted.size, now, tuple(holders.values())
    )
