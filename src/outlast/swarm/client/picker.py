"""Which pieces of a torrent are asked for, and which of them first. Knows nothing of libtorrent:
what is seen of the peers comes from the caller.

- At first a few: see :mod:`outlast.swarm.client.probation`.
- In a crowd of `n` each node begins with other pieces, every `n`-th: its stripe. So those who have
  all are asked for each piece once, and the crowd passes the pieces on.
- Who has asked for all of its own stripe helps those who are behind with theirs, from their ends,
  and leaves the rest of what only those have who have all to the others.
- The first pieces of the stripe go first, so that the file is hashed while it comes. libtorrent
  takes those of the highest priority in any order, and the others in theirs: so there are few of
  the highest.
"""

from collections import deque
from collections.abc import Collection, Sequence
from typing import Final

from outlast.swarm.client.probation import Probation
from outlast.swarm.tuning import TUNING, ClientTuning

_FIRST: Final = 7
_LATER: Final = 1
"""Priorities of pieces; libtorrent multiplies them with how rare a piece is."""


class PiecePicker:
    """Of a torrent of `count` pieces of which those in `lacks` are not here. Not thread-safe."""

    def __init__(
        self,
        count: int,
        lacks: Sequence[int],
        *,
        in_order: bool = False,
        stripe: tuple[int, int] | None = None,
        tuning: ClientTuning = TUNING.client,
    ) -> None:
        """`in_order` and `stripe` are as in :class:`~outlast.swarm.client.join.Joining`."""
        self.came: set[int] = set()
        self._count = count
        self._lacks = lacks
        self._tuning = tuning
        self._probation = Probation(lacks, in_order=in_order, tuning=tuning)
        self._stripe = 0, 1
        self._own: deque[int] = deque()
        self._front: set[int] = set()
        self._out: set[int] = set()
        self._sparing: frozenset[int] = frozenset()
        self._helping: frozenset[int] = frozenset()
        self._last_is_near = False
        self._progress = -1, 0.0
        self._seeds_at_first: frozenset[str] = frozenset()
        if stripe is not None:
            self.take_stripe(*stripe)

    def priority(self, index: int) -> int:
        """As libtorrent counts them: 0, not asked for, to 7."""
        if index in self._out or index in self._sparing or not self._probation.allows(index):
            return 0
        last = index == self._count - 1 and self._last_is_near
        return _FIRST if last or index in self._front or index in self._helping else _LATER

    def priorities(self) -> list[int]:
        """Of all pieces."""
        return [self.priority(index) for index in range(self._count)]

    def note(self, index: int) -> list[int]:
        """A piece came. The pieces whose priority is another now."""
        self.came.add(index)
        if index not in self._front:
            return []
        self._front.discard(index)
        return self._fill_front()

    def leave_out(self, index: int, *, out: bool) -> None:
        """Whether somebody else is fetching a piece, so that no peer should be asked for it."""
        (self._out.add if out else self._out.discard)(index)

    def end_probation(self) -> bool:
        """Goes on to the other pieces if it is time; whether it was."""
        return self._probation.ends(self.came | self._out)

    def take_stripe(self, number: int, count: int) -> bool:
        """Of a crowd of `count` this is the one with that `number`; whether that is news."""
        if (number, count) == self._stripe:
            return False
        self._stripe = number, count
        own = [index for index in self._lacking() if index % count == number]
        if self._probation:
            self._probation = Probation(own, in_order=True, tuning=self._tuning)
        self._own, self._front = deque(own if count > 1 else ()), set()
        self._fill_front()
        return True

    def _fill_front(self) -> list[int]:
        added = []
        while self._own and len(self._front) < self._tuning.front_pieces:
            index = self._own.popleft()
            if index not in self.came:
                self._front.add(index)
                added.append(index)
        return added

    @property
    def may_spare(self) -> bool:
        """Whether it matters who has which pieces: see :meth:`look`."""
        return self._stripe[1] > 1 and self._count <= self._tuning.help_limit_pieces

    def look(self, seeds: Collection[str], others: int, copies: Sequence[int], now: float) -> bool:
        """Who is connected: the addresses of those that have all, how many `others` there are, and
        how many of them all have each piece (`copies`, empty where that is not known) at the time
        `now` (monotonic seconds). Whether other pieces are asked for now.
        """
        before = self._sparing, self._helping, self._last_is_near, self._probation.pieces
        self._aim_probation(copies)
        # Capsules say at their end what is in them: it is wanted as soon as the crowd has it.
        self._last_is_near = self._last_is_near or list(copies[-1:]) > [len(seeds)]
        self._sparing = self._helping = frozenset()
        if copies and self._leaves_seeds(frozenset(seeds), others, now):
            left = [index for index in self._lacking() if copies[index] <= len(seeds)]
            self._helping = self._to_help_with(left)
            number, count = self._stripe
            self._sparing = frozenset(i for i in left if i % count != number) - self._helping
        return before != (self._sparing, self._helping, self._last_is_near, self._probation.pieces)

    def _aim_probation(self, copies: Sequence[int]) -> None:
        """The trial is of pieces that somebody has: at first a holder has few."""
        if not copies or all(copies[index] for index in self._probation.pieces - self.came):
            return
        number, count = self._stripe
        there = [index for index in self._lacking() if copies[index]]
        if there:
            self._probation.aim([i for i in there if i % count == number] or there)

    def _leaves_seeds(self, seeds: frozenset[str], others: int, now: float) -> bool:
        """Whether the seeds are left to the others."""
        if len(self.came) > self._progress[0]:
            self._progress = len(self.came), now
        stuck = now > self._progress[1] + self._tuning.yield_patience_s
        if self._own or self._probation or stuck or not self.may_spare:
            return False
        self._seeds_at_first = self._seeds_at_first or seeds
        # If not, one of the crowd has all; or nobody else is there.
        return seeds <= self._seeds_at_first and others > 0

    def _to_help_with(self, left: list[int]) -> frozenset[int]:
        """Of the pieces that only the seeds have, those that this node fetches for slower ones:
        the last of their stripes, shared among all who are done with their own.
        """
        number, count = self._stripe
        behind: dict[int, list[int]] = {}
        for index in left:
            behind.setdefault(index % count, []).append(index)
        helpers = [other for other in range(count) if other not in behind]
        if number not in helpers:
            return frozenset()
        rank = helpers.index(number)
        near = self._tuning.under_way_pieces
        far = (index for stripe in behind.values() for index in stripe[near:])
        mine = [index for index in far if index // count % len(helpers) == rank]
        return frozenset(sorted(mine)[-self._tuning.front_pieces :])

    def _lacking(self) -> list[int]:
        return [index for index in self._lacks if index not in self.came]
