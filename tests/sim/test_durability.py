from random import Random

import pytest

from bench.sim.durability import TARGET, Churn, at_once, partial, sample, spread, survival, whole


@pytest.mark.parametrize("churn", [Churn(0.6), Churn(0.6, 30.0), Churn(0.9, 60.0)])
def test_the_formula_agrees_with_trying_it_out(churn: Churn) -> None:
    tried = sample(2, churn, Random(3), 5000)
    assert survival(2, churn) == pytest.approx(tried, abs=0.02)


def test_without_repair_it_is_the_chance_that_not_all_leave() -> None:
    assert survival(3, Churn(0.5)) == pytest.approx(1 - 0.5**3)


def test_more_holders_and_quicker_repair_are_never_worse() -> None:
    for churn in (Churn(0.3), Churn(0.3, 7.0)):
        chances = [survival(holders, churn) for holders in range(1, 9)]
        assert chances == sorted(chances)
    assert whole(Churn(0.6, 1.0)) <= whole(Churn(0.6, 30.0)) <= whole(Churn(0.6))


def test_the_number_is_the_smallest() -> None:
    for churn in (Churn(0.3), Churn(0.6, 7.0)):
        holders = whole(churn)
        assert survival(holders, churn) >= TARGET > survival(holders - 1, churn)


def test_parts_need_more_holders_than_whole_copies() -> None:
    churn = Churn(0.3)
    assert whole(churn) < spread(10, churn) < partial(0.1, 1000, churn)
    assert partial(0.1, 1000, churn) < partial(0.1, 1_000_000, churn)
    assert partial(1.0, 1, churn) == whole(churn)


def test_a_tenth_of_a_thousandth_of_chances_when_three_in_ten_leave_at_once() -> None:
    assert 0.3 ** at_once(0.3) <= 1 - TARGET < 0.3 ** (at_once(0.3) - 1)
