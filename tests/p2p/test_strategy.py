"""Which payload, and from whom: what may never be decided, whatever peers say."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from outlast.codec.format import BaseRef
from outlast.codec.merkle import Tree
from outlast.codec.payload import Form, Payload
from outlast.core.digest import Digest
from outlast.core.manifest import FileEntry
from outlast.fetch.plan import FetchPlan
from outlast.fetch.source_state import Patience, SourceState
from outlast.p2p.strategy import Offer, Surroundings, best, candidates, cost_of, plan_for
from outlast.sources.hub import HubSource
from outlast.sources.peer import PeerSource
from outlast.sources.peer_documents import HeldThere
from tests.serve.peers import client
from tests.serve.peers import sha as sha_of

SIZE = 1000
BLOB, ROOT, OTHER = sha_of(b"blob"), sha_of(b"root"), sha_of(b"another root")
BASE = BaseRef(sha_of(b"base"), 5000)
PLAIN = Payload(BLOB, Form.PLAIN, SIZE, ROOT)
CAPSULE = Payload(BLOB, Form.CAPSULE, 700, sha_of(b"capsule"))
LARGER = Payload(BLOB, Form.CAPSULE, 800, sha_of(b"another capsule"))
THIN = Payload(BLOB, Form.THIN, 200, sha_of(b"thin"), (BASE,))
ENTRY = FileEntry("a.bin", SIZE, sha256=BLOB)

PAYLOADS = st.sampled_from([PLAIN, CAPSULE, LARGER, THIN])
HELD = st.builds(
    HeldThere,
    size=st.sampled_from([SIZE, SIZE, SIZE, SIZE + 1]),
    root=st.sampled_from([None, ROOT, OTHER]),
    have=st.sampled_from([0, 1, SIZE - 1, SIZE]),
    forms=st.lists(PAYLOADS, max_size=3).map(tuple),
)
OFFERS = st.lists(st.builds(Offer, source=st.sampled_from("abcdef"), held=HELD), max_size=6)
AROUND = st.builds(
    Surroundings,
    crowd=st.integers(0, 3),
    holds=st.booleans(),
    origin=st.booleans(),
    http=st.booleans(),
    capsules=st.booleans(),
    slow=st.booleans(),
    stalled=st.booleans(),
    wrong=st.frozensets(st.sampled_from([ROOT, CAPSULE.root, OTHER])),
)
ENTRIES = st.sampled_from([ENTRY, replace(ENTRY, merkle_root=ROOT)])
BASES = st.sampled_from([None, 0, 100, 5000])


def tree_of(payload: Payload) -> Tree:
    return Tree(payload.size, payload.root, b"")


def decide(
    entry: FileEntry, offers: list[Offer], around: Surroundings, base: int | None, *, tree: bool
) -> FetchPlan:
    cost = cost_of(lambda _blob, _size: False, lambda _base: base)
    chosen = best(candidates(entry, offers), around, cost)
    known = tree_of(chosen.payload) if tree and chosen is not None else None
    return plan_for(chosen, known, around)


def whole(offer: Offer) -> bool:
    return offer.held.have >= offer.held.size


class TestNever:
    @given(ENTRIES, OFFERS, AROUND, BASES, st.booleans())
    def test_never(
        self,
        entry: FileEntry,
        offers: list[Offer],
        around: Surroundings,
        base: int | None,
        tree: bool,
    ) -> None:
        plan = decide(entry, offers, around, base, tree=tree)
        # The origin is for who was elected alone.
        if not (around.holds and around.origin):
            assert not plan.origin
        # From peers in a crowd nothing comes by HTTP, unless nothing comes otherwise.
        if around.crowd and not around.stalled and plan.tree is not None:
            assert not plan.peers
        if not around.http:
            assert not plan.peers
        # Who is asked said that it has all of it.
        assert plan.peers <= {offer.source for offer in offers if whole(offer)}
        # Nothing is exchanged that nobody could check.
        assert (plan.payload is None) == (plan.tree is None)
        assert not plan.swarm or plan.tree is not None
        if plan.payload is None:
            return
        assert plan.payload.root not in around.wrong
        if plan.payload.is_plain:
            assert plan.payload.size == entry.size
            assert entry.merkle_root in (None, plan.payload.root)
        else:
            assert around.capsules
            assert not plan.origin  # it has no capsules
            assert any(plan.payload in o.held.forms for o in offers if whole(o))
            if plan.payload.bases:
                assert base is not None

    @given(ENTRIES, OFFERS, AROUND, BASES)
    def test_what_somebody_has_comes(
        self, entry: FileEntry, offers: list[Offer], around: Surroundings, base: int | None
    ) -> None:
        """Whatever is chosen with a tree has a way."""
        found = candidates(entry, offers)
        cost = cost_of(lambda _blob, _size: False, lambda _base: base)
        if best(found, around, cost) is not None:
            assert decide(entry, offers, around, base, tree=True).is_open

    @given(ENTRIES, OFFERS, AROUND, BASES)
    def test_nothing_cheaper(
        self, entry: FileEntry, offers: list[Offer], around: Surroundings, base: int | None
    ) -> None:
        cost = cost_of(lambda _blob, _size: False, lambda _base: base)
        found = candidates(entry, offers)
        chosen = best(found, around, cost)
        useful = [
            price
            for one in found
            if one.payload.root not in around.wrong
            and (one.payload.is_plain or (around.capsules and one.whole))
            and (price := cost(one.payload)) is not None
        ]
        assert (chosen is None) == (not useful)
        if chosen is not None:
            assert cost(chosen.payload) == min(useful)


def offer(source: str, *forms: Payload, have: int = SIZE, root: Digest | None = ROOT) -> Offer:
    return Offer(source, HeldThere(SIZE, root, have, forms))


class TestChoice:
    def test_a_capsule_is_preferred(self) -> None:
        plan = decide(
            ENTRY, [offer("a", PLAIN), offer("b", CAPSULE)], Surroundings(), None, tree=True
        )
        assert plan.payload == CAPSULE
        assert plan.peers == {"b"}

    def test_a_thin_one_with_its_base(self) -> None:
        offers = [offer("a", CAPSULE), offer("b", THIN)]
        assert decide(ENTRY, offers, Surroundings(), 100, tree=True).payload == THIN
        assert decide(ENTRY, offers, Surroundings(), 5000, tree=True).payload == CAPSULE
        assert decide(ENTRY, offers, Surroundings(), None, tree=True).payload == CAPSULE

    def test_a_thin_one_whose_base_is_here(self) -> None:
        cost = cost_of(lambda blob, size: (blob, size) == (BASE.sha256, BASE.size), lambda _: None)
        assert cost(THIN) == THIN.size

    def test_the_root_may_be_in_the_forms_alone(self) -> None:
        """As of a file of a revision that is not complete."""
        [found] = candidates(ENTRY, [offer("a", PLAIN, root=None)])
        assert found.payload == PLAIN
        assert found.whole == {"a"}

    def test_another_root_than_ours(self) -> None:
        entry = replace(ENTRY, merkle_root=OTHER)
        assert candidates(entry, [offer("a", root=ROOT)]) == []

    def test_nobody_has_it(self) -> None:
        assert decide(ENTRY, [], Surroundings(), None, tree=True) == FetchPlan()
        assert not decide(ENTRY, [], Surroundings(holds=False), None, tree=True).is_open

    def test_a_swarm_that_stalls(self) -> None:
        """The swarm port of who has it may be closed: the other is open."""
        offers = [offer("a", PLAIN)]
        crowd = Surroundings(crowd=2, origin=False)
        assert not decide(ENTRY, offers, crowd, None, tree=True).peers
        plan = decide(ENTRY, offers, replace(crowd, stalled=True), None, tree=True)
        assert plan.peers == {"a"}
        assert plan.swarm

    def test_lanes(self) -> None:
        peer = SourceState(PeerSource(client(), "127.0.0.1", 1), Patience(), lambda _: None)
        hub = SourceState(
            HubSource(client(), "http://127.0.0.1:1", None), Patience(), lambda _: None
        )
        plain = FetchPlan(PLAIN, tree_of(PLAIN), origin=True, peers=frozenset({peer.name}))
        assert plain.admits(peer)
        assert plain.admits(hub)
        capsule = FetchPlan(CAPSULE, tree_of(CAPSULE), origin=True, peers=frozenset())
        assert not capsule.admits(peer)
        assert not capsule.admits(hub)  # it would send the plain bytes
