"""Which payload, and from whom: what may never be decided, whatever peers say."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outlast.codec.format import BaseRef
from outlast.codec.merkle import Tree
from outlast.codec.payload import Form, Payload
from outlast.core.digest import Digest
from outlast.core.manifest import FileEntry
from outlast.fetch.plan import CLOSED, FetchPlan
from outlast.fetch.source_state import Patience, SourceState
from outlast.p2p.reasons import Cause, Reason
from outlast.p2p.strategy import (
    Candidate,
    Decision,
    PeerOffer,
    Snapshot,
    SourceView,
    candidates,
    decide,
    is_able,
    may_return,
    may_start,
    preferences,
    revise,
    should_resign,
)
from outlast.p2p.tuning import Tuning
from outlast.sources.hub import HubSource
from outlast.sources.peer import PeerSource
from outlast.sources.peer_documents import HeldThere
from outlast.swarm.lan.election import Role
from tests.serve.peers import client
from tests.serve.peers import sha as sha_of

SIZE = 1000
BLOB, ROOT, OTHER = sha_of(b"blob"), sha_of(b"root"), sha_of(b"another root")
BASE = BaseRef(sha_of(b"base"), 5000)
PLAIN = Payload(BLOB, Form.PLAIN, SIZE, ROOT)
CAPSULE = Payload(BLOB, Form.CAPSULE, 700, sha_of(b"capsule"))
LARGER = Payload(BLOB, Form.CAPSULE, 800, sha_of(b"another capsule"))
THIN = Payload(BLOB, Form.DELTA, 200, sha_of(b"thin"), (BASE,))
ENTRY = FileEntry("a.bin", SIZE, sha256=BLOB)
TUNING = Tuning()

PAYLOADS = st.sampled_from([PLAIN, CAPSULE, LARGER, THIN])
HELD = st.builds(
    HeldThere,
    size=st.sampled_from([SIZE, SIZE, SIZE, SIZE + 1]),
    root=st.sampled_from([None, ROOT, OTHER]),
    have=st.sampled_from([0, 1, SIZE - 1, SIZE]),
    forms=st.lists(PAYLOADS, max_size=3).map(tuple),
)
OFFERS = st.lists(st.builds(PeerOffer, source=st.sampled_from("abcdef"), held=HELD), max_size=6)
SOURCES = st.lists(
    st.builds(
        SourceView,
        name=st.sampled_from(["a", "b", "http://hub"]),
        is_peer=st.booleans(),
        not_before=st.sampled_from([0.0, 100.0]),
    ),
    max_size=3,
).map(tuple)
AROUND = st.builds(
    Snapshot,
    rejected=st.frozensets(st.sampled_from([ROOT, CAPSULE.root, OTHER])),
    base_costs=st.sampled_from([{BASE: cost} for cost in (None, 0, 100, 5000)]),
    answered=st.booleans(),
    crowd=st.integers(0, 3),
    elects=st.booleans(),
    role=st.sampled_from(Role),
    fetcher=st.sampled_from(["", "10.0.0.2"]),
    origin=st.booleans(),
    http=st.booleans(),
    capsules=st.booleans(),
    slow=st.booleans(),
    stalled=st.booleans(),
    overdue=st.booleans(),
    sources=SOURCES,
)
ENTRIES = st.sampled_from([ENTRY, replace(ENTRY, merkle_root=ROOT)])
WITH_TREES = st.sets(st.sampled_from([PLAIN, CAPSULE, LARGER, THIN]))


def tree_of(payload: Payload) -> Tree:
    return Tree(payload.size, payload.root, b"")


def look(
    offers: list[PeerOffer],
    around: Snapshot | None = None,
    *,
    entry: FileEntry = ENTRY,
    trees: set[Payload] | None = None,
) -> Snapshot:
    """A snapshot with what peers offer; without `trees` all trees are known."""
    found = tuple(candidates(entry, offers))
    known = {one.payload for one in found} if trees is None else trees
    return replace(
        around or Snapshot(),
        candidates=found,
        trees={payload.root: tree_of(payload) for payload in known},
    )


def offer(source: str, *forms: Payload, have: int = SIZE, root: Digest | None = ROOT) -> PeerOffer:
    return PeerOffer(source, HeldThere(SIZE, root, have, forms))


def whole(offer: PeerOffer) -> bool:
    return offer.held.have >= offer.held.size


class TestNever:
    @given(ENTRIES, OFFERS, AROUND, WITH_TREES)
    def test_never(
        self, entry: FileEntry, offers: list[PeerOffer], around: Snapshot, trees: set[Payload]
    ) -> None:
        now = look(offers, around, entry=entry, trees=trees)
        decision = decide(now)
        self.check(entry, offers, now, decision)
        if not now.answered and not now.overdue:
            assert decision == Decision(CLOSED, Reason(Cause.ANSWERS))

    @given(ENTRIES, OFFERS, AROUND, PAYLOADS, st.sampled_from([0.0, 1e6]))
    def test_nor_of_what_is_under_way(
        self,
        entry: FileEntry,
        offers: list[PeerOffer],
        around: Snapshot,
        current: Payload,
        idle: float,
    ) -> None:
        now = look(offers, around, entry=entry)
        plan = FetchPlan(current, tree_of(current), swarm=True)
        decision = revise(now, plan, idle, TUNING)
        if decision.restart:
            longest = TUNING.patience if now.overdue else TUNING.stuck_after
            assert idle > longest
            assert decision.plan.is_open
            self.check(entry, offers, now, decision)
        else:
            assert decision.plan.payload == current
            assert decision.plan.tree == plan.tree or decision.plan.tree == tree_of(current)

    @staticmethod
    def check(entry: FileEntry, offers: list[PeerOffer], now: Snapshot, decision: Decision) -> None:
        plan = decision.plan
        # The origin is for the elected node alone, unless nothing comes from others.
        elected = not now.elects or now.role is Role.FETCH
        if not now.origin or not (elected or now.overdue):
            assert not plan.origin
        # Whatever they say, it comes from the origin then.
        if now.origin and now.overdue:
            assert plan.origin
        # In a crowd peers send nothing over HTTP, unless the swarm brings nothing.
        if now.crowd and not now.stalled and plan.tree is not None:
            assert not plan.peers
        if not now.http:
            assert not plan.peers
        # A peer that is asked said that it has the whole file.
        assert plan.peers <= {offer.source for offer in offers if whole(offer)}
        # What cannot be checked is not exchanged.
        assert (plan.payload is None) == (plan.tree is None)
        assert not plan.swarm or plan.tree is not None
        # Why it waits is said if no source may be asked.
        assert plan.is_open or decision.reason.cause.waits
        if plan.payload is None:
            return
        assert plan.payload.root not in now.rejected
        if plan.payload.is_plain:
            assert plan.payload.size == entry.size
            assert entry.merkle_root in (None, plan.payload.root)
        else:
            assert now.capsules
            assert not plan.origin  # it has no capsules
            assert any(plan.payload in o.held.forms for o in offers if whole(o))
            assert all(now.base_costs[base] is not None for base in plan.payload.bases)

    @given(ENTRIES, OFFERS, AROUND)
    def test_what_a_peer_has_comes(
        self, entry: FileEntry, offers: list[PeerOffer], around: Snapshot
    ) -> None:
        """If a payload of use is offered and all trees are known, the plan is open."""
        now = look(offers, replace(around, answered=True), entry=entry)
        if preferences(now):
            assert decide(now).plan.is_open

    @given(ENTRIES, OFFERS, AROUND)
    def test_nothing_cheaper(
        self, entry: FileEntry, offers: list[PeerOffer], around: Snapshot
    ) -> None:
        now = look(offers, around, entry=entry)

        def cost(payload: Payload) -> int | None:
            bases = [now.base_costs[base] for base in payload.bases]
            return None if None in bases else payload.size + sum(filter(None, bases))

        useful = [
            price
            for one in now.candidates
            if one.payload.root not in now.rejected
            and (one.payload.is_plain or (now.capsules and one.whole))
            and (price := cost(one.payload)) is not None
        ]
        preferred = preferences(now)
        assert bool(preferred) == bool(useful)
        if preferred:
            assert cost(preferred[0].payload) == min(useful)
            assert all(one.payload.is_plain for one in preferred[1:])


class TestChoice:
    def test_a_capsule_is_preferred(self) -> None:
        plan = decide(look([offer("a", PLAIN), offer("b", CAPSULE)])).plan
        assert plan.payload == CAPSULE
        assert plan.peers == {"b"}

    def test_a_capsule_whose_tree_is_not_known(self) -> None:
        """Then the plain bytes come."""
        offers = [offer("a", PLAIN), offer("b", CAPSULE)]
        assert decide(look(offers, trees={PLAIN})).plan.payload == PLAIN
        assert decide(look(offers, trees=set())).plan == FetchPlan(
            origin=False, peers=frozenset({"a", "b"})
        )

    @pytest.mark.parametrize(
        ("cost", "chosen"), [(100, THIN), (0, THIN), (5000, CAPSULE), (None, CAPSULE)]
    )
    def test_a_delta_with_its_base(self, cost: int | None, chosen: Payload) -> None:
        offers = [offer("a", CAPSULE), offer("b", THIN)]
        now = look(offers, Snapshot(base_costs={BASE: cost}))
        assert decide(now).plan.payload == chosen

    def test_a_payload_that_restored_something_else(self) -> None:
        offers = [offer("a", PLAIN), offer("b", CAPSULE)]
        assert (
            decide(look(offers, Snapshot(rejected=frozenset({CAPSULE.root})))).plan.payload == PLAIN
        )

    def test_the_root_may_be_in_the_forms_alone(self) -> None:
        """As of a file of a revision that is not complete."""
        [found] = candidates(ENTRY, [offer("a", PLAIN, root=None)])
        assert found.payload == PLAIN
        assert found.whole == {"a"}

    def test_another_root_than_ours(self) -> None:
        entry = replace(ENTRY, merkle_root=OTHER)
        assert candidates(entry, [offer("a", root=ROOT)]) == []

    def test_no_peer_has_it(self) -> None:
        assert decide(look([])).plan == FetchPlan()
        waits = Snapshot(elects=True, role=Role.WAIT)
        assert not decide(look([], waits)).plan.is_open

    def test_a_swarm_that_stalls(self) -> None:
        """The swarm port of the peer that has it may be closed: the other is open."""
        offers = [offer("a", PLAIN)]
        crowd = Snapshot(crowd=2, origin=False)
        assert not decide(look(offers, crowd)).plan.peers
        plan = decide(look(offers, replace(crowd, stalled=True))).plan
        assert plan.peers == {"a"}
        assert plan.swarm

    def test_a_slow_crowd_is_helped(self) -> None:
        """By the elected node alone, from the origin."""
        offers = [offer("a", PLAIN)]
        crowd = Snapshot(crowd=2, elects=True, role=Role.FETCH)
        assert not decide(look(offers, crowd)).plan.origin
        slow = replace(crowd, slow=True)
        assert decide(look(offers, slow)).plan.origin
        assert not decide(look(offers, replace(slow, role=Role.WAIT))).plan.origin

    @pytest.mark.parametrize("role", [Role.WAIT, Role.TAKE, Role.ALONE])
    @pytest.mark.parametrize("answered", [True, False])
    def test_what_does_not_come_is_asked_of_the_origin(self, role: Role, answered: bool) -> None:
        """Whatever others say: that they fetch it, or have it, plain or smaller."""
        around = Snapshot(answered=answered, crowd=2, elects=True, role=role)
        for offers in ([], [offer("a", PLAIN)], [offer("a", PLAIN), offer("b", CAPSULE)]):
            for trees in (None, set[Payload]()):
                assert not decide(look(offers, around, trees=trees)).plan.origin
                late = look(offers, replace(around, overdue=True), trees=trees)
                assert decide(late).plan.origin
                assert decide(late).reason == Reason(Cause.OVERDUE)

    def test_which_sources_a_plan_admits(self) -> None:
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


class TestUnderWay:
    PLAN = FetchPlan(PLAIN, tree_of(PLAIN), swarm=True)

    def test_it_keeps_its_payload(self) -> None:
        """Though a smaller one is offered by now."""
        now = look([offer("a", PLAIN), offer("b", CAPSULE)])
        decision = revise(now, self.PLAN, TUNING.stuck_after, TUNING)
        assert (decision.plan.payload, decision.restart) == (PLAIN, False)
        assert decision.plan.peers == {"a", "b"}  # whom to ask is brought up to date

    def test_unless_it_is_stuck(self) -> None:
        now = look([offer("b", CAPSULE, root=None)])
        decision = revise(now, self.PLAN, TUNING.stuck_after + 0.1, TUNING)
        assert (decision.plan.payload, decision.restart) == (CAPSULE, True)

    def test_unless_what_is_offered_does_not_come(self) -> None:
        """The origin has no capsules: the file starts again as its plain bytes."""
        capsule = FetchPlan(CAPSULE, tree_of(CAPSULE), peers=frozenset("a"))
        now = look([offer("a", CAPSULE)], Snapshot(elects=True, role=Role.TAKE, overdue=True))
        assert not revise(now, capsule, TUNING.patience, TUNING).restart
        decision = revise(now, capsule, TUNING.patience + 0.1, TUNING)
        assert (decision.plan.payload, decision.restart) == (PLAIN, True)
        assert decision.plan.origin
        plain = revise(now, self.PLAN, TUNING.patience + 0.1, TUNING)
        assert (plain.plan.origin, plain.restart) == (True, False)

    def test_what_began_without_a_root_goes_on_from_peers(self) -> None:
        """As when another node fetches it in the end."""
        now = look([offer("a", PLAIN)], Snapshot(elects=True, role=Role.TAKE))
        plan = revise(now, FetchPlan(), 0.0, TUNING).plan
        assert plan == FetchPlan(origin=False, peers=frozenset("a"))

    def test_there_is_nothing_else(self) -> None:
        decision = revise(look([], Snapshot(origin=False)), self.PLAN, 1e6, TUNING)
        assert (decision.plan.payload, decision.restart) == (PLAIN, False)
        assert decision.plan.swarm

    def test_plain_bytes_without_a_root_never_start_again(self) -> None:
        """What came from the origin would be lost."""
        now = look([offer("a", PLAIN), offer("b", CAPSULE)])
        decision = revise(now, FetchPlan(), 1e6, TUNING)
        assert (decision.plan.payload, decision.restart) == (None, False)
        assert decision.plan.origin

    def test_before_new_neighbours_have_answered(self) -> None:
        """What is known stays in force."""
        now = look([offer("a", PLAIN)], Snapshot(answered=False, elects=True, role=Role.WAIT))
        plan = revise(now, self.PLAN, 0.0, TUNING).plan
        assert plan == FetchPlan(PLAIN, self.PLAN.tree, origin=False, peers=frozenset({"a"}))


HUB = SourceView("http://hub", is_peer=False)
PEER = SourceView("a", is_peer=True)
LATER = 1000.0


class TestReasons:
    @pytest.mark.parametrize(
        ("offers", "around", "reason"),
        [
            ([], Snapshot(answered=False), Reason(Cause.ANSWERS)),
            ([], Snapshot(sources=(HUB,)), Reason(Cause.NO_ELECTION)),
            ([], Snapshot(elects=True), Reason(Cause.ELECTED)),
            ([], Snapshot(elects=True, role=Role.WAIT), Reason(Cause.ELECTION)),
            (
                [],
                Snapshot(elects=True, role=Role.WAIT, fetcher="10.0.0.2"),
                Reason(Cause.FETCHER, "10.0.0.2"),
            ),
            (
                [offer("a", PLAIN, have=10)],
                Snapshot(elects=True, role=Role.WAIT, fetcher="10.0.0.2", crowd=1),
                Reason(Cause.FETCHER, "10.0.0.2"),
            ),
            (
                [],
                Snapshot(elects=True, role=Role.TAKE, fetcher="10.0.0.3"),
                Reason(Cause.OWNER, "10.0.0.3"),
            ),
            ([], Snapshot(elects=True, role=Role.ALONE, origin=False), Reason(Cause.SOURCE)),
            ([], Snapshot(origin=False), Reason(Cause.SOURCE)),
            (
                [offer("a", PLAIN, have=10)],
                Snapshot(origin=False),
                Reason(Cause.PIECES),
            ),
            (
                [],
                Snapshot(sources=(replace(HUB, not_before=LATER),)),
                Reason(Cause.PAUSED, "http://hub", LATER),
            ),
            (
                [],
                Snapshot(sources=(replace(HUB, not_before=LATER), HUB)),
                Reason(Cause.NO_ELECTION),
            ),
            ([offer("a", PLAIN)], Snapshot(sources=(PEER,)), Reason(Cause.WHOLE)),
            (
                [offer("a", PLAIN)],
                Snapshot(sources=(HUB, replace(PEER, not_before=LATER))),
                Reason(Cause.PAUSED, "a", LATER),
            ),
            ([offer("a", PLAIN)], Snapshot(crowd=1), Reason(Cause.SWARM)),
            ([offer("a", PLAIN)], Snapshot(crowd=1, stalled=True), Reason(Cause.STALLED)),
            ([offer("a", PLAIN)], Snapshot(http=False), Reason(Cause.SWARM)),
            (
                [offer("a", PLAIN)],
                Snapshot(crowd=1, elects=True, slow=True),
                Reason(Cause.SLOW),
            ),
        ],
    )
    def test_why(self, offers: list[PeerOffer], around: Snapshot, reason: Reason) -> None:
        assert decide(look(offers, around)).reason == reason

    def test_texts(self) -> None:
        fetches = Reason(Cause.FETCHER, "10.0.0.2")
        assert fetches.text(140.4, since=100.0) == "10.0.0.2, which fetches it since 40 s"
        paused = Reason(Cause.PAUSED, "http://hub", until=152.0)
        assert paused.text(140.0, since=100.0) == "http://hub, which is asked again in 12 s"
        assert paused.text(160.0, since=100.0) == "http://hub, which is asked again in 0 s"

    @pytest.mark.parametrize("cause", list(Cause))
    def test_each_has_a_text(self, cause: Cause) -> None:
        text = Reason(cause, "WHO").text(5.0, since=1.0)
        assert "{" not in text
        assert ("WHO" in text) == ("{who}" in cause.value)


class TestStart:
    @pytest.mark.parametrize(
        ("change", "may"),
        [
            ({}, False),
            ({"size": TUNING.large_file - 1}, True),
            ({"neighbours": 1}, True),
            ({"calm": TUNING.settle_quiet + 0.01}, False),
            ({"calm": TUNING.settle_quiet + 0.01, "crowd": 1}, True),
            ({"calm": TUNING.settle_alone + 0.01}, True),
            ({"age": TUNING.settle_longest + 0.01}, True),
        ],
    )
    def test_it_waits_for_newcomers(self, change: dict[str, float], may: bool) -> None:
        given: dict[str, Any] = {
            "size": TUNING.large_file,
            "neighbours": 2,
            "crowd": 0,
            "calm": 0.0,
            "age": 0.0,
        }
        assert may_start(**given | change, tuning=TUNING) is may

    def test_hope(self) -> None:
        assert not may_return((), ())
        assert may_return({"a", "b"}, {"a"})
        assert not may_return({"a"}, {"a", "b"})


class TestElection:
    PARTIAL = Candidate(PLAIN, frozenset(), 1)
    WHOLE = Candidate(PLAIN, frozenset("a"), 1)

    def test_who_can_fetch(self) -> None:
        assert is_able([], origin=True, slow=False)
        assert is_able([self.PARTIAL], origin=True, slow=False)
        assert not is_able([self.PARTIAL, self.WHOLE], origin=True, slow=False)
        assert is_able([self.WHOLE], origin=True, slow=True)
        assert not is_able([], origin=False, slow=True)

    def test_resigning(self) -> None:
        silent = TUNING.idle_origin + 0.1
        assert should_resign(role=Role.FETCH, silent=silent, tuning=TUNING)
        assert not should_resign(role=Role.FETCH, silent=TUNING.idle_origin, tuning=TUNING)
        assert not should_resign(role=Role.WAIT, silent=silent, tuning=TUNING)
