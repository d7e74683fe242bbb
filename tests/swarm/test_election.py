"""Elections: the rules one by one, then whole LANs with datagrams late, lost and cut off."""

import logging
from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from outlast.swarm.lan.datagrams import MAX_NODES, MAX_WISHES, Announcement, Want, Wish
from outlast.swarm.lan.election import (
    COLLECT_S,
    GRACE_S,
    LINGER_S,
    OVERDUE_S,
    UNPROVEN_S,
    Election,
    FetchClaim,
    Role,
    State,
    score,
)
from outlast.swarm.lan.peer_table import DEAD_S, PeerTable
from outlast.swarm.tuning import TUNING
from tests.swarm.electorate import KEY, TICK, Electorate

ME = b"m" * 20
_others = sorted((bytes([n]) * 20 for n in range(40)), key=lambda node: score(node, KEY))
BEFORE = _others[-1]
"""A node that is before this one; the other two come after it."""
AFTER, LAST = _others[1], _others[0]
BOUND = DEAD_S + COLLECT_S + OVERDUE_S
LIMITS = (0, 100_000, None, 2_000_000, 0)
"""What nodes say of their limits; None: they are of an older version, and say nothing."""

assert score(LAST, KEY) < score(AFTER, KEY) < score(ME, KEY) < score(BEFORE, KEY)


class Booth:
    """One election, and what is said to it."""

    def __init__(self, *, able: bool = True, knows: bool = True) -> None:
        self.now = 100.0
        self.election = Election(ME, self.now)
        if knows:
            self.election.hear(Announcement(LAST, "a", 1), self.now)
        self.election.want(KEY, self.now, able=able)
        self.tick()

    def tick(self) -> tuple[Wish, ...]:
        return self.election.tick(self.now)

    def after(self, seconds: float) -> State:
        self.now += seconds
        self.tick()
        return self.election.state(KEY, self.now)

    def hear(self, node: bytes, **flags: bool | int) -> State:
        wish = Wish(KEY, **flags)  # type: ignore[arg-type]
        self.election.hear(Want(node, "a", 1, (wish,)), self.now)
        return self.after(0)


def test_a_node_that_heard_of_no_other_begins_after_a_moment() -> None:
    booth = Booth(knows=False)
    assert booth.after(GRACE_S - 0.01) == State(Role.WAIT)
    assert booth.after(0.02) == State(Role.FETCH)


def test_a_lone_node_that_has_listened_already_begins_at_once() -> None:
    election = Election(ME, 0.0)
    election.want(KEY, 5.0, able=True)
    assert election.tick(5.0) == (Wish(KEY, able=True, fetching=True),)


def test_the_first_begins_when_all_were_heard_and_says_so() -> None:
    booth = Booth()
    booth.hear(AFTER, able=True)
    assert booth.after(COLLECT_S - 0.01) == State(Role.WAIT)
    booth.now += 0.02
    assert booth.tick() == (Wish(KEY, able=True, fetching=True),)
    assert booth.tick() == ()
    assert booth.election.state(KEY, booth.now) == State(Role.FETCH)


def test_who_is_not_the_first_waits_for_it_but_not_for_ever() -> None:
    booth = Booth()
    for _ in range(6):
        assert booth.hear(BEFORE, able=True) == State(Role.WAIT)
        booth.now += 0.5
    booth.hear(BEFORE, able=True)
    assert booth.after(COLLECT_S + OVERDUE_S - 3.0 + 0.01) == State(Role.FETCH)


def test_the_log_says_why_a_role_changes(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="outlast.swarm.lan.election")
    booth = Booth()
    booth.after(COLLECT_S)
    booth.hear(BEFORE, able=True, fetching=True)
    blob = f"blob {KEY.hex()[:12]}: this node"
    assert caplog.messages == [
        f"{blob} fetches from the origin: no node fetched for 1.2 s",
        f"{blob} does not fetch from the origin: a node before it in rank fetches",
    ]


def test_who_is_first_but_not_able_is_not_waited_for() -> None:
    booth = Booth()
    booth.hear(BEFORE, able=False)
    assert booth.after(COLLECT_S) == State(Role.FETCH)


def test_who_is_not_able_never_fetches() -> None:
    booth = Booth(able=False)
    booth.hear(AFTER, able=False)
    assert booth.after(3 * BOUND) == State(Role.ALONE)
    assert booth.hear(AFTER, able=True) == State(Role.WAIT)
    assert booth.hear(AFTER, able=True, fetching=True) == State(Role.WAIT, (AFTER,))
    booth.election.want(KEY, booth.now, able=True)
    booth.hear(AFTER, gone=True)
    assert booth.after(COLLECT_S) == State(Role.FETCH)


def test_a_live_fetcher_stays() -> None:
    booth = Booth()
    for _ in range(20):
        assert booth.hear(AFTER, able=True, fetching=True) == State(Role.WAIT, (AFTER,))
        booth.now += 1.0


def test_a_fetcher_that_dies_is_replaced() -> None:
    booth = Booth()
    booth.hear(AFTER, able=True, fetching=True)
    assert booth.after(DEAD_S - 0.01) == State(Role.WAIT, (AFTER,))
    assert booth.after(0.02) == State(Role.WAIT)
    assert booth.after(COLLECT_S) == State(Role.FETCH)


@pytest.mark.parametrize("flags", [{"gone": True}, {"able": False}, {"able": True}])
def test_a_fetcher_that_says_that_it_stops_is_replaced_sooner(flags: dict[str, bool]) -> None:
    booth = Booth()
    booth.hear(AFTER, able=True, fetching=True)
    assert booth.hear(AFTER, **flags) == State(Role.WAIT)
    assert booth.after(COLLECT_S) == State(Role.FETCH)


def test_a_fetcher_that_has_it_now_is_taken_from() -> None:
    booth = Booth()
    booth.hear(AFTER, able=True, fetching=True)
    assert booth.hear(AFTER, has=True) == State(Role.TAKE, (AFTER,))
    assert booth.hear(BEFORE, has=True) == State(Role.TAKE, (AFTER, BEFORE))
    assert booth.after(DEAD_S + 0.01) == State(Role.WAIT)
    assert booth.after(COLLECT_S) == State(Role.FETCH)


def test_a_fetcher_stops_when_a_neighbour_has_it() -> None:
    booth = Booth(knows=False)
    assert booth.after(GRACE_S) == State(Role.FETCH)
    assert booth.hear(LAST, has=True) == State(Role.TAKE, (LAST,))


def test_of_two_fetchers_the_later_yields() -> None:
    booth = Booth(knows=False)
    assert booth.after(GRACE_S) == State(Role.FETCH)
    assert booth.hear(AFTER, able=True, fetching=True) == State(Role.FETCH)
    assert booth.hear(BEFORE, able=True, fetching=True) == State(Role.WAIT, (BEFORE,))


def test_of_two_fetchers_the_one_that_is_further_stays() -> None:
    booth = Booth(knows=False)
    assert booth.after(GRACE_S) == State(Role.FETCH)
    booth.election.progress(KEY, 5 * 1024 * 1024)
    assert booth.tick() == (Wish(KEY, able=True, fetching=True, stage=1),)
    assert booth.hear(BEFORE, able=True, fetching=True) == State(Role.FETCH)
    assert booth.hear(BEFORE, able=True, fetching=True, stage=1) == State(Role.WAIT, (BEFORE,))


def test_who_is_further_begins_first() -> None:
    booth = Booth()
    booth.election.progress(KEY, 5 * 1024 * 1024)
    booth.hear(BEFORE, able=True)
    assert booth.after(COLLECT_S) == State(Role.FETCH)


class TestLimits:
    """A node that lets itself fetch little comes after those that do not. The blob has 60 MB."""

    SIZE = 60_000_000

    def booth(self, limit: int | None, *, size: int = SIZE) -> Booth:
        booth = Booth()
        booth.election.want(KEY, booth.now, able=True, limit=limit, size=size)
        booth.tick()
        return booth

    def test_who_is_limited_begins_last(self) -> None:
        booth = self.booth(100_000)
        for _ in range(6):
            assert booth.hear(LAST, able=True, limit=0) == State(Role.WAIT)
            booth.now += 0.5
        booth.hear(LAST, able=True, limit=0)
        assert booth.after(COLLECT_S + OVERDUE_S - 3.0 + 0.01) == State(Role.FETCH)

    def test_though_it_has_more(self) -> None:
        booth = self.booth(0)
        booth.hear(BEFORE, able=True, limit=100_000, stage=3)
        assert booth.after(COLLECT_S) == State(Role.FETCH)

    def test_it_says_its_limit(self) -> None:
        booth = self.booth(100_000)
        booth.now += COLLECT_S
        assert booth.tick() == (Wish(KEY, able=True, fetching=True, limit=100_000),)

    def test_a_limited_fetcher_is_not_waited_for(self) -> None:
        booth = self.booth(0)
        flags = {"able": True, "fetching": True, "limit": 100_000}
        assert booth.hear(BEFORE, **flags) == State(Role.WAIT, (BEFORE,))
        booth.now += COLLECT_S
        assert booth.hear(BEFORE, **flags) == State(Role.FETCH)
        assert booth.hear(BEFORE, **flags, stage=15) == State(Role.FETCH)

    @pytest.mark.parametrize(
        ("limit", "stage", "size"),
        [
            (8_000_000, 0, SIZE),
            (5_000_000, 0, SIZE),
            (2_000_000, 4, 40 << 20),
            (100_000, 4, (32 << 20) + 400_000),
            (100_000, 0, 200_000),
        ],
        ids=["quick", "of-the-same-pace", "half-done", "nearly-done", "small"],
    )
    def test_where_that_would_not_be_sooner_it_is(self, limit: int, stage: int, size: int) -> None:
        booth = self.booth(0, size=size)
        for _ in range(20):
            flags = {"able": True, "fetching": True, "limit": limit, "stage": stage}
            assert booth.hear(BEFORE, **flags) == State(Role.WAIT, (BEFORE,))
            booth.now += 1.0

    def test_nor_by_who_is_as_slow(self) -> None:
        booth = self.booth(120_000)
        for _ in range(20):
            flags = {"able": True, "fetching": True, "limit": 100_000}
            assert booth.hear(AFTER, **flags) == State(Role.WAIT, (AFTER,))
            booth.now += 1.0

    def test_it_stops_when_a_quick_one_fetches(self) -> None:
        booth = self.booth(100_000)
        assert booth.after(COLLECT_S) == State(Role.FETCH)
        booth.election.progress(KEY, 50_000_000)
        assert booth.hear(LAST, able=True, limit=0) == State(Role.FETCH)
        assert booth.hear(LAST, able=True, fetching=True, limit=0) == State(Role.WAIT, (LAST,))

    def test_and_goes_on_when_that_fails(self) -> None:
        booth = self.booth(100_000)
        booth.after(COLLECT_S)
        booth.hear(LAST, able=True, fetching=True, limit=0)
        booth.hear(LAST, able=False, limit=0)
        assert booth.after(COLLECT_S) == State(Role.FETCH)

    def test_with_a_node_that_says_no_limit_rank_is_as_it_was(self) -> None:
        """So both sides see it in the same way."""
        booth = self.booth(100_000)
        assert booth.after(COLLECT_S) == State(Role.FETCH)
        assert booth.hear(LAST, able=True, fetching=True) == State(Role.FETCH)
        assert booth.hear(BEFORE, able=True, fetching=True) == State(Role.WAIT, (BEFORE,))
        old = self.booth(None)
        flags = {"able": True, "fetching": True, "limit": 100_000}
        assert old.hear(LAST, **flags) == State(Role.WAIT, (LAST,))
        old.now += 2.0
        assert old.hear(LAST, **flags) == State(Role.WAIT, (LAST,))


def test_who_resigns_lets_another_try_and_may_come_back() -> None:
    booth = Booth(knows=False)
    assert booth.after(GRACE_S) == State(Role.FETCH)
    booth.election.resign(KEY, booth.now)
    assert booth.tick() == (Wish(KEY, able=False),)
    assert booth.after(29.9) == State(Role.ALONE)
    assert booth.after(0.2) == State(Role.FETCH)
    booth.election.want(KEY, booth.now, able=False)
    assert booth.after(0) == State(Role.ALONE)


def test_who_does_not_do_as_it_says_does_not_count() -> None:
    booth = Booth()
    for flags in ({"has": True}, {"able": True, "fetching": True}):
        booth.hear(BEFORE, **flags)
        booth.election.shun(BEFORE, KEY, booth.now, seconds=10)
        assert booth.hear(BEFORE, **flags) == State(Role.WAIT)
        booth.now += 11
        assert booth.hear(BEFORE, **flags).nodes == (BEFORE,)
    booth.election.shun(BEFORE, KEY, booth.now)
    booth.after(0)
    booth.now += COLLECT_S
    assert booth.hear(BEFORE, able=True, fetching=True) == State(Role.FETCH)


@pytest.mark.parametrize("flags", [{"has": True}, {"able": True, "fetching": True, "stage": 15}])
def test_a_node_that_cannot_be_reached_does_not_count(flags: dict[str, bool | int]) -> None:
    """However many there are, and though new ones come all the time: the time counts from when the
    blob was wanted.
    """
    booth = Booth()
    booth.election.reach({AFTER: frozenset({"a"})})
    assert booth.hear(BEFORE, **flags).nodes == (BEFORE,)  # its API may answer yet
    for number in range(100):
        booth.hear(bytes([100 + number]) * 20, **flags)
    booth.now += UNPROVEN_S
    assert booth.hear(BEFORE, **flags) == State(Role.WAIT)
    booth.now += COLLECT_S
    assert booth.hear(b"n" * 20, **flags) == State(Role.FETCH)
    booth.election.reach({AFTER: frozenset({"a"}), BEFORE: frozenset({"a"})})
    assert booth.hear(BEFORE, **flags).nodes == (BEFORE,)


def test_a_node_is_heard_from_where_its_api_answers() -> None:
    """Another one cannot speak for it, neither to keep others waiting nor to silence it."""
    booth = Booth()
    booth.election.reach({BEFORE: frozenset({"a", "b"})})
    booth.hear(BEFORE, able=True, fetching=True)
    false = Want(BEFORE, "x", 1, (Wish(KEY, gone=True),))
    booth.election.hear(false, booth.now)
    assert booth.after(0) == State(Role.WAIT, (BEFORE,))
    booth.election.hear(Want(BEFORE, "b", 1, (Wish(KEY, has=True),)), booth.now)
    assert booth.after(0) == State(Role.TAKE, (BEFORE,))


def test_who_cannot_be_reached_is_no_crowd() -> None:
    """A pull that is done does not stay for nodes that are invented."""
    booth = Booth()
    booth.election.reach({AFTER: frozenset({"a"})})
    booth.hear(AFTER)
    booth.hear(BEFORE)
    assert booth.election.wanting(KEY, booth.now) == sorted((AFTER, BEFORE))
    booth.now += UNPROVEN_S
    assert booth.election.wanting(KEY, booth.now) == [AFTER]
    assert booth.election.count_wanting(KEY, booth.now) == 1


def test_when_nothing_comes_only_those_count_that_are_proven() -> None:
    booth = Booth()
    claims: list[dict[str, bool | int]] = [{"has": True}, {"able": True, "fetching": True}]
    for flags in claims:
        booth.hear(BEFORE, **flags)
    booth.election.rely_on_proven(KEY, booth.now)
    assert booth.after(0) == State(Role.FETCH)
    for flags in claims:
        assert booth.hear(BEFORE, **flags) == State(Role.FETCH)
        assert booth.hear(LAST, **flags) == State(Role.FETCH)
    for node in (LAST, BEFORE):
        booth.election.vouch(node, KEY, booth.now, seconds=10)
    booth.hear(LAST, able=True, fetching=True)
    assert booth.hear(BEFORE, able=True, fetching=True) == State(Role.WAIT, (BEFORE,))
    booth.now += 10  # and shows nothing more
    assert booth.hear(BEFORE, able=True, fetching=True) == State(Role.WAIT)
    booth.now += COLLECT_S
    assert booth.hear(BEFORE, able=True, fetching=True) == State(Role.FETCH)


def test_of_two_that_rely_on_no_claim_the_proven_one_before_goes_on() -> None:
    booth = Booth()
    booth.election.rely_on_proven(KEY, booth.now)
    booth.hear(AFTER, able=True, fetching=True)
    booth.election.vouch(AFTER, KEY, booth.now, seconds=10)
    assert booth.after(0) == State(Role.FETCH)  # it is the other one that stops


def test_those_vouched_for_are_bounded() -> None:
    booth = Booth()
    for number in range(1000):
        booth.election.vouch(number.to_bytes(20), KEY, booth.now, seconds=10)
    booth.election.rely_on_proven(KEY, booth.now)
    for number in (0, 999):
        booth.hear(number.to_bytes(20), has=True)
    assert booth.after(0) == State(Role.TAKE, (bytes(20),))


def test_who_claims_what_and_since_when() -> None:
    booth = Booth()
    booth.hear(AFTER)
    booth.hear(BEFORE, able=True, fetching=True)
    began = booth.now
    booth.now += 1
    booth.hear(BEFORE, able=True, fetching=True, stage=3)
    claim = FetchClaim(BEFORE, "a", has=False, since=began)
    assert booth.election.claims(KEY, booth.now) == [claim]
    booth.election.shun(BEFORE, KEY, booth.now)
    assert booth.election.claims(KEY, booth.now) == []


def test_a_node_that_can_be_reached_has_room() -> None:
    """Where all places are taken by invented ones."""
    election = Election(ME, 0.0)
    election.want(KEY, 0.0, able=True)
    for number in range(MAX_NODES + 10):
        election.hear(Want(number.to_bytes(20), "a", 1, (Wish(KEY),)), 0.0)
    election.hear(Want(BEFORE, "b", 1, (Wish(KEY, has=True),)), 0.0)
    assert election.state(KEY, 0.0).role is Role.WAIT
    election.reach({BEFORE: frozenset({"b"})})
    election.hear(Want(BEFORE, "b", 1, (Wish(KEY, has=True),)), 0.0)
    assert election.state(KEY, 0.0) == State(Role.TAKE, (BEFORE,))
    assert len(election.wanting(KEY, 0.0)) <= MAX_NODES


def test_a_node_says_that_it_has_a_blob_as_long_as_another_wants_it() -> None:
    booth = Booth()
    booth.hear(AFTER, able=True)
    booth.election.have(KEY)
    assert booth.tick() == (Wish(KEY, able=True, has=True),)
    for _ in range(5):
        booth.hear(AFTER, able=True)
        assert booth.after(3.0) == State(Role.HAVE)
    booth.hear(AFTER, has=True)
    booth.now += LINGER_S - 0.01
    assert booth.tick() == ()
    booth.now += 0.02
    assert booth.tick() == (Wish(KEY, gone=True),)
    assert booth.tick() == ()


def test_what_is_dropped_is_taken_back_unless_it_was_never_said() -> None:
    booth = Booth()
    booth.election.want(b"x" * 20, booth.now, able=True)
    booth.election.drop(b"x" * 20)
    booth.election.drop(KEY)
    assert booth.tick() == (Wish(KEY, gone=True),)
    booth.election.want(KEY, booth.now, able=True)
    booth.election.drop(KEY)
    booth.election.want(KEY, booth.now, able=True)
    assert booth.tick() == (Wish(KEY, able=True),)


def test_the_crowd_is_who_else_wants_it_now() -> None:
    booth = Booth()
    booth.hear(AFTER, able=True, fetching=True)
    booth.hear(BEFORE)
    booth.hear(LAST, has=True)
    assert booth.election.count_wanting(KEY, booth.now) == 2
    assert booth.election.count_wanting(b"x" * 20, booth.now) == 0
    assert booth.election.count_wanting(KEY, booth.now + DEAD_S) == 0


def test_what_a_node_says_itself_is_not_news() -> None:
    booth = Booth()
    want = Want(ME, "a", 1, (Wish(KEY, fetching=True),))
    assert not booth.election.hear(want, booth.now)
    assert booth.after(COLLECT_S) == State(Role.FETCH)


def test_hearing_says_whether_it_matters() -> None:
    booth = Booth()
    other = Want(AFTER, "a", 1, (Wish(b"x" * 20),))
    assert not booth.election.hear(other, booth.now)
    assert not booth.election.hear(Announcement(AFTER, "a", 1), booth.now)
    assert booth.election.hear(Want(AFTER, "a", 1, (Wish(KEY),)), booth.now)


def test_a_fetcher_known_before_it_was_wanted_is_waited_for() -> None:
    election = Election(ME, 0.0)
    election.hear(Want(AFTER, "a", 1, (Wish(KEY, fetching=True),)), 10.0)
    assert election.state(KEY, 10.0) == State(Role.WAIT, (AFTER,))
    election.want(KEY, 10.5, able=True)
    election.tick(10.5)
    assert election.state(KEY, 10.5) == State(Role.WAIT, (AFTER,))


def test_each_blob_has_its_own_winner() -> None:
    keys = [bytes([n]) * 20 for n in range(200)]
    nodes = [bytes([n]) * 20 for n in range(1, 9)]
    won = [max(nodes, key=lambda node: score(node, key)) for key in keys]
    assert {won.count(node) > 10 for node in nodes} == {True}


def test_a_crowd_costs_bounded_memory() -> None:
    crowd = PeerTable()
    for number in range(2 * MAX_NODES):
        node = number.to_bytes(20, "big")
        for part in range(5):
            keys = [bytes([part, n]) * 10 for n in range(32)]
            crowd.hear(Want(node, "a", 1, tuple(map(Wish, keys))), 0.0)
    assert len(crowd) == TUNING.lan.heard_wishes
    assert len(crowd._nodes) == MAX_NODES
    talker = b"t" * 20
    crowd.hear(Announcement(talker, "a", 1), DEAD_S)
    for number in range(MAX_WISHES + 100):
        wish = Wish(number.to_bytes(20, "big"))
        crowd.hear(Want(talker, "a", 1, (wish,)), DEAD_S)
    assert crowd._counts == {talker: MAX_WISHES}
    crowd.forget(talker)
    assert len(crowd) == len(crowd._stands) == 0


@given(
    st.integers(0, 2**32),
    st.lists(st.integers(0, 20).map(lambda n: n * TICK), min_size=1, max_size=10),
)
def test_a_flash_crowd_has_one_fetcher(seed: int, births: list[float]) -> None:
    """All start within a second, on a LAN that takes 50 ms."""
    lan = Electorate(seed, delay=0.05)
    for name, birth in enumerate(sorted(births)):
        lan.run(birth - lan.now)
        lan.add(name)
    lan.run(4.0)
    assert len(lan.fetchers()) == 1
    assert sum(lan.overlap.values()) <= 0.2


Change = tuple[float, str, int]
changes: st.SearchStrategy[list[Change]] = st.lists(
    st.tuples(
        st.integers(0, 80).map(lambda n: n / 10),
        st.sampled_from(["crash", "join", "able", "unable", "resign", "part", "heal", "fetcher"]),
        st.integers(0, 255),
    ),
    max_size=12,
)


def disturb(lan: Electorate, kind: str, number: int) -> None:
    """One thing that can happen on a LAN; `number` chooses to whom."""
    nodes = sorted(lan.nodes)
    some = nodes[number % len(nodes)] if nodes else b""
    if kind == "join" or not nodes:
        limit = LIMITS[number % len(LIMITS)]
        lan.add(100 + len(lan.nodes) + number // 2, able=number % 4 != 0, limit=limit)
    elif kind == "crash":
        lan.crash(some)
    elif kind == "fetcher":
        for node in lan.fetchers(lan.side(some)):
            lan.crash(node.id)
    elif kind in {"able", "unable"}:
        node = lan.nodes[some]
        node.able = kind == "able"
        node.want(lan.now)
    elif kind == "resign":
        lan.nodes[some].election.resign(KEY, lan.now)
    elif kind == "part":
        lan.part({node: (number >> place) & 1 for place, node in enumerate(nodes)})
    else:
        lan.part({})


def check_sides(lan: Electorate, is_right: Callable[[int], bool]) -> None:
    for side in lan.sides():
        here = [node for node in lan.nodes.values() if lan.side(node.id) == side]
        if any(node.able for node in here):
            assert is_right(len(lan.fetchers(side))), (side, lan.now)
        else:
            assert not lan.fetchers(side)


@example(seed=568, count=6, delay=0.0, loss=0.0, rate=0, happens=[(1.2, "fetcher", 0)])
@given(
    seed=st.integers(0, 2**32),
    count=st.integers(1, 7),
    delay=st.sampled_from([0.0, 0.1, 0.3]),
    loss=st.sampled_from([0.0, 0.2, 0.5]),
    rate=st.sampled_from([0, 2**20, 2**25]),
    happens=changes,
)
def test_every_partition_comes_to_one_fetcher(
    *, seed: int, count: int, delay: float, loss: float, rate: int, happens: list[Change]
) -> None:
    lan = Electorate(seed, delay=delay, loss=loss, rate=rate)
    for name in range(count):
        limit = LIMITS[seed // (name + 1) % len(LIMITS)]
        lan.add(name, able=(seed >> name) & 3 != 0, limit=limit)
    slack = delay + 2 * TICK
    for pause, kind, number in happens:
        quiet = lan.now + BOUND + slack
        if kind == "resign":
            quiet += 5
        for _ in range(round(pause / TICK)):
            lan.step()
            if lan.now > quiet:
                check_sides(lan, lambda fetchers: fetchers >= 1)
        disturb(lan, kind, number)
    lan.run(BOUND + 5 + slack)
    for _ in range(round(4 / TICK)):
        lan.step()
        check_sides(lan, lambda fetchers: fetchers == 1)
    # Two hold until one hears of the other: of three datagrams, one a second, one arrives.
    each = 3.0 + slack if loss else 1.0 + slack
    for overlap in lan.overlap.values():
        assert overlap <= each * (count + len(happens))
