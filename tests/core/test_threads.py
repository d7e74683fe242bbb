"""Work in the background: bounded, and over when it is done."""

import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from outlast.core.cancel import Cancel
from outlast.core.errors import Cancelled
from outlast.core.threads import DaemonPool, interruptible, one_ahead
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


def test_the_next_is_read_while_the_last_is_used() -> None:
    second = threading.Event()
    turns: list[int] = []

    def read(job: int, turn: int) -> int:
        turns.append(turn)
        if job == 1:
            second.set()
        return 10 * job

    with ThreadPoolExecutor(1) as executor:
        found = one_ahead(read, range(5), executor)
        assert next(found) == 0
        assert second.wait(60)
        assert [*found] == [10, 20, 30, 40]
        assert turns == [0, 1, 0, 1, 0]
        assert [*one_ahead(read, [], executor)] == []


def test_an_error_comes_where_its_result_would() -> None:
    def read(job: int, _turn: int) -> int:
        return 10 // job

    with ThreadPoolExecutor(1) as executor:
        found = one_ahead(read, [5, 2, 0, 1], executor)
        assert [next(found), next(found)] == [2, 5]
        with pytest.raises(ZeroDivisionError):
            next(found)


def test_who_stops_early_waits_for_what_is_under_way() -> None:
    begun, go, over = threading.Event(), threading.Event(), threading.Event()

    def read(job: int, _turn: int) -> int:
        if job:
            begun.set()
            go.wait(60)
            over.set()
        return job

    with ThreadPoolExecutor(1) as executor:
        found = one_ahead(read, range(3), executor)
        next(found)
        assert begun.wait(60)
        threading.Timer(0.05, go.set).start()
        found.close()
        assert over.is_set()
