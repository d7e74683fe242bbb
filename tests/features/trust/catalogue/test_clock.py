"""A clock that is wrong neither makes a catalogue useless nor lets what is stale pass."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from outlast.features.trust.catalogue.clock import (
    KnownTime,
    judge,
    read_time,
    seen_after,
    write_time,
)
from outlast.features.trust.catalogue.using.opened import OpenCatalogues
from tests.features.trust.catalogue.shelf import DAY, NOW, Shelf, entry, sync_it

SLACK = DAY.total_seconds()
YEARS = 3653 * DAY


def state(home: Path, now: datetime) -> str:
    (opened,) = OpenCatalogues(home, clock=lambda: now).each()
    assert [one.entry for one in opened.all()]  # it can be used, whatever the clock says
    return opened.freshness.text


@pytest.mark.parametrize(
    ("off", "text"),
    [
        (0 * DAY, "current"),
        (13 * DAY, "current"),
        (14 * DAY, "stale since 2031-05-15"),
        (YEARS, "stale since 2031-05-15"),
        (-2 * DAY, "stale since 2031-05-01"),
        (-YEARS, "clock says 2021-04-30: it is wrong"),
    ],
)
def test_offline(followed: Path, off: timedelta, text: str) -> None:
    assert text in state(followed, NOW + off)


@pytest.mark.parametrize("off", [YEARS, -YEARS])
def test_a_wrong_clock_takes_what_is_new_and_calls_it_stale(
    followed: Path, shelf: Shelf, off: timedelta
) -> None:
    shelf.publish(entry("a/c"))
    shelf.now = NOW + off
    done = sync_it(followed, shelf)
    assert done.entries == 2
    assert not done.freshness.is_current
    shelf.now = NOW  # the clock is set right: nothing is left of it
    assert sync_it(followed, shelf).freshness.is_current
    assert state(followed, NOW) == "current"


def test_a_clock_that_is_set_back_after_a_sync(followed: Path, shelf: Shelf) -> None:
    """It would make what was signed then current for ever."""
    shelf.now = NOW + 10 * DAY
    sync_it(followed, shelf)
    assert "it is wrong" in state(followed, NOW + 2 * DAY)


def test_a_clock_that_ran_ahead_for_a_week_spoils_nothing(followed: Path, shelf: Shelf) -> None:
    shelf.now = NOW + 7 * DAY
    sync_it(followed, shelf)
    shelf.now = NOW + DAY
    shelf.publish()
    assert sync_it(followed, shelf).freshness.is_current


def test_times_are_read_as_they_are_written() -> None:
    assert read_time(write_time(NOW)) == NOW
    for wrong in (None, 7, "", "2031-05-01", "2031-13-01T00:00:00Z", "2031-05-01T12:00:00+02:00"):
        assert read_time(wrong) is None


def test_what_is_never_noted() -> None:
    known = KnownTime(NOW, None)
    late = datetime(9999, 1, 1, tzinfo=UTC)
    assert seen_after(known, NOW + DAY, late, newer=True, slack=SLACK) is None
    assert seen_after(known, NOW + DAY, NOW - 2 * DAY, newer=True, slack=SLACK) is None
    assert not judge(NOW, NOW, KnownTime(), SLACK).is_current
