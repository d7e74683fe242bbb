"""Rates by the clock: compared with a plain walk over every minute of a week."""

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outlast.swarm.schedule import DAY, Rates, Window, rates_at

MONDAY = datetime(2024, 1, 1)  # noqa: DTZ001 - wall time, as a schedule is written in
BASE = Rates(100, 200, 300, 400)
WORKDAYS = frozenset(range(5))

rate = st.sampled_from([0, 1, 2])
windows = st.builds(
    Window,
    st.frozensets(st.integers(0, 6)),
    st.integers(0, DAY - 1),
    st.integers(0, DAY),
    rate,
    rate,
)
schedules = st.lists(windows, max_size=4)
moments = st.integers(0, 7 * DAY * 60 - 1).map(lambda s: MONDAY + timedelta(seconds=s))


def at(day: int, hour: int, minute: int = 0) -> datetime:
    return MONDAY + timedelta(days=day, hours=hour, minutes=minute)


def test_office_hours() -> None:
    office = [Window(WORKDAYS, 8 * 60, 18 * 60, 1, 2)]
    assert rates_at(BASE, office, at(0, 7, 59)) == BASE
    assert rates_at(BASE, office, at(0, 8)) == Rates(1, 2, 300, 400)
    assert rates_at(BASE, office, at(4, 17, 59)) == Rates(1, 2, 300, 400)
    assert rates_at(BASE, office, at(4, 18)) == BASE
    assert rates_at(BASE, office, at(5, 12)) == BASE


def test_a_window_past_midnight_belongs_to_the_day_that_it_begins_on() -> None:
    night = [Window(frozenset({6}), 22 * 60, 6 * 60, 1, 1)]
    assert rates_at(BASE, night, at(0, 5, 59)) == Rates(1, 1, 300, 400)
    assert rates_at(BASE, night, at(0, 6)) == BASE
    assert rates_at(BASE, night, at(6, 5)) == BASE
    assert rates_at(BASE, night, at(6, 22)) == Rates(1, 1, 300, 400)


def test_equal_ends_are_a_whole_day() -> None:
    day = [Window(frozenset({2}), 600, 600, 1, 1)]
    assert rates_at(BASE, day, at(2, 9, 59)) == BASE
    assert rates_at(BASE, day, at(2, 10)) != BASE
    assert rates_at(BASE, day, at(3, 9, 59)) != BASE
    assert rates_at(BASE, day, at(3, 10)) == BASE


def test_the_first_of_two_windows_wins() -> None:
    both = [Window(WORKDAYS, 0, DAY, 1, 1), Window(WORKDAYS, 0, DAY, 2, 2)]
    assert rates_at(BASE, both, at(1, 1)).up == 1


@pytest.mark.parametrize(
    ("days", "start", "end", "up", "down"),
    [({7}, 0, 1, 0, 0), ({0}, DAY, 1, 0, 0), ({0}, 0, DAY + 1, 0, 0), ({0}, 0, 1, -1, 0)],
)
def test_numbers_out_of_range(days: set[int], start: int, end: int, up: int, down: int) -> None:
    with pytest.raises(ValueError, match=r"days|minutes|rate"):
        Window(frozenset(days), start, end, up, down)


@given(schedules, moments)
def test_a_week_later_the_same_holds(schedule: list[Window], moment: datetime) -> None:
    later = moment + timedelta(days=7)
    assert rates_at(BASE, schedule, later) == rates_at(BASE, schedule, moment)


@given(windows, moments)
def test_a_window_is_open_for_its_length_after_each_begin(window: Window, moment: datetime) -> None:
    minute = moment.hour * 60 + moment.minute
    begins = (moment.weekday(), (moment.weekday() - 1) % 7)
    length = (
        (window.end - window.start)
        if window.end > window.start
        else (DAY - window.start + window.end)
    )
    since = (minute - window.start, minute - window.start + DAY)
    expected = any(
        day in window.days and 0 <= passed < length
        for day, passed in zip(begins, since, strict=True)
    )
    assert window.covers(moment.weekday(), minute) is expected
