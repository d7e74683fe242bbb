"""How many requests at once: learned from a simulated server, on a simulated clock."""

import heapq
import itertools
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from random import Random

import pytest

from outlast.core.errors import AccessDeniedError, OutlastError, UnreachableError
from outlast.fetch.concurrency import Concurrency, Request, RequestWindow, concurrency_of
from outlast.fetch.tuning import TUNING
from outlast.sources.hub import HubSource
from tests.serve.peers import client

LATENCY = 0.05
"""Seconds from a request to its first byte, or to its refusal."""
SERVICE = 0.4
"""Seconds from the first byte of a chunk to its last."""
CONNECTIONS = 8
FILE_CONNECTIONS = 4
"""A download hands out so many chunks at once."""
UNLIMITED = 10**6

Limit = Callable[[float, int], int]
"""How many requests a server takes at once, at a time, after so many answers."""


def over_limit() -> OutlastError:
    return UnreachableError("is rate-limiting (HTTP 429)", may_be_limit=True)


def refusal() -> OutlastError:
    return AccessDeniedError("refuses access", may_be_limit=True)


@dataclass(slots=True)
class World:
    """A server that takes `limit` requests for one file at once, or for all with `overall`, and a
    client that wants so many `chunks` of each file. Files in `broken` are always refused.
    """

    chunks: dict[str, int]
    limit: Limit = lambda _now, _answers: UNLIMITED
    overall: bool = False
    broken: frozenset[str] = frozenset()
    connections: int = CONNECTIONS
    now: float = 0.0
    answers: int = 0
    served: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    verdicts: list[str] = field(default_factory=list)
    most: int = 0
    varies: Callable[[], float] = lambda: 1.0
    """What each time is multiplied by."""
    _serial: "itertools.count[int]" = field(default_factory=itertools.count)

    _left: dict[str, int] = field(default_factory=dict)
    _asked: Counter[str] = field(default_factory=Counter)
    _events: list[tuple[float, int, str, Request]] = field(default_factory=list)

    def run(self, concurrency: Concurrency | None = None) -> float:
        """Seconds until everything came or was refused for good."""
        learned = concurrency or Concurrency(clock=lambda: self.now)
        self._left = dict(self.chunks)
        while any(self._left.values()) or self._asked.total():
            for key in self._left:
                self._ask(learned, key)
            if not self._events:  # as a connection that looks again after a pause
                self.now += TUNING.idle
                continue
            self.now, _, what, request = heapq.heappop(self._events)
            if what == "arrive":
                self._arrive(learned, request)
            else:
                self.served[request.key] -= 1
                self._asked[request.key] -= 1
                learned.end(request)
        return self.now

    def _later(self, seconds: float, what: str, request: Request) -> None:
        then = self.now + seconds * self.varies()
        heapq.heappush(self._events, (then, next(self._serial), what, request))

    def _ask(self, learned: Concurrency, key: str) -> None:
        while self._left[key] > 0 and self._asked[key] < FILE_CONNECTIONS:
            if self._asked.total() >= self.connections:
                return
            request = learned.send(key)
            if request is None:
                return
            self._left[key] -= 1
            self._asked[key] += 1
            self._later(LATENCY, "arrive", request)

    def _arrive(self, learned: Concurrency, request: Request) -> None:
        key = request.key
        counted = self.served.total() if self.overall else self.served[key]
        if key in self.broken:
            self._refuse(learned, request, refusal())
        elif counted >= self.limit(self.now, self.answers):
            self._refuse(learned, request, over_limit())
        else:
            self.served[key] += 1
            self.most = max(self.most, self.served.total())
            self.answers += 1
            learned.answer(request)
            self._later(SERVICE, "end", request)

    def _refuse(self, learned: Concurrency, request: Request, error: OutlastError) -> None:
        key = request.key
        self.refused[key] += 1
        self._asked[key] -= 1
        self._left[key] += 1
        if not learned.end(request, error):
            self.verdicts.append(key)
            self._left[key] = 0


def fixed(chunks: int, at_once: int) -> float:
    """Seconds with so many connections that are never refused."""
    return -(-chunks // at_once) * (LATENCY + SERVICE)


@pytest.mark.parametrize("k", [1, 2, 3, 4, UNLIMITED])
@pytest.mark.parametrize("chunks", [40, 400])
def test_an_unknown_limit_of_one_file(k: int, chunks: int) -> None:
    """Three refusals at most, and as quick as if it had been known."""
    world = World({"a": chunks}, lambda _now, _answers: k)
    seconds = world.run()
    assert seconds <= 1.15 * fixed(chunks, min(k, FILE_CONNECTIONS))
    assert world.refused["a"] <= 3
    assert world.verdicts == []


@pytest.mark.parametrize(("before", "after"), [(4, 1), (UNLIMITED, 1), (UNLIMITED, 2), (4, 2)])
def test_a_limit_that_falls(before: int, after: int) -> None:
    world = World({"a": 200}, lambda _now, answers: before if answers < 100 else after)
    world.run()
    assert world.refused["a"] <= 3
    assert world.verdicts == []


@pytest.mark.parametrize(("before", "after"), [(2, 1), (3, 1), (4, 1), (4, 2)])
def test_it_falls_while_answers_take_their_time(before: int, after: int) -> None:
    """Whenever it falls, also while one more than ever is tried."""
    many = 0
    for seed in range(300):
        random = Random(seed)
        fall = random.randrange(1, 40)
        world = World(
            {"a": 60},
            lambda _now, answers, fall=fall: before if answers < fall else after,  # type: ignore[misc]
            varies=lambda random=random: random.uniform(0.3, 3),  # type: ignore[misc]
        )
        world.run()
        assert world.verdicts == []
        many += world.refused["a"] > 3
    assert many <= 1  # it falls just when one more is refused


def test_a_limit_that_rises_is_found() -> None:
    world = World({"a": 200}, lambda _now, answers: 1 if answers < 5 else 4)
    seconds = world.run()
    assert seconds <= 1.15 * (fixed(16, 1) + fixed(184, 4))
    assert world.refused["a"] <= 3


@pytest.mark.parametrize("k", [1, 2, 4])
def test_what_one_file_taught_holds_for_the_next(k: int) -> None:
    now = 0.0
    learned = Concurrency(clock=lambda: now)
    refused = []
    for key in "abcde":
        world = World({key: 6}, lambda _now, _answers: k, now=now)
        learned._clock = lambda world=world: world.now  # type: ignore[misc]
        now = world.run(learned) + 1
        refused.append(world.refused[key])
    assert refused[0] <= 1
    assert refused[1:] == [0, 0, 0, 0]


@pytest.mark.parametrize("k", [1, 2, 4, UNLIMITED])
def test_a_limit_over_all_files(k: int) -> None:
    files = dict.fromkeys("abc", 30)
    world = World(files, lambda _now, _answers: k, overall=True)
    seconds = world.run()
    assert max(world.refused.values(), default=0) <= 3
    assert world.verdicts == []
    assert seconds <= 1.15 * fixed(90, min(k, CONNECTIONS)) + 2 * (LATENCY + SERVICE)


def test_without_a_limit_all_connections_are_used() -> None:
    world = World(dict.fromkeys("abc", 60))
    world.run()
    assert (world.most, world.refused.total()) == (CONNECTIONS, 0)


@pytest.mark.parametrize("most", [1, 2, 5])
def test_never_more_than_were_allowed(most: int) -> None:
    world = World(dict.fromkeys("abc", 20), connections=most)
    world.run()
    assert world.most == most


@pytest.mark.parametrize("broken", ["a", "b", "c"])
def test_one_file_that_always_fails(broken: str) -> None:
    """It has its answer after a request of its own, and the others lose little time."""
    files = dict.fromkeys("abc", 60)
    world = World(files, broken=frozenset(broken))
    seconds = world.run()
    assert world.verdicts == [broken]
    assert world.refused[broken] <= 3
    without = World({key: 60 for key in files if key != broken}).run()
    assert seconds <= without + 2 * (LATENCY + SERVICE) + TUNING.settle + 2 * TUNING.idle


def test_the_first_request_that_is_refused_alone_has_its_answer() -> None:
    now = 0.0
    learned = Concurrency(clock=lambda: now)
    request = learned.send("a")
    assert request is not None
    assert learned.send("b") is None  # before an answer, one at a time
    assert not learned.end(request, refusal())


def test_a_refusal_beside_a_request_that_is_not_answered_yet() -> None:
    """It counts from the moment of sending, whichever of the two was sent first."""
    now = 0.0
    learned = Concurrency(clock=lambda: now)
    served = []
    for _ in range(2):
        request = learned.send("a")
        assert request is not None
        learned.answer(request)
        served.append(request)
    for request in served:
        learned.end(request)
    now = 10.0
    older, newer = learned.send("a"), learned.send("a")
    assert older is not None
    assert newer is not None
    assert learned.end(older, refusal())


def test_a_refusal_just_after_another_request_ended() -> None:
    """The server may still count that one."""
    now = 0.0
    learned = Concurrency(clock=lambda: now)
    first = learned.send("a")
    assert first is not None
    learned.answer(first)
    learned.end(first)
    second = learned.send("a")
    assert second is not None
    assert learned.end(second, refusal())
    assert learned.send("a") is None
    now = TUNING.settle
    third = learned.send("a")
    assert third is not None
    assert third.solo
    assert not learned.end(third, refusal())


def test_a_file_that_is_not_wanted_any_more() -> None:
    now = 0.0
    learned = Concurrency(clock=lambda: now)
    served = []
    for key in "ac":
        request = learned.send(key)
        assert request is not None
        learned.answer(request)
        served.append(request)
    beside_two = learned.send("b")
    assert beside_two is not None
    assert learned.end(beside_two, refusal())
    learned.end(served[0])
    beside_one = learned.send("b")
    assert beside_one is not None
    assert learned.end(beside_one, refusal())
    assert learned.solo == "b"
    assert learned.send("a") is None
    learned.end(served[1])
    assert learned.send("a") is None
    now = 2 * TUNING.solo_patience
    assert learned.send("a") is not None
    assert learned.solo is None


def test_requests_that_are_refused_together_count_once() -> None:
    window = RequestWindow(TUNING, size=5, proven=4)
    window.refuse(4, sent=1.0, now=2.0)
    assert window.size == 4
    window.refuse(3, sent=1.5, now=2.1)
    assert (window.size, window.refusals) == (4, 1)
    window.refuse(3, sent=2.5, now=3.0)
    assert (window.size, window.refusals) == (1, 2)


def test_only_so_many_requests_for_a_file_wait_for_their_answer() -> None:
    """If the limit has fallen meanwhile, so many are refused."""
    now = 0.0
    learned = Concurrency(clock=lambda: now)
    for _ in range(6):
        request = learned.send("a")
        assert request is not None
        learned.answer(request)
    for request in tuple(learned._live):
        learned.end(request)
    sent = [learned.send("a") for _ in range(6)]
    assert sum(one is not None for one in sent) == TUNING.unanswered


def test_what_is_no_limit_is_never_taken_for_one() -> None:
    now = 0.0
    learned = Concurrency(clock=lambda: now)
    first = learned.send("a")
    assert first is not None
    learned.answer(first)
    second = learned.send("a")
    assert second is not None
    assert not learned.end(second, UnreachableError("failed (HTTP 500)"))


def test_the_windows_of_many_files_are_forgotten() -> None:
    now = 0.0
    learned = Concurrency(replace(TUNING, remembered_files=10), clock=lambda: now)
    for number in range(100):
        request = learned.send(str(number))
        assert request is not None
        learned.answer(request)
        learned.end(request)
    assert len(learned._files) == 10


def test_those_who_wait_hear_of_it() -> None:
    now = 0.0
    learned = Concurrency(clock=lambda: now)
    heard: list[int] = []
    with learned.heard_by(lambda: heard.append(learned.under_way)):
        request = learned.send("a")
        assert request is not None
        learned.answer(request)
        learned.end(request)
        learned.end(request)
    assert heard == [1, 0]
    learned.end(request)
    assert heard == [1, 0]


def test_it_is_remembered_as_long_as_the_source() -> None:
    sources: Sequence[HubSource] = [HubSource(client(), "http://hub") for _ in range(2)]
    first, second = map(concurrency_of, sources)
    assert first is concurrency_of(sources[0])
    assert first is not second
