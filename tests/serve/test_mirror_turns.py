"""Whose fetch is next in a mirror, and which one makes room for it."""

import threading
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from outlast.core.asker import ASKER
from outlast.core.errors import DiskFullError
from outlast.mirror.fetch_queue import Fetch, FetchQueue
from outlast.mirror.intake import Admission
from outlast.mirror.limits import IntakeLimits
from outlast.mirror.tuning import MirrorTuning
from outlast.store import disk
from tests.serve.node import SECONDS, until

AFTER = 3.0
SLOW = 10.0
TUNING = MirrorTuning(
    fetches=2,
    small_fetches=1,
    crowding=2,
    deserted_after=AFTER,
    fetches_each=100,
    look=0.01,
    small_within=SLOW,
)
LARGE = 5 << 20


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Followed:
    """Whether a client follows a fetch, and since when none does."""

    def __init__(self, clock: Clock, *, followed: bool = True) -> None:
        self._clock = clock
        self.since = None if followed else clock.now

    def __call__(self) -> float | None:
        return self.since

    def leave(self) -> None:
        self.since = self._clock.now if self.since is None else self.since

    def come(self) -> None:
        self.since = None


def never() -> bool:
    raise AssertionError("it is not run here")


class Hall:
    """The rules alone: fetches are numbers, and run when the rules say so."""

    def __init__(self, tuning: MirrorTuning = TUNING) -> None:
        self.clock = Clock()
        self.turns = FetchQueue(tuning)
        self.follows: dict[Fetch, Followed] = {}
        self.running: list[Fetch] = []
        self.paused: list[Fetch] = []
        """Each time that one was told to pause."""

    def add(self, asker: str = "", *, small: bool = False, followed: bool = True) -> Fetch:
        follows = Followed(self.clock, followed=followed)
        fetch = Fetch(asker, small, never, follows)
        self.follows[fetch] = follows
        self.turns.add(fetch)
        self.look()
        return fetch

    def look(self) -> None:
        self.running += self.turns.begin(self.clock.now)
        for fetch in self.turns.yielding(self.clock.now):
            assert fetch in self.running
            assert not fetch.small
            assert not fetch.pausing
            assert self.gone(fetch)
            fetch.pausing = True
            self.paused.append(fetch)

    def gone(self, fetch: Fetch) -> bool:
        since = self.follows[fetch].since
        return since is not None and self.clock.now - since >= AFTER

    def end(self, fetch: Fetch, *, again: bool = False) -> None:
        self.running.remove(fetch)
        self.turns.end(fetch, again=again)
        self.look()

    def desert(self, *fetches: Fetch) -> None:
        for fetch in fetches:
            self.follows[fetch].leave()
        self.clock.now += AFTER
        self.look()


class TestRules:
    def test_an_abandoned_fetch_makes_room_for_one_that_a_client_waits_for(self) -> None:
        hall = Hall()
        first, second, third = hall.add(), hall.add(), hall.add()
        hall.follows[second].leave()
        hall.clock.now += AFTER - 0.1
        hall.look()
        assert not hall.paused
        hall.clock.now += 0.1
        hall.look()
        assert hall.paused == [second]
        hall.end(second, again=True)
        assert hall.running == [first, third]
        hall.end(first)
        assert hall.running == [third, second]  # it goes on as soon as there is room

    def test_a_client_that_comes_back_within_a_moment_keeps_its_place(self) -> None:
        hall = Hall()
        first, _, _ = hall.add(), hall.add(), hall.add()
        for _ in range(5):
            hall.follows[first].leave()
            hall.clock.now += AFTER / 2
            hall.look()
            hall.follows[first].come()
        hall.look()
        assert not hall.paused

    def test_nothing_is_paused_while_there_is_room(self) -> None:
        hall = Hall()
        first = hall.add()
        hall.desert(first)
        second = hall.add()
        hall.desert(second)
        assert not hall.paused
        assert hall.running == [first, second]

    def test_nor_for_what_no_client_waits_for(self) -> None:
        hall = Hall()
        fetches = [hall.add() for _ in range(4)]
        hall.desert(*fetches)
        assert not hall.paused

    def test_nor_is_a_small_file(self) -> None:
        hall = Hall()
        small = hall.add(small=True)
        hall.add(small=True)
        hall.desert(small)
        assert not hall.paused

    def test_a_small_file_that_drips_keeps_no_small_one_waiting(self) -> None:
        hall = Hall()
        slow, second = hall.add(small=True), hall.add(small=True)
        hall.clock.now += SLOW - 0.1
        hall.look()
        assert hall.running == [slow]
        hall.clock.now += 0.1
        hall.look()
        assert hall.running == [slow, second]
        hall.end(slow)
        hall.end(second)
        assert not hall.turns.count("")

    def test_it_counts_as_a_large_one(self) -> None:
        """So no number of them fills the mirror, and it makes room when it is abandoned."""
        hall = Hall()
        slow = [hall.add(small=True) for _ in range(8)]
        for _ in range(8):
            hall.clock.now += SLOW
            hall.look()
        assert hall.running == slow[: TUNING.fetches]
        other = hall.add("other", small=True)
        assert other in hall.running  # who has none begins
        large = hall.add()
        assert large not in hall.running
        hall.desert(*slow[:2])
        assert hall.paused == slow[:1]
        hall.end(slow[0], again=True)
        assert hall.running == [slow[1], other, slow[2], large]

    def test_abandoned_ones_make_room_for_a_small_file(self) -> None:
        hall = Hall()
        slow = [hall.add(small=True) for _ in range(2)]
        for _ in range(2):
            hall.clock.now += SLOW
            hall.look()
        assert hall.running == slow
        waits = hall.add(small=True)
        assert waits not in hall.running
        hall.desert(slow[0])
        assert hall.paused == slow[:1]
        hall.end(slow[0], again=True)
        assert waits in hall.running

    def test_only_as_many_as_are_needed_and_those_that_began_first(self) -> None:
        hall = Hall()
        a, b, _ = hall.add("a"), hall.add("a"), hall.add("a")
        hall.desert(a, b)
        assert hall.paused == [a]
        hall.look()
        assert hall.paused == [a]

    def test_nothing_is_paused_in_vain(self) -> None:
        """Where so many are under way that one less lets none begin."""
        hall = Hall()
        mine = [hall.add("a"), hall.add("a")]
        others = [hall.add("b"), hall.add("c")]
        waits = hall.add("a")
        hall.desert(others[0])
        hall.desert(mine[0])
        assert not hall.paused
        hall.desert(mine[1])
        assert hall.paused == mine
        for fetch in mine:
            hall.end(fetch, again=True)
        assert hall.running == [*others, waits]

    def test_a_paused_one_does_not_begin_again_before_what_clients_wait_for(self) -> None:
        """Not by having none under way either, which lets askers begin beyond the bound."""
        hall = Hall()
        a, b, c, d = hall.add("a"), hall.add("b"), hall.add("b"), hall.add("b")
        hall.desert(a)
        assert hall.paused == [a]
        hall.end(a, again=True)
        assert hall.running == [b, c]
        hall.follows[a].come()
        hall.look()
        assert hall.running == [b, c, a]  # a client came back: now that lets it begin
        assert d not in hall.running

    @settings(deadline=None, max_examples=300)
    @given(st.data())
    def test_whatever_happens(self, data: st.DataObject) -> None:
        hall = Hall()
        fetches: list[Fetch] = []
        ended: list[Fetch] = []
        for _ in range(data.draw(st.integers(1, 40))):
            step = data.draw(st.sampled_from(["add", "leave", "come", "wait", "end", "paused"]))
            pausing = [one for one in hall.running if one.pausing]
            if step == "add" or not fetches:
                asker = data.draw(st.sampled_from("abc"))
                followed, small = data.draw(st.booleans()), data.draw(st.booleans())
                fetches.append(hall.add(asker, small=small, followed=followed))
            elif step == "leave":
                hall.follows[data.draw(st.sampled_from(fetches))].leave()
            elif step == "come":
                hall.follows[data.draw(st.sampled_from(fetches))].come()
            elif step == "wait":
                hall.clock.now += data.draw(st.sampled_from([0.5, 1.0, AFTER, SLOW]))
            elif step == "end" and hall.running:
                ended.append(data.draw(st.sampled_from(hall.running)))
                hall.end(ended[-1])
            elif step == "paused" and pausing:
                hall.end(data.draw(st.sampled_from(pausing)), again=True)
            hall.look()
            self.check(hall, [one for one in fetches if one not in ended])
        while hall.running:
            ended.append(hall.running[0])
            hall.end(ended[-1])
        assert sorted(map(id, ended)) == sorted(map(id, fetches))
        assert not any(hall.turns.count(asker) for asker in "abc")

    @staticmethod
    def check(hall: Hall, left: list[Fetch]) -> None:
        assert len(set(hall.running)) == len(hall.running)
        large = [one for one in hall.running if not one.small]
        most = (TUNING.fetches + TUNING.small_fetches) * TUNING.crowding
        assert len(hall.running) <= most
        assert len(hall.running) - len(large) <= TUNING.small_fetches * TUNING.crowding
        assert hall.turns.someone_waits == any(one not in hall.running for one in left)
        waiting = [one for one in left if one not in hall.running and not one.small]
        wanted = [one for one in waiting if not hall.gone(one)]
        if waiting:
            assert len(large) >= TUNING.fetches
        if wanted:  # enough make room, or as many as there are would not be enough
            stays = [one for one in large if not hall.gone(one) and not one.pausing]
            going = [one for one in large if one.pausing]
            assert going or len(stays) >= TUNING.fetches


@dataclass(eq=False)
class Running:
    """A fetch of `size` bytes that ends when it is told to, or yields when it is to pause."""

    size: int
    follows: Followed
    stop: threading.Event = field(default_factory=threading.Event)
    done: bool = False
    runs: int = 0
    ended: bool = False
    written: int = 0

    def work(self) -> bool:
        self.runs += 1
        assert self.stop.wait(SECONDS)
        if self.done:
            self.ended = True
            return False
        self.stop.clear()
        return True

    def finish(self) -> None:
        """It has all of its bytes."""
        self.written = self.size
        self.done = True
        self.stop.set()


class TestAdmission:
    def start(
        self, intake: Admission, size: int = LARGE, asker: str = "", *, followed: bool = True
    ) -> Running:
        clock = intake.clock
        assert isinstance(clock, Clock)
        fetch = Running(size, Followed(clock, followed=followed))
        token = ASKER.set(asker)
        try:
            intake.submit(size, fetch.work, fetch.follows, fetch.stop.set, lambda: fetch.written)
        finally:
            ASKER.reset(token)
        return fetch

    def test_it_is_paused_and_goes_on_when_there_is_room(self, tmp_path: Path) -> None:
        clock = Clock()
        intake = Admission(tmp_path, IntakeLimits(), TUNING, clock)
        first, second, third = (self.start(intake) for _ in range(3))
        until(lambda: first.runs and second.runs)
        first.follows.leave()
        clock.now += AFTER
        until(lambda: third.runs, "the one that a client waits for")
        assert not second.stop.is_set()
        second.finish()
        until(lambda: first.runs == 2, "the one that was paused")
        first.finish()
        third.finish()
        until(lambda: first.ended and third.ended)

    def test_a_client_that_waits_longer_than_the_fetch_was_followed(self, tmp_path: Path) -> None:
        """Nothing happens at the moment when a fetch is abandoned, and still it is seen."""
        clock = Clock()
        intake = Admission(tmp_path, IntakeLimits(), TUNING, clock)
        first, _second = self.start(intake), self.start(intake)
        third = self.start(intake)
        clock.now += 1000
        until(lambda: first.runs)
        assert not third.runs
        first.follows.leave()
        clock.now += AFTER
        until(lambda: third.runs)

    @settings(deadline=None, max_examples=40)
    @given(st.data())
    def test_what_is_promised_of_the_disk_stays_right(self, data: st.DataObject) -> None:
        """However fetches come, are abandoned, paused, go on and end."""
        total, keep = 1 << 40, 1 << 30
        clock, fetches = Clock(), list[Running]()

        def free(_path: Path) -> int:
            return total - sum(one.written for one in fetches)

        with pytest.MonkeyPatch.context() as patch, TemporaryDirectory() as folder:
            patch.setattr(disk, "free_bytes", free)
            limits = IntakeLimits(hourly=0, keep_free=keep)
            intake = Admission(Path(folder), limits, TUNING, clock)
            for _ in range(data.draw(st.integers(1, 25))):
                step = data.draw(st.sampled_from(["add", "leave", "come", "wait", "write", "end"]))
                one = data.draw(st.sampled_from(fetches)) if fetches else None
                if step == "add" or one is None:
                    size = data.draw(st.integers(LARGE, 10 * LARGE))
                    asker = data.draw(st.sampled_from("ab"))
                    fetches.append(self.start(intake, size, asker))
                elif step == "leave":
                    one.follows.leave()
                elif step == "come":
                    one.follows.come()
                elif step == "wait":
                    clock.now += AFTER
                elif step == "write" and one.runs:
                    one.written = min(one.size, one.written + LARGE // 2)
                elif step == "end" and one.runs:
                    one.finish()
                self.check(intake, total - keep - sum(one.size for one in fetches))
            until(lambda: self.ended(fetches))
            until(lambda: not any(intake._queue.count(asker) for asker in "ab"))
            self.check(intake, total - keep - sum(one.size for one in fetches))

    @staticmethod
    def ended(fetches: list[Running]) -> bool:
        """Lets those that have begun come to their end; whether all are there."""
        for one in fetches:
            if one.runs and not one.done:
                one.finish()
        return all(one.ended for one in fetches)

    @staticmethod
    def check(intake: Admission, left: int) -> None:
        """Exactly `left` bytes may still be promised."""

        def may(size: int) -> bool:
            try:
                intake.admit(size)
            except DiskFullError:
                return False
            return True

        assert may(left)
        assert not may(left + 1)
