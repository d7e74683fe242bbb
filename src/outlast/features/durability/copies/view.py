"""What follows from what this node and its peers say of copies: pure functions.

A copy counts while its node answers, and for `gone_after` seconds more; not if the node failed a
challenge for it, here or at a peer. Holders that no peer of this node is are known by hearsay: each
node passes on which ones it has heard of, and how long ago, and forgets them after the same time.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from outlast.core.digest import Digest
from outlast.core.keep_list import Goal
from outlast.core.status import CopiesStatus
from outlast.features.durability.copies.assign import (
    Assignment,
    Member,
    WantedCopies,
    assign,
    score,
)
from outlast.features.durability.copies.memory import Memory, Peer
from outlast.sources.peer_documents import (
    MOST_SEEN,
    CopiesSaid,
    HeldAs,
    HolderSeen,
    ManifestSaid,
    StoreSaid,
)

_ANSWERED: Final = 0.0
_ROOM: Final = 1 << 62
"""Of a store: it says no when it is full."""


@dataclass(frozen=True, slots=True)
class Own:
    """What this node has to say by itself: its site, its free bytes, and the manifests that it
    holds, wants copies of, or both. `unknown` are goals of its lists for models
    of which no manifest is here, by name.
    """

    site: str
    free: int
    manifests: Mapping[Digest, ManifestSaid]
    unknown: Mapping[str, Goal]
    stores: tuple[StoreSaid, ...] = ()


@dataclass(frozen=True, slots=True)
class CopiesView:
    """What is known after a round. `rows` say of each manifest what it is, and who was seen with
    it; `said` is what this node tells others. `reach` has the nodes that can write to a store now.
    """

    said: CopiesSaid
    rows: Mapping[Digest, ManifestSaid]
    members: tuple[Member, ...]
    assignments: tuple[Assignment, ...]
    unknown: Mapping[str, Goal]
    reach: Mapping[str, frozenset[str]] = field(default_factory=dict)

    @property
    def own(self) -> str:
        return self.said.holder

    def carrier(self, one: Assignment, store: str) -> str | None:
        """The node that is to copy a manifest to a store: all that know the same name the same one
        of those that hold it and reach the store.
        """
        manifest = one.wanted.manifest
        able = self.reach.get(store, frozenset()) & one.wanted.held.keys()
        return max(able, key=lambda node: (score(node, manifest, 1), node), default=None)


def view(own: Own, memory: Memory, gone_after: float) -> CopiesView:
    """What follows from `own` and from what `memory` has of the peers."""
    here = Peer(CopiesSaid(memory.holder, own.site, own.free, stores=own.stores), "", 0)
    here.said = replace(here.said, manifests=tuple(own.manifests.values()))
    there = [peer for peer in memory.peers.values() if peer.silent <= gone_after]
    nodes = [here, *there]
    rows: dict[Digest, ManifestSaid] = {}
    held: dict[Digest, dict[str, HeldAs]] = defaultdict(dict)
    stores, reach = _stores(nodes)
    for peer in nodes:
        known = stores.keys() & {one.holder for one in peer.said.stores}
        for row in peer.said.manifests:
            rows.setdefault(row.manifest, row)
            held[row.manifest].update(dict.fromkeys(known.intersection(row.stored), HeldAs.OWN))
            if row.held is not HeldAs.NONE:
                held[row.manifest][peer.said.holder] = row.held
    ours: dict[Digest, set[str]] = defaultdict(set)
    for block in memory.failed:
        ours[block.manifest].add(block.holder)
    failed = _failed(nodes, memory.holder, ours)
    seen = merged(nodes, gone_after)
    members = tuple(
        Member(
            one.said.holder,
            one.said.site,
            one.said.free,
            absent=one is not here and one.silent > _ANSWERED,
        )
        for one in nodes
    )
    members += tuple(stores.values())
    # What a node that is gone wanted is wanted on: it was the last word.
    goals = _goals([here, *memory.peers.values()])
    for peer in memory.peers.values():
        for row in peer.said.manifests:
            if row.manifest in goals:
                rows.setdefault(row.manifest, row)
    wanted = [
        WantedCopies(
            manifest=manifest,
            size=rows[manifest].size,
            goal=goal,
            held={h: how for h, how in held[manifest].items() if h not in failed[manifest]},
            failed=frozenset(failed[manifest]),
        )
        for manifest, goal in goals.items()
    ]
    told = {
        digest: _told(row, own.manifests.get(digest), ours[digest], seen[digest])
        for digest, row in rows.items()
    }
    return CopiesView(
        said=replace(here.said, manifests=tuple(told.values())),
        rows=told,
        members=members,
        assignments=tuple(assign(wanted, members)),
        unknown=dict(own.unknown.items()),
        reach=reach,
    )


def _stores(nodes: Sequence[Peer]) -> tuple[dict[str, Member], dict[str, frozenset[str]]]:
    """The second homes that nodes name, and which nodes can write to each now. Where they name
    sites that differ, the first counts, on all nodes.
    """
    own = {peer.said.holder for peer in nodes}
    sites: dict[str, str] = {}
    reach: dict[str, set[str]] = defaultdict(set)
    for peer in nodes:
        for one in peer.said.stores:
            if one.holder not in own:
                sites[one.holder] = min(one.site, sites.get(one.holder, one.site))
                if one.able and peer.silent <= _ANSWERED:
                    reach[one.holder].add(peer.said.holder)
    stores = {
        holder: Member(holder, site, _ROOM, absent=not reach[holder], store=True)
        for holder, site in sites.items()
    }
    return stores, {holder: frozenset(found) for holder, found in reach.items()}


def _told(
    row: ManifestSaid, own: ManifestSaid | None, failed: Iterable[str], seen: Sequence[HolderSeen]
) -> ManifestSaid:
    return replace(
        row,
        held=HeldAs.NONE if own is None else own.held,
        goal=None if own is None else own.goal,
        stored=() if own is None else own.stored,
        failed=tuple(sorted(failed)),
        seen=tuple(seen),
    )


def _failed(
    nodes: Sequence[Peer], own: str, ours: Mapping[Digest, set[str]]
) -> dict[Digest, set[str]]:
    """Which holders of each manifest this node, or one of its peers, found wanting. What others say
    of this node itself is left out: it knows what it holds.
    """
    found: dict[Digest, set[str]] = defaultdict(set)
    for manifest, holders in ours.items():
        found[manifest].update(holders)
    for peer in nodes:
        for row in peer.said.manifests:
            found[row.manifest].update(set(row.failed) - {own})
    return found


def _goals(nodes: Sequence[Peer]) -> dict[Digest, Goal]:
    """The goal of each manifest that has one: of several the one with the most copies. All nodes
    that hear the same choose the same.
    """
    found: dict[Digest, Goal] = {}
    for peer in nodes:
        for row in peer.said.manifests:
            if row.goal is not None:
                found[row.manifest] = max(row.goal, found.get(row.manifest, row.goal))
    return found


def merged(nodes: Sequence[Peer], gone_after: float) -> dict[Digest, list[HolderSeen]]:
    """Who was seen with which manifest, the last one first; of each holder what is newest."""
    newest: dict[Digest, dict[str, HolderSeen]] = defaultdict(dict)

    def add(manifest: Digest, one: HolderSeen) -> None:
        before = newest[manifest].get(one.holder)
        if one.age <= gone_after and (before is None or one.age < before.age):
            newest[manifest][one.holder] = one

    for peer in nodes:
        silent = int(peer.silent)
        for row in peer.said.manifests:
            if row.held is not HeldAs.NONE:
                add(row.manifest, HolderSeen(peer.said.holder, silent, peer.host, peer.port))
            for seen in row.seen:
                if seen.holder != peer.said.holder:
                    age = seen.age + peer.said.age + silent + 1
                    add(row.manifest, replace(seen, age=age))
    return defaultdict(
        list,
        {
            manifest: sorted(found.values(), key=lambda one: (one.age, one.holder))[:MOST_SEEN]
            for manifest, found in newest.items()
        },
    )


def statuses(found: CopiesView) -> tuple[CopiesStatus, ...]:
    """For `status`: the goals that are met least come first."""
    rows = [_status(found, one) for one in found.assignments]
    rows += [_unknown(name, goal) for name, goal in found.unknown.items()]
    return tuple(sorted(rows, key=lambda row: (row.met, row.copies / row.goal, row.repo)))


def _status(found: CopiesView, one: Assignment) -> CopiesStatus:
    row, wanted = found.rows[one.wanted.manifest], one.wanted
    absent = {member.holder for member in found.members if member.absent}
    return CopiesStatus(
        repo=str(row.repo),
        commit=row.commit.hex,
        manifest=row.manifest.hex,
        size=row.size,
        goal=wanted.goal.copies,
        copies=len(one.counted),
        absent=len(absent.intersection(one.counted)),
        failed=len(wanted.failed),
        here=found.own in wanted.held,
        met=one.met,
        sites=",".join(one.sites),
        note=_note(found, one),
        stores=",".join(
            sorted({m.site for m in found.members if m.store and m.holder in one.counted})
        ),
    )


def _note(found: CopiesView, one: Assignment) -> str:
    stores = {member.holder: member.site for member in found.members if member.store}
    awaited = [name for name in one.missing if name in stores]
    if found.own in one.missing:
        return "this node is to fetch it"
    for name in awaited:
        carrier = found.carrier(one, name)
        if carrier == found.own:
            return f"this node is to copy it to the store at {stores[name]}"
        if carrier is None:
            return f"no node that has it reaches the store at {stores[name]}"
    if awaited:
        return "another node is to copy it to the store"
    silent = {m.site for m in found.members if m.store and m.absent}.intersection(one.sites)
    if silent:
        return f"no node reaches the store at {min(silent)}"
    if not one.met and len(one.chosen) < one.wanted.goal.copies:
        return "no node has room for it"
    if one.sites and not one.missing:
        return f"no node at {', '.join(one.sites)} has room for it"
    if found.own in one.surplus:
        return "more than enough: 'outlast keep --shrink' may drop it here"
    return ""


def _unknown(name: str, goal: Goal) -> CopiesStatus:
    return CopiesStatus(
        repo=name,
        commit="",
        manifest="",
        size=0,
        goal=goal.copies,
        copies=0,
        absent=0,
        failed=0,
        here=False,
        met=False,
        sites=",".join(goal.where),
        note="no node has it: 'outlast sync' or 'outlast pull' archives it",
    )
