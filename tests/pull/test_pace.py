"""The bandwidth cap, against a clock of our own; and that every byte of a pull goes through it."""

import threading

import pytest

from outlast.core.cancel import Cancel
from outlast.core.errors import Cancelled
from outlast.fetch import transfer as work
from outlast.swarm import ratelimit as pace
from outlast.swarm.ratelimit import Pace
from tests.hubsim import HubSim
from tests.pull.kit import TOTAL, Puller, check_pulled


class Clock(Cancel):
    """A clock that moves when somebody waits; it stands in for `time` and for the cancel token."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0
        self.waits: list[float] = []

    def monotonic(self) -> float:
        return self.now

    def wait(self, seconds: float) -> None:
        self.check()
        self.waits.append(seconds)
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(pace, "time", clock)
    return clock


@pytest.mark.parametrize("chunk", [1, 1000, 4096, 65_536])
def test_the_rate_holds_over_any_time(clock: Clock, chunk: int) -> None:
    rate, began = 10_000, clock.now
    cap = Pace(rate)
    for _ in range(100_000 // chunk or 3):
        cap.take(chunk, clock)
    moved = (100_000 // chunk or 3) * chunk
    spent = clock.now - began
    assert moved <= rate * (spent + 1) + 1  # a second's worth may come at once
    assert moved >= rate * spent - 1


def test_no_wait_below_the_rate(clock: Clock) -> None:
    cap = Pace(1000)
    for _ in range(50):
        cap.take(100, clock)
        clock.now += 0.1
    assert clock.waits == []


def test_a_pause_saves_up_one_second_and_no_more(clock: Clock) -> None:
    cap = Pace(1000)
    cap.take(1000, clock)
    clock.now += 3600
    cap.take(1000, clock)
    assert clock.waits == []
    cap.take(500, clock)
    assert clock.waits == [pytest.approx(0.5)]


def test_a_cap_can_be_left_at_once(clock: Clock) -> None:
    cap = Pace(1)
    clock.set()
    with pytest.raises(Cancelled):
        cap.take(1_000_000, clock)


def test_threads_share_one_cap(clock: Clock) -> None:
    cap = Pace(1 << 20)

    def move() -> None:
        for _ in range(64):
            cap.take(1 << 16, clock)

    threads = [threading.Thread(target=move) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # 16 MiB at 1 MiB/s, the first of them at once.
    assert clock.now - 1000.0 >= 15 - 0.1


def test_every_byte_of_a_pull_is_counted(
    hub: HubSim, pull: Puller, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[tuple[int, int]] = []

    class Counted(Pace):
        def take(self, count: int, cancel: Cancel) -> None:
            del cancel
            taken.append((self._rate, count))

    monkeypatch.setattr(work, "Pace", Counted)
    pull("org/name", hub.url, include=["config.json"])
    assert taken == []
    pull.rate = 5_000_000
    pull("org/name", hub.url)
    check_pulled(pull.home)
    first = len(b'{"hidden_size": 64}')
    assert {rate for rate, _ in taken} == {5_000_000}
    assert sum(count for _, count in taken) == TOTAL - first
    assert max(count for _, count in taken) <= 1 << 18
