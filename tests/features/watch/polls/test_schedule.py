"""Who is asked when: budgets hold, none starves, and a hub that flaps is told of once."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outlast.core.keep_list import Priority
from outlast.features.watch.polls.schedule import (
    DAY,
    TUNING,
    HubHealth,
    Load,
    back_off,
    budget,
    day_of,
    first_due,
    moment,
    next_due,
    period,
    stretch,
)

NOW = 1_900_000_000.0
loads = st.lists(
    st.builds(
        Load,
        models=st.integers(1, 5000),
        priority=st.sampled_from(Priority),
        pages=st.integers(1, 10),
    ),
    min_size=1,
    max_size=20,
)


@given(loads, st.sampled_from([3600.0, DAY, 7 * DAY]))
def test_a_day_of_requests_fits_the_budget(found: list[Load], every: float) -> None:
    allowed = budget(sum(load.models for load in found), None)
    factor = stretch(found, every, allowed)
    early = 1 - TUNING.jitter / 2
    daily = sum(
        load.requests * DAY / (period(load.priority, every, factor) * early) for load in found
    )
    assert daily <= allowed * 1.000001
    assert factor == 1 or daily == pytest.approx(allowed)


def test_few_models_are_seen_daily_and_many_in_turn() -> None:
    assert stretch([Load(1, Priority.NORMAL)] * 40, DAY, budget(40, None)) == 1
    alone = stretch([Load(1, Priority.NORMAL)] * 5000, DAY, budget(5000, None))
    listed = stretch([Load(5000, Priority.NORMAL, 5)], DAY, budget(5000, None))
    assert (round(alone, 1), round(listed, 2)) == (2.1, 1.05)
    assert budget(5000, 200) == 200


def test_one_list_is_asked_for_where_it_costs_less() -> None:
    assert not Load(1, Priority.NORMAL).by_list
    assert Load(2, Priority.NORMAL).by_list
    assert not Load(2, Priority.NORMAL, 3).by_list


@given(st.text(), st.floats(0, 4e9))
def test_jitter_is_early_and_small(name: str, now: float) -> None:
    assert now + 0.9 * DAY <= next_due(name, now, DAY) <= now + DAY
    assert now + 0.5 * DAY <= first_due(name, now, DAY) <= now + DAY


def test_what_fails_is_asked_less_and_less() -> None:
    waits = [back_off("x", failures) for failures in range(1, 60)]
    assert waits[0] <= TUNING.back_off
    assert waits[1] > waits[0]
    assert TUNING.longest_back_off * 0.9 <= waits[-1] <= TUNING.longest_back_off


def test_moments_are_utc() -> None:
    assert (moment(0), day_of(DAY)) == ("1970-01-01T00:00:00+00:00", "1970-01-02")


def course(answers: list[bool], step: float) -> list[str]:
    """What is told while a hub answers, or does not."""
    health, told = HubHealth(), []
    for number, good in enumerate(answers):
        before, now = health, NOW + number * step
        health = health.after_answer(now) if good else health.after_failure("hub", now)
        assert HubHealth.from_json(health.to_json()) == health
        if before.dark != health.dark:
            told.append("dark" if health.dark else "back")
    return told


def test_a_hub_that_goes_and_comes() -> None:
    assert course([True, False, False, False], 600) == ["dark"]
    assert course([False, *[True] * 6], 600) == ["dark", "back"]
    assert course([False, True, True], DAY) == ["dark", "back"]


def test_a_hub_that_flaps_is_told_of_once() -> None:
    assert course([False, True] * 100, 600) == ["dark"]
    assert course([False, True, False, True] * 100 + [True] * 7, 600) == ["dark", "back"]


def test_a_hub_that_flaps_slowly_is_told_of_less_and_less() -> None:
    told = course([False, True, True] * 200, 2400)
    assert told.count("dark") <= 4


def test_what_is_wrong_in_a_state_is_as_at_the_beginning() -> None:
    assert HubHealth.from_json({"dark": "yes", "until": None, "failures": 2}) == HubHealth(
        failures=2
    )
