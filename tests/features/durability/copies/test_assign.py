"""Who is to hold a copy: the same on all nodes, with no move without need."""

from random import Random

import pytest

from outlast.core.digest import Digest
from outlast.core.keep_list import Goal
from outlast.features.durability.copies.assign import Assignment, Member, WantedCopies, assign
from outlast.sources.peer_documents import HeldAs

TB = 10**12
SITES = ("lan", "site-b", "s3")


def members(count: int, *, free: int = TB) -> list[Member]:
    return [Member(f"{n:016x}", SITES[n % 3], free) for n in range(count)]


def wanted(name: str, goal: Goal, *holders: Member, size: int = 10**9) -> WantedCopies:
    held = {one.holder: HeldAs.COPY for one in holders}
    return WantedCopies(Digest.of(name.encode()), size, goal, held)


def one(found: list[Assignment]) -> Assignment:
    [assignment] = found
    return assignment


def test_all_nodes_that_know_the_same_decide_the_same() -> None:
    nodes = members(9)
    goals = [wanted(f"m{n}", Goal(3), nodes[n % 9]) for n in range(40)]
    first = {a.wanted.manifest: a.chosen for a in assign(goals, nodes)}
    for seed in range(5):
        Random(seed).shuffle(nodes)
        Random(seed).shuffle(goals)
        assert {a.wanted.manifest: a.chosen for a in assign(goals, nodes)} == first


def test_holders_stay_when_others_come() -> None:
    nodes = members(4)
    before = one(assign([wanted("m", Goal(3), *nodes[:3])], nodes))
    after = one(assign([wanted("m", Goal(3), *nodes[:3])], members(30)))
    assert (before.missing, after.missing) == ((), ())
    assert {*before.chosen} == {*after.chosen} == {node.holder for node in nodes[:3]}


def test_each_site_gets_a_copy_and_none_elsewhere_counts() -> None:
    nodes = members(6)
    at_lan = [node for node in nodes if node.site == "lan"]
    elsewhere = Member("f" * 16, "attic", TB)
    goal = wanted("m", Goal(3, ("lan", "site-b")), *at_lan, elsewhere)
    found = one(assign([goal], [*nodes, elsewhere]))
    assert (len(found.counted), found.sites, found.met) == (2, ("site-b",), False)
    sites = {node.holder: node.site for node in nodes}
    assert sorted(sites[holder] for holder in found.chosen) == ["lan", "lan", "site-b"]


def test_a_site_that_has_no_node_any_more_leaves_the_others_as_many_copies() -> None:
    left = [Member(f"{n:016x}", "site-b", TB) for n in range(4)]
    found = one(assign([wanted("m", Goal(3, ("lan", "site-b")), left[0])], left))
    assert (len(found.chosen), len(found.missing)) == (3, 2)
    assert found.sites == ("lan",)
    back = [*left, Member("f" * 16, "lan", TB)]
    goal = wanted("m", Goal(3, ("lan", "site-b")), *left[:3])
    found = one(assign([goal], back))
    assert (found.missing, len(found.surplus)) == (("f" * 16,), 1)


def test_space_is_not_promised_twice() -> None:
    nodes = [Member("a" * 16, "lan", 15), Member("b" * 16, "lan", 0)]
    goals = [wanted(f"m{n}", Goal(2), nodes[1], size=10) for n in range(3)]
    assert sum(len(found.missing) for found in assign(goals, nodes)) == 1


def test_larger_nodes_get_more() -> None:
    nodes = [Member("a" * 16, "lan", 4 * TB), *(Member(c * 16, "lan", TB) for c in "bcd")]
    goals = [wanted(f"m{n}", Goal(1), size=0) for n in range(700)]
    shares = [sum(node.holder in a.chosen for a in assign(goals, nodes)) for node in nodes]
    assert 330 < shares[0] < 470  # 4 of 7 parts: 400
    assert all(60 < share < 140 for share in shares[1:])


def test_what_failed_a_challenge_is_made_anew_elsewhere() -> None:
    nodes = members(3)
    goal = WantedCopies(
        Digest.of(b"m"),
        1,
        Goal(2),
        {nodes[0].holder: HeldAs.OWN},
        frozenset({nodes[1].holder}),
    )
    assert one(assign([goal], nodes)).missing == (nodes[2].holder,)


@pytest.mark.parametrize("seed", range(20))
def test_absent_nodes_are_given_nothing_but_what_they_hold_counts(seed: int) -> None:
    random = Random(seed)
    nodes = [
        Member(f"{n:016x}", random.choice(SITES), TB, absent=random.random() < 0.3)
        for n in range(8)
    ]
    goal = wanted("m", Goal(random.randrange(1, 6)), *random.sample(nodes, 3))
    found = one(assign([goal], nodes))
    absent = {node.holder for node in nodes if node.absent}
    assert not absent & {*found.missing}
    assert len(found.counted) == 3
    assert {*found.surplus} == {*found.counted} - {*found.chosen}
    assert len(found.chosen) <= goal.goal.copies


def test_of_too_many_copies_those_made_by_hand_stay() -> None:
    nodes = members(3)
    held = {nodes[0].holder: HeldAs.COPY, nodes[1].holder: HeldAs.OWN, nodes[2].holder: HeldAs.OWN}
    found = one(assign([WantedCopies(Digest.of(b"m"), 1, Goal(2), held)], nodes))
    assert (found.met, found.surplus) == (True, (nodes[0].holder,))
