"""Which payload a file should come as, and whom to ask for it. Pure: what is known goes in."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from outlast.codec.format import BaseRef
from outlast.codec.merkle import Tree
from outlast.codec.payload import Form, Payload
from outlast.core.digest import Digest
from outlast.core.manifest import FileEntry
from outlast.fetch.plan import FetchPlan
from outlast.sources.peer_documents import HeldThere


@dataclass(frozen=True, slots=True)
class Offer:
    """What one peer, whose lane is called `lane`, has of a blob."""

    source: str
    held: HeldThere

    @property
    def whole(self) -> bool:
        return self.held.have >= self.held.size


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What decides beside the offers.

    `crowd`: how many others want the file now; `holds`: whether the origin is this node's task;
    `origin`: whether one can be asked; `http`: whether peers may be asked by HTTP; `capsules`:
    whether capsules are welcome; `slow`: whether what there is would take long; `stalled`: whether
    a swarm has brought nothing for a while; `wrong`: payloads that restore something else, by root.
    """

    crowd: int = 0
    holds: bool = True
    origin: bool = True
    http: bool = True
    capsules: bool = True
    slow: bool = False
    stalled: bool = False
    wrong: frozenset[Digest] = field(default_factory=frozenset)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A payload that somebody has, with the lanes of those who have all of it."""

    payload: Payload
    whole: frozenset[str]
    known: int
    """How many peers named it, whole or in part."""


def candidates(entry: FileEntry, offers: list[Offer]) -> list[Candidate]:
    """All payloads of a file that peers hold or fetch."""
    if entry.sha256 is None:
        return []
    whole: dict[Payload, set[str]] = {}
    named: Counter[Payload] = Counter()
    for offer in offers:
        if offer.held.size != entry.size:
            continue
        root = entry.merkle_root or _root_of(offer.held)
        payloads = {payload for payload in offer.held.forms if not payload.is_plain}
        if root is not None and _root_of(offer.held) in (None, root):
            payloads.add(Payload(entry.sha256, Form.PLAIN, entry.size, root))
        for payload in payloads:
            named[payload] += 1
            if offer.whole:
                whole.setdefault(payload, set()).add(offer.source)
    return [
        Candidate(payload, frozenset(whole.get(payload, ())), count)
        for payload, count in named.items()
    ]


def _root_of(held: HeldThere) -> Digest | None:
    """The root of the plain bytes, as a peer says."""
    return held.root or next((form.root for form in held.forms if form.is_plain), None)


def best(
    found: list[Candidate], around: Surroundings, cost: Callable[[Payload], int | None]
) -> Candidate | None:
    """The one that costs the fewest bytes; of equal ones the one that most peers name. `cost` is
    None where a payload is of no use here. A capsule that nobody has whole cannot be finished, but
    plain bytes may come from elsewhere too.
    """
    useful: list[tuple[int, int, str, Candidate]] = []
    for candidate in found:
        payload = candidate.payload
        if payload.root in around.wrong:
            continue
        if not payload.is_plain and not (around.capsules and candidate.whole):
            continue
        price = cost(payload)
        if price is not None:
            useful.append((price, -candidate.known, payload.root.hex, candidate))
    return min(useful, key=lambda row: row[:3])[3] if useful else None


def plan_for(chosen: Candidate | None, tree: Tree | None, around: Surroundings) -> FetchPlan:
    """How a file comes: HTTP from those who have it whole while nobody else wants it; a swarm as
    soon as there is a crowd, or nobody who could be asked (both where it stalls: swarm ports may be
    closed); the origin where nobody nearby has it all, or it would take long, and only by the node
    that was elected.
    """
    holds = around.origin and around.holds
    if chosen is None or tree is None:
        # Without a tree there is nothing that a swarm could name: peers give it whole, or nobody.
        whole = chosen.whole if chosen is not None and around.http else frozenset()
        return FetchPlan(origin=holds and not whole, peers=whole)
    alone = not around.crowd or around.stalled
    peers = chosen.whole if around.http and alone else frozenset()
    origin = holds and chosen.payload.is_plain and (not chosen.whole or around.slow)
    swarm = not peers or bool(around.crowd)
    return FetchPlan(chosen.payload, tree, origin, peers, swarm)


def cost_of(
    here: Callable[[Digest, int], bool], price: Callable[[BaseRef], int | None]
) -> Callable[[Payload], int | None]:
    """The bytes that a payload takes, with those of the bases that are not here. `price` tells for
    how many bytes a base can be had; None where it cannot.
    """

    def cost(payload: Payload) -> int | None:
        total = payload.size
        for base in payload.bases:
            if here(base.sha256, base.size):
                continue
            extra = price(base)
            if extra is None:
                return None
            total += extra
        return total

    return cost
