"""The token bucket, against a clock of our own."""

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outlast.core.cancel import Cancel
from outlast.core.errors import Cancelled
from outlast.core.ratelimit import TokenBucket


class Clock(Cancel):
    """A clock that moves when something waits; it is the cancel token too."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0
        self.waits: list[float] = []

    def __call__(self) -> float:
        return self.now

    def wait(self, seconds: float) -> None:
        self.check()
        self.waits.append(seconds)
        self.now += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.mark.parametrize("chunk", [1, 1000, 4096, 65_536])
def test_the_rate_holds_over_any_time(clock: Clock, chunk: int) -> None:
    rate, began = 10_000, clock.now
    bucket = TokenBucket(rate, clock=clock)
    for _ in range(100_000 // chunk or 3):
        bucket.take(chunk, clock)
    moved = (100_000 // chunk or 3) * chunk
    spent = clock.now - began
    assert moved <= rate * (spent + 1) + 1  # a second's worth may come at once
    assert moved >= rate * spent - 1


def test_no_wait_below_the_rate(clock: Clock) -> None:
    bucket = TokenBucket(1000, clock=clock)
    for _ in range(50):
        bucket.take(100, clock)
        clock.now += 0.1
    assert clock.waits == []


def test_a_pause_saves_up_one_burst_and_no_more(clock: Clock) -> None:
    bucket = TokenBucket(1000, clock=clock)
    bucket.take(1000, clock)
    clock.now += 3600
    bucket.take(1000, clock)
    assert clock.waits == []
    bucket.take(500, clock)
    assert clock.waits == [pytest.approx(0.5)]


def test_waiting_ends_with_the_cancel_token(clock: Clock) -> None:
    bucket = TokenBucket(1, clock=clock)
    clock.set()
    with pytest.raises(Cancelled):
        bucket.take(1_000_000, clock)


def test_threads_share_one_bucket(clock: Clock) -> None:
    bucket = TokenBucket(1 << 20, clock=clock)

    def move() -> None:
        for _ in range(64):
            bucket.take(1 << 16, clock)

    threads = [threading.Thread(target=move) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # 16 MiB at 1 MiB/s, the first of them at once.
    assert clock.now - 1000.0 >= 15 - 0.1


def test_a_bucket_that_is_not_full_has_to_earn_its_burst(clock: Clock) -> None:
    bucket = TokenBucket(100, burst=2.0, full=False, clock=clock)
    assert not bucket.try_take()
    clock.now += 60
    assert sum(bucket.try_take() for _ in range(1000)) == 200


def test_what_is_refused_costs_nothing(clock: Clock) -> None:
    bucket = TokenBucket(10, clock=clock)
    assert not bucket.try_take(11)
    assert bucket.try_take(10)
    assert not bucket.try_take(1)


def test_debts_are_paid_in_order(clock: Clock) -> None:
    bucket = TokenBucket(100, full=False, clock=clock)
    assert [bucket.spend(50) for _ in range(3)] == pytest.approx([0.5, 1.0, 1.5])
    clock.now += 1.0
    assert bucket.spend(50) == pytest.approx(1.0)
    assert not bucket.try_take()


def test_a_new_rate_cuts_what_was_saved(clock: Clock) -> None:
    bucket = TokenBucket(1000, clock=clock)
    bucket.rate = 10
    assert bucket.rate == 10
    assert bucket.spend(20) == pytest.approx(1.0)


@given(st.lists(st.tuples(st.floats(-5, 5), st.integers(0, 300)), max_size=50))
def test_never_more_than_a_burst_and_what_was_earned(steps: list[tuple[float, int]]) -> None:
    clock = Clock()
    bucket = TokenBucket(100, clock=clock)
    granted, earned = 0, 0.0
    for passed, count in steps:
        clock.now += passed
        earned += 100 * max(0.0, passed)
        granted += count if bucket.try_take(count) else 0
        assert granted <= 100 + earned + 1e-6
