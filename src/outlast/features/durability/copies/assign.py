"""Which nodes are to hold a copy: the same answer on each node that knows the same, without a
centre.

Weighted rendezvous hashing: each node has a score for each manifest, from the hash of both names
and the space that it would still give, and the highest scores hold the copies. (Thaler and
Ravishankar 1998; the weights as in Schindelhauer and Schomaker 2005: -w / ln u.) Those that hold a
copy already come first, so that nothing moves without need. Pure functions.
"""

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from outlast.core.digest import Digest
from outlast.core.keep_list import Goal
from outlast.sources.peer_documents import HeldAs

_ORDER: Final = {HeldAs.OWN: 2, HeldAs.COPY: 1, HeldAs.NONE: 0}


@dataclass(frozen=True, slots=True)
class Member:
    """A node that takes part: at its `site` it would give `free` bytes more. `absent`: it does not
    answer now, but may come back; what it holds counts, and it is given nothing. `store`: it is a
    second home, which holds copies of goals alone that name its site.
    """

    holder: str
    site: str
    free: int
    absent: bool = False
    store: bool = False


@dataclass(frozen=True, slots=True)
class WantedCopies:
    """A manifest with a goal: its files have `size` bytes, and `held` says who has them all. What a
    holder failed a challenge for is left out, and is in `failed`.
    """

    manifest: Digest
    size: int
    goal: Goal
    held: Mapping[str, HeldAs] = field(default_factory=dict)
    failed: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Assignment:
    """Who is to hold a copy: `chosen`, of whom `missing` do not yet. `counted` are the copies that
    count towards the goal; more than it wants are in `surplus`. `sites` have no copy.
    """

    wanted: WantedCopies
    chosen: tuple[str, ...]
    missing: tuple[str, ...]
    counted: tuple[str, ...]
    surplus: tuple[str, ...]
    sites: tuple[str, ...]

    @property
    def met(self) -> bool:
        return len(self.counted) >= self.wanted.goal.copies and not self.sites


def score(holder: str, manifest: Digest, free: int) -> float:
    """The rank of a node for a manifest; nodes with twice the space get twice as many. The space
    counts in powers of two: what a node takes seldom moves what others are to take.
    """
    name = hashlib.sha256(f"{holder} {manifest}".encode()).digest()
    chance = (int.from_bytes(name[:7], "big") + 1) / (2**56 + 1)
    return -(2.0 ** max(free, 1).bit_length()) / math.log(chance)


def assign(wanted: Sequence[WantedCopies], members: Sequence[Member]) -> list[Assignment]:
    """Who is to hold what, the manifest with the fewest copies first: it gets the space where there
    is not enough for all.
    """
    free = {one.holder: one.free for one in members}
    ordered = sorted(wanted, key=lambda one: (len(one.held), one.manifest))
    found = []
    for one in ordered:
        assignment = _choose(one, members, free)
        for holder in assignment.missing:
            free[holder] -= one.size
        found.append(assignment)
    return found


def _choose(one: WantedCopies, members: Sequence[Member], free: Mapping[str, int]) -> Assignment:
    where, copies = one.goal.where, one.goal.copies
    known = {member.holder: member for member in members}
    scores = {name: score(name, one.manifest, known[name].free) for name in known}
    may = {
        name: member
        for name, member in known.items()
        if (member.site in where or not (where or member.store))
        and (name in one.held or (_takes(one, member) and free[name] >= one.size))
    }
    chosen: list[str] = []

    def better(name: str) -> tuple[int, bool, int, float, str]:
        member = may[name]
        beside = sum(may[other].site == member.site for other in chosen)
        held = _ORDER[one.held.get(name, HeldAs.NONE)]
        return held, not member.absent, -beside, scores[name], name

    for site in where:
        if at_site := [n for n in may if n not in chosen and may[n].site == site]:
            chosen.append(max(at_site, key=better))
    # A site that has no node any more leaves the others as many copies to hold.
    while len(chosen) < copies and (left := [n for n in may if n not in chosen]):
        chosen.append(max(left, key=better))
    counted = tuple(n for n in sorted(known) if n in one.held and n in may)
    return Assignment(
        wanted=one,
        chosen=tuple(chosen),
        missing=tuple(name for name in chosen if name not in one.held),
        counted=counted,
        surplus=tuple(name for name in counted if name not in chosen),
        sites=tuple(site for site in where if not any(may[n].site == site for n in counted)),
    )


def _takes(one: WantedCopies, member: Member) -> bool:
    return not member.absent and member.holder not in one.failed
