"""Work in the background: bounded, and over when it is done."""

import threading
from functools import partial

import pytest

from outlast.core.cancel import Cancel
from outlast.core.errors import Cancelled
from outlast.core.threads import DaemonPool, interruptible
from tests.cli.call import until


def test_no_more_at_once_than_allowed() -> None:
    pool = DaemonPool(2, "test")
    go, lock, seen = threading.Event(), threading.Lock(), [0, 0]

    def work(number: int) -> int:
        with lock:
            seen[0] += 1
            seen[1] = max(seen)
        go.wait()
        with lock:
            seen[0] -= 1
        return number

    futures = [pool.submit(work, number) for number in range(7)]
    until(lambda: seen[0] == 2, "two at once")
    go.set()
    assert [future.result() for future in futures] == list(range(7))
    assert seen[1] == 2


def test_a_failure_is_the_future_s_and_the_pool_goes_on() -> None:
    pool = DaemonPool(1, "test")
    assert isinstance(pool.submit(int, "x").exception(), ValueError)
    assert pool.submit(int, "3").result() == 3


def test_no_thread_stays() -> None:
    before = set(threading.enumerate())
    for number in range(20):
        assert interruptible(partial(int, number), Cancel()) == number
    until(lambda: set(threading.enumerate()) <= before, "the end of the threads")


def test_a_token_below_another_is_set_with_it_and_not_the_other_way_round() -> None:
    above = Cancel()
    below, other = Cancel(below=above), Cancel(below=above)
    below.set()
    assert (above.is_set, below.is_set, other.is_set) == (False, True, False)
    waiter = DaemonPool(1, "test").submit(other.wait, 3600.0)
    above.set()
    assert isinstance(waiter.exception(60.0), Cancelled)
    assert other.is_set
    for token in (above, below, other):
        with pytest.raises(Cancelled):
            token.check()
