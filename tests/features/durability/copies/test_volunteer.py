"""What volunteers take and drop; and a year of them."""

import os
from random import Random

import pytest

from bench.sim.volunteers import World, Year
from outlast.features.durability.copies.tuning import TUNING
from outlast.features.durability.copies.volunteer import NOTHING, Known, Model, decide, keepers


def model(name: str, copies: int, size: int = 10) -> Model:
    return Model(name, size, copies)


def test_the_rarest_is_taken_most_often_and_not_always() -> None:
    offers = [model("rare", 1), model("other", 2)]
    known = Known(offers, (), (), 100, contenders=1)
    taken = [decide(known, Random(seed)).take for seed in range(300)]
    rare = sum(one == offers[0] for one in taken)
    assert 180 < rare < 290  # 4 of 5


def test_nothing_that_is_held_or_common_is_taken() -> None:
    offers = [model("mine", 1), model("common", TUNING.enough)]
    known = Known(offers, {"mine"}, (), 100, contenders=1)
    assert all(decide(known, Random(seed)) == NOTHING for seed in range(50))


def test_of_many_contenders_about_as_many_take_it_as_copies_are_lacking() -> None:
    known = Known([model("m", 2)], (), (), 100, contenders=10_000)
    takers = sum(decide(known, Random(seed)).take is not None for seed in range(10_000))
    assert 0 < takers < 20  # one is lacking; few of the contenders have room


def test_what_is_common_makes_room_for_what_is_rare() -> None:
    spare = [model("a", 4, 6), model("b", 5, 6), model("c", 3, 60)]
    known = Known([model("rare", 1)], {"a", "b", "c"}, spare, 0, contenders=1)
    choice = decide(known, Random(1))
    assert choice.take == model("rare", 1)
    assert choice.drop == (spare[1], spare[0])


@pytest.mark.parametrize(("copies", "size"), [(2, 10), (3, 9)])
def test_nothing_is_dropped_that_is_rare_or_makes_too_little_room(copies: int, size: int) -> None:
    known = Known([model("rare", 1)], {"a"}, [model("a", copies, size)], 0, contenders=1)
    assert all(decide(known, Random(seed)) == NOTHING for seed in range(50))


def test_of_known_holders_all_agree_who_keeps_it() -> None:
    holders = [f"{n:016x}" for n in range(6)]
    kept = keepers("m", holders)
    assert len(kept) == TUNING.spare - 1
    assert keepers("m", holders[::-1]) == kept
    assert len({keepers(f"m{n}", holders) for n in range(50)}) > 5


def survives(year: Year, seed: int) -> None:
    outcome = World(year, seed).run()
    assert outcome.stayed < year.volunteers * (1 - year.leave) * 1.1
    assert outcome.left >= 0.999 * year.models, outcome
    assert outcome.stored <= 3.3, outcome


def test_a_year_of_volunteers() -> None:
    survives(Year(volunteers=300, models=60, hub=10), 7)


@pytest.mark.torture
@pytest.mark.skipif(not os.environ.get("OUTLAST_TORTURE"), reason="takes minutes: make torture")
def test_a_year_of_ten_thousand_volunteers() -> None:
    survives(Year(), int(os.environ.get("OUTLAST_SEED", "1")))
