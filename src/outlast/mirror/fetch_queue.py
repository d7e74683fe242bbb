"""Whose fetch is next in a mirror, and which one makes room for it: rules without threads.

Askers take turns. Small files do not wait for large ones, nor for small ones that drip: these count
as large after some seconds. A fetch that no client follows is
*abandoned* after a moment: it goes on while there is room, comes last, and is paused where a client
waits for another one.
"""

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from outlast.mirror.tuning import MirrorTuning


def _nothing() -> None:
    """For a fetch that cannot be paused."""


@dataclass(slots=True, eq=False)
class Fetch:
    """One fetch of an asker. `work` runs it, and says whether it was paused, so that it has to run
    again; `pause`, which must not block, makes it end soon so. `deserted` tells since when no
    client follows it (by the mirror's clock), None while one does.
    """

    asker: str
    small: bool
    work: Callable[[], bool]
    deserted: Callable[[], float | None] = lambda: None
    pause: Callable[[], None] = _nothing
    pausing: bool = False
    began: float = 0.0
    slow: bool = False
    """It was small, and took too long for that."""

    def is_abandoned(self, now: float, grace: float) -> bool:
        """Whether no client has followed it for `grace` seconds. Clients come back to resume."""
        since = self.deserted()
        return since is not None and now - since >= grace


@dataclass(slots=True)
class _Line:
    """The fetches of one asker: those that run, by whether they are small, and those that wait. So
    many of those that run are `slow`.
    """

    running: Counter[bool] = field(default_factory=Counter)
    slow: int = 0
    waiting: list[Fetch] = field(default_factory=list)


class FetchQueue:
    """All fetches of a mirror. Not thread-safe."""

    def __init__(self, tuning: MirrorTuning) -> None:
        self._tuning = tuning
        self._lines: OrderedDict[str, _Line] = OrderedDict()
        self._running: dict[Fetch, None] = {}
        """In the order in which they began."""
        self._count: Counter[bool] = Counter()

    def count(self, asker: str) -> int:
        """How many fetches of an asker run or wait."""
        line = self._lines.get(asker)
        return 0 if line is None else line.running.total() + len(line.waiting)

    @property
    def someone_waits(self) -> bool:
        """Whether a file waits for its turn."""
        return any(line.waiting for line in self._lines.values())

    def add(self, fetch: Fetch) -> None:
        """`fetch` waits from now on, as the last."""
        self._lines.setdefault(fetch.asker, _Line()).waiting.append(fetch)

    def end(self, fetch: Fetch, *, again: bool) -> None:
        """`fetch` runs no more; with `again` it waits, as the last."""
        line = self._lines[fetch.asker]
        del self._running[fetch]
        line.running[fetch.small] -= 1
        line.slow -= fetch.slow
        self._count[fetch.small] -= 1
        fetch.pausing = False
        if again:
            line.waiting.append(fetch)
        self._lines.move_to_end(fetch.asker)
        if not line.running.total() and not line.waiting:
            del self._lines[fetch.asker]

    def begin(self, now: float) -> Iterator[Fetch]:
        """The fetches that may begin now, each of which counts as running when it is given."""
        self._outgrow(now)
        for small in (True, False):
            while (found := self._next(now, small=small)) is not None:
                asker, fetch = found
                line = self._lines[asker]
                crowds = self._lives(fetch, now)
                bound = self._bound(line.running[small], small=small, crowds=crowds)
                if self._count[small] >= bound:
                    break
                line.waiting.remove(fetch)
                line.running[small] += 1
                line.slow += fetch.slow
                self._count[small] += 1
                self._running[fetch] = None
                fetch.began = now
                yield fetch

    def _outgrow(self, now: float) -> None:
        """Small files that take too long count as large ones from now on."""
        for fetch in self._running:
            if fetch.small and now - fetch.began >= self._tuning.small_within:
                line = self._lines[fetch.asker]
                fetch.small, fetch.slow = False, True
                line.slow += 1
                for counts in (line.running, self._count):
                    counts[True] -= 1
                    counts[False] += 1

    def _is_full(self, line: _Line) -> bool:
        """Whether so many small files are slow that no further one of this asker begins."""
        tuning = self._tuning
        most = (tuning.fetches + tuning.small_fetches) * tuning.crowding
        return line.slow >= tuning.fetches or len(self._running) >= most

    def _lives(self, fetch: Fetch, now: float) -> bool:
        return not fetch.is_abandoned(now, self._tuning.deserted_after)

    def _bound(self, running: int, *, small: bool, crowds: bool) -> int:
        """With how many under way no more begin of an asker that has `running` of them."""
        most = self._tuning.small_fetches if small else self._tuning.fetches
        return most * self._tuning.crowding if crowds and not running else most

    def _next(self, now: float, *, small: bool) -> tuple[str, Fetch] | None:
        """What a client waits for, of the asker that has the fewest under way; else the first of
        such an asker.
        """
        best: tuple[tuple[bool, int], str, Fetch] | None = None
        for asker, line in self._lines.items():
            found = [one for one in line.waiting if one.small == small]
            if not found or (small and self._is_full(line)):
                continue
            wanted = next((one for one in found if self._lives(one, now)), None)
            place = wanted is None, line.running[small]
            if best is None or place < best[0]:
                best = place, asker, wanted or found[0]
        return None if best is None else best[1:]

    def yielding(self, now: float) -> list[Fetch]:
        """The abandoned fetches of large files to pause, so that what clients wait for may begin:
        those that began first. None where that would not be enough. One more for a small file, if
        it waits for slow ones.
        """
        spare = [
            one
            for one in self._running
            if not one.small and not one.pausing and not self._lives(one, now)
        ]
        if not spare:
            return []
        wanted = Counter(
            one.asker
            for line in self._lines.values()
            for one in line.waiting
            if not one.small and self._lives(one, now)
        )
        ending = Counter(one.asker for one in self._running if one.pausing)
        if not wanted and not ending:
            return self._for_small(spare, now)
        under_way = Counter({who: line.running[False] for who, line in self._lines.items()})
        under_way -= ending
        chosen: list[Fetch] = []
        while wanted:
            asker = min(wanted, key=lambda who: under_way[who])
            needed = self._room_for(asker, under_way, spare[len(chosen) :])
            if needed is None:
                break
            chosen += needed
            under_way -= Counter(one.asker for one in needed)
            under_way[asker] += 1
            wanted -= Counter([asker])
        return chosen

    def _for_small(self, spare: list[Fetch], now: float) -> list[Fetch]:
        """The first of `spare` that has to end before a small file begins that a client waits
        for; none where no such file waits for that.
        """
        for line in self._lines.values():
            waits = any(one.small and self._lives(one, now) for one in line.waiting)
            if not waits or not self._is_full(line):
                continue
            of_all = line.slow < self._tuning.fetches
            found = [
                one for one in spare if of_all or (one.slow and self._lines[one.asker] is line)
            ]
            if found:
                return found[:1]
        return []

    def _room_for(
        self, asker: str, under_way: Counter[str], spare: list[Fetch]
    ) -> list[Fetch] | None:
        """The first of `spare` that have to end before another fetch of `asker` begins; None if all
        of them are not enough.
        """
        mine, total = under_way[asker], under_way.total()
        for count in range(len(spare) + 1):
            if total - count < self._bound(mine, small=False, crowds=True):
                return spare[:count]
            mine -= count < len(spare) and spare[count].asker == asker
        return None
