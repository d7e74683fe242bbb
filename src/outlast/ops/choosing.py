"""Which payload a file should come as, and whom to ask for it. Pure: what is known goes in."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from outlast.codec.merkle import Tree
from outlast.codec.payload import Form, Payload
from outlast.model.digest import Digest
from outlast.model.manifest import FileEntry
from outlast.ops.ways import Way
from outlast.sources.peer_documents import HeldThere


@dataclass(frozen=True, slots=True)
class Offer:
    """What one peer, whose lane is called `lane`, has of a blob."""

    lane: str
    held: HeldThere

    @property
    def whole(self) -> bool:
        return self.held.have >= self.held.size


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What decides beside the offers.

    `crowd`: how many others want the file now; `holds`: whether the origin is this node's task;
    `origin`: whether one can be asked; `http`: whether peers may be asked by HTTP; `capsules`:
    whether capsules are welcome; `slow`: whether what there is would take long; `stuck`: payloads
    that nobody has whole any more.
    """

    crowd: int = 0
    holds: bool = True
    origin: bool = True
    http: bool = True
    capsules: bool = True
    slow: bool = False
    stuck: frozenset[Digest] = field(default_factory=frozenset)


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
        root = entry.merkle_root or offer.held.root
        payloads = {payload for payload in offer.held.forms if not payload.is_plain}
        if root is not None and offer.held.root in (None, root):
            payloads.add(Payload(entry.sha256, Form.PLAIN, entry.size, root))
        for payload in payloads:
            named[payload] += 1
            if offer.whole:
                whole.setdefault(payload, set()).add(offer.lane)
    return [
        Candidate(payload, frozenset(whole.get(payload, ())), count)
        for payload, count in named.items()
    ]


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
        if not payload.is_plain and (
            not around.capsules or not candidate.whole or payload.root in around.stuck
        ):
            continue
        price = cost(payload)
        if price is not None:
            useful.append((price, -candidate.known, payload.root.hex, candidate))
    return min(useful, key=lambda row: row[:3])[3] if useful else None


def way_of(chosen: Candidate | None, tree: Tree | None, around: Surroundings) -> Way:
    """How a file comes: HTTP from those who have it whole while nobody else wants it; a swarm as
    soon as there is a crowd, or nobody who could be asked; the origin where nobody nearby has it
    all, or it would take long, and only by the node that was elected.
    """
    holds = around.origin and around.holds
    if chosen is None or tree is None:
        # Without a tree there is nothing that a swarm could name: peers give it whole, or nobody.
        whole = chosen.whole if chosen is not None and around.http else frozenset()
        return Way(origin=holds and not whole, peers=whole)
    peers = chosen.whole if around.http and not around.crowd else frozenset()
    origin = holds and chosen.payload.is_plain and (not chosen.whole or around.slow)
    swarm = not peers or bool(around.crowd)
    return Way(chosen.payload, tree, origin, peers, swarm)


def cost_of(
    here: Callable[[Digest, int], bool], bases: Mapping[Digest, int]
) -> Callable[[Payload], int | None]:
    """The bytes that a payload takes, with those of the bases that are not here. `bases` tells for
    how many bytes a base can be had; one that is not in it cannot.
    """

    def cost(payload: Payload) -> int | None:
        total = payload.size
        for base in payload.bases:
            if here(base.sha256, base.size):
                continue
            if base.sha256 not in bases:
                return None
            total += bases[base.sha256]
        return total

    return cost
