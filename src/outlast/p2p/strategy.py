"""What follows from what is known: pure functions from a frozen snapshot to a decision.

Nothing here reads a clock, takes a lock or sends a request, so every rule can be tested alone.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from outlast.codec.format import BaseRef
from outlast.codec.merkle import Tree
from outlast.codec.payload import Form, Payload
from outlast.core.digest import Digest
from outlast.core.manifest import FileEntry
from outlast.fetch.plan import CLOSED, FetchPlan
from outlast.p2p.reasons import Cause, Reason
from outlast.p2p.tuning import Tuning
from outlast.sources.peer_documents import HeldThere
from outlast.swarm.lan.election import Role


@dataclass(frozen=True, slots=True)
class PeerOffer:
    """What one peer has of a blob; `source` is the peer's name as a source."""

    source: str
    held: HeldThere

    @property
    def whole(self) -> bool:
        return self.held.have >= self.held.size


@dataclass(frozen=True, slots=True)
class Candidate:
    """A payload that peers have; `whole` are the names of those that have all of it."""

    payload: Payload
    whole: frozenset[str]
    known: int
    """How many peers named it, whole or in part."""


@dataclass(frozen=True, slots=True)
class SourceView:
    """A source that is not given up. It may not be asked before `not_before` (monotonic seconds);
    0 where it may be asked now.
    """

    name: str
    is_peer: bool
    not_before: float = 0.0


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All that a decision about one file may look at.

    `candidates`: the payloads that peers offer, with the `trees` that are known, by root.
    `rejected`: roots of payloads that restored something else. `base_costs`: the bytes that each
    base of a delta capsule takes, 0 if it is here, None if it cannot be had.
    `answered`: the neighbours had time to say what they have. `crowd`: how many other nodes want
    the file now. `elects`: an election decides who asks the origin; `role` is this node's part in
    it, `owners` are the nodes that say that they have it all, and `fetcher` is the address of the
    node that is elected, or of the first owner. `origin`: a hub or mirror can be asked;
    `http`: peers may be asked over HTTP; `capsules`: capsules are welcome.
    `slow`: what is under way would take long; `stalled`: the swarm brings nothing; `overdue`: those
    that say that they fetch the file, or have it, sent nothing for too long.
    """

    candidates: tuple[Candidate, ...] = ()
    trees: Mapping[Digest, Tree] = field(default_factory=dict)
    rejected: frozenset[Digest] = frozenset()
    base_costs: Mapping[BaseRef, int | None] = field(default_factory=dict)
    answered: bool = True
    crowd: int = 0
    elects: bool = False
    role: Role = Role.FETCH
    owners: tuple[bytes, ...] = ()
    fetcher: str = ""
    origin: bool = True
    http: bool = True
    capsules: bool = True
    slow: bool = False
    stalled: bool = False
    overdue: bool = False
    sources: tuple[SourceView, ...] = ()

    @property
    def is_fetcher(self) -> bool:
        """Whether this node is the one that asks the origin, or has to as nothing comes."""
        return self.origin and (not self.elects or self.role is Role.FETCH or self.overdue)


@dataclass(frozen=True, slots=True)
class Decision:
    """A fetch plan, and why. `restart`: what is under way comes as another payload and has to be
    given up.
    """

    plan: FetchPlan
    reason: Reason
    restart: bool = False


# What peers offer


def candidates(entry: FileEntry, offers: Iterable[PeerOffer]) -> list[Candidate]:
    """All payloads of a file that peers have, or are fetching."""
    if entry.sha256 is None:
        return []
    whole: dict[Payload, set[str]] = {}
    named: Counter[Payload] = Counter()
    for offer in offers:
        if offer.held.size != entry.size:
            continue
        root = entry.merkle_root or _plain_root(offer.held)
        payloads = {payload for payload in offer.held.forms if not payload.is_plain}
        if root is not None and _plain_root(offer.held) in (None, root):
            payloads.add(Payload(entry.sha256, Form.PLAIN, entry.size, root))
        for payload in payloads:
            named[payload] += 1
            if offer.whole:
                whole.setdefault(payload, set()).add(offer.source)
    return [
        Candidate(payload, frozenset(whole.get(payload, ())), count)
        for payload, count in named.items()
    ]


def _plain_root(held: HeldThere) -> Digest | None:
    """The root of the plain bytes, as a peer says."""
    return held.root or next((form.root for form in held.forms if form.is_plain), None)


def preferences(now: Snapshot) -> list[Candidate]:
    """The payload to fetch, and what to fetch if no peer gives its tree: the plain bytes.

    The best costs the fewest bytes, its missing bases included; of equal ones most peers name it.
    A capsule that no peer has whole could not be finished, but plain bytes may come from the
    origin too.
    """
    ranked = sorted(
        ((*rank, candidate) for candidate in now.candidates if (rank := _rank(candidate, now))),
        key=lambda row: row[:3],
    )
    ordered = [row[3] for row in ranked]
    plain = [candidate for candidate in ordered if candidate.payload.is_plain]
    return ordered[:1] if ordered[:1] == plain[:1] else ordered[:1] + plain[:1]


def _rank(candidate: Candidate, now: Snapshot) -> tuple[int, int, str] | None:
    """The lowest is best; None if the payload is of no use here."""
    payload = candidate.payload
    if payload.root in now.rejected:
        return None
    if not payload.is_plain and not (now.capsules and candidate.whole):
        return None
    total = payload.size
    for base in payload.bases:
        cost = now.base_costs.get(base)
        if cost is None:
            return None
        total += cost
    return total, -candidate.known, payload.root.hex


# The plan


def decide(now: Snapshot) -> Decision:
    """How a file should come that is about to start."""
    if not now.answered and not now.overdue:
        return Decision(CLOSED, Reason(Cause.ANSWERS))
    preferred = preferences(now)
    if now.overdue and now.origin:  # the origin has the plain bytes alone
        preferred = [one for one in preferred if one.payload.is_plain]
    known = [one for one in preferred if one.payload.root in now.trees]
    plain = [one for one in preferred if one.payload.is_plain]
    chosen = next(iter((*known, *plain)), None)
    tree = now.trees.get(chosen.payload.root) if chosen is not None else None
    return _decision(_plan(chosen, tree, now), now)


def revise(now: Snapshot, current: FetchPlan, idle: float, tuning: Tuning) -> Decision:
    """How a file that is under way should go on. It keeps its payload, unless no piece of it came
    for long (`idle` seconds) and another payload could come.
    """
    decision = decide(now)
    if decision.plan.payload == current.payload:
        return decision
    longest = tuning.patience if now.overdue and not current.is_plain else tuning.stuck_after
    is_stuck = decision.plan.is_open and idle > longest
    if is_stuck and current.payload is not None:
        return replace(decision, restart=True)
    if current.payload is None:
        plain = [one for one in preferences(now) if one.payload.is_plain]
        chosen = None if now.is_fetcher else next(iter(plain), None)
        return _decision(_plan(chosen, None, now), now)
    found = [one for one in now.candidates if one.payload == current.payload]
    chosen = found[0] if found else Candidate(current.payload, frozenset(), 0)
    return _decision(_plan(chosen, current.tree, now), now)


def _plan(chosen: Candidate | None, tree: Tree | None, now: Snapshot) -> FetchPlan:
    """HTTP from peers that have it whole, while no other node wants it. A swarm as soon as one
    does, or if no peer could be asked (both if the swarm stalls: its ports may be closed). The
    origin if no peer has it whole, or that would take long, and only for the elected node.
    """
    if chosen is None or tree is None:
        # Without a tree no swarm can be named: peers give the file whole, or not at all.
        whole = chosen.whole if chosen is not None and now.http else frozenset()
        return FetchPlan(origin=now.is_fetcher and (not whole or now.overdue), peers=whole)
    alone = not now.crowd or now.stalled
    peers = chosen.whole if now.http and alone else frozenset()
    return FetchPlan(
        payload=chosen.payload,
        tree=tree,
        origin=now.is_fetcher
        and chosen.payload.is_plain
        and (not chosen.whole or now.slow or now.overdue),
        peers=peers,
        swarm=not peers or bool(now.crowd),
    )


def _decision(plan: FetchPlan, now: Snapshot) -> Decision:
    return Decision(plan, _reason(plan, now))


# Why


def _reason(plan: FetchPlan, now: Snapshot) -> Reason:
    asked = [
        source
        for source in now.sources
        if (source.name in plan.peers if source.is_peer else plan.origin and plan.is_plain)
    ]
    if asked and all(source.not_before for source in asked) and not plan.swarm:
        first = min(asked, key=lambda source: source.not_before)
        return Reason(Cause.PAUSED, first.name, first.not_before)
    if plan.origin and now.overdue:
        return Reason(Cause.OVERDUE)
    if plan.peers:
        return Reason(Cause.STALLED if plan.swarm else Cause.WHOLE)
    if plan.origin:
        if not now.elects:
            return Reason(Cause.NO_ELECTION)
        return Reason(Cause.SLOW if now.slow and now.candidates else Cause.ELECTED)
    if plan.swarm and any(candidate.whole for candidate in now.candidates):
        return Reason(Cause.SWARM)
    return _missing(plan, now)


def _missing(plan: FetchPlan, now: Snapshot) -> Reason:
    """Why no source can be asked: another node fetches the file, or will, or no source has it."""
    if now.elects and now.role is Role.WAIT:
        return Reason(Cause.FETCHER, now.fetcher) if now.fetcher else Reason(Cause.ELECTION)
    if now.elects and now.role is Role.TAKE and now.fetcher and not plan.swarm:
        return Reason(Cause.OWNER, now.fetcher)
    return Reason(Cause.PIECES if plan.swarm else Cause.SOURCE)


# Whether to start, to hope, to stand for election


def may_start(
    *, size: int, neighbours: int, crowd: int, calm: float, age: float, tuning: Tuning
) -> bool:
    """Whether the nodes that want a file at the same moment had time to say so: if all of them
    requested the beginning of a large file, its seed would send it as often. `calm`: seconds since
    the `crowd` changed; `age`: since the file's turn came.
    """
    if size < tuning.large_file or neighbours < 2:
        return True
    longest = tuning.settle_quiet if crowd else tuning.settle_alone
    return calm > longest or age > tuning.settle_longest


def may_return(offerers: Collection[str], refusing: Collection[str]) -> bool:
    """Whether a file may still come that no source serves and no other node wants: while one of
    those that ever had some of it (`offerers`) does not refuse it. The others may be back.
    """
    return not set(offerers) <= set(refusing)


def is_able(found: Sequence[Candidate], *, origin: bool, slow: bool) -> bool:
    """Whether this node offers itself as fetcher: it reaches an origin, and no peer has the whole
    file and sends it fast enough.
    """
    return origin and (slow or not any(candidate.whole for candidate in found))


def should_resign(*, role: Role, silent: float, tuning: Tuning) -> bool:
    """Whether the elected fetcher gets nothing from its origin (for `silent` seconds): it may be a
    mirror that waits for another of the nodes to have the file.
    """
    return role is Role.FETCH and silent > tuning.idle_origin
