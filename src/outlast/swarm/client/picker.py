"""Which pieces of a torrent are requested, and which of them first. Knows nothing of libtorrent:
the caller says which peers are connected and what they have.

- At first only a few: see :mod:`outlast.swarm.client.probation`.
- Among `n` nodes that fetch the same file each begins with other pieces, every `n`-th: its stripe.
  So the seeds are asked for each piece once, and the nodes pass the pieces on to each other.
- Once its own stripe is complete, a node helps those that are behind, from the ends of their
  stripes, and leaves the other pieces that only seeds have to the other nodes.
- The first pieces of the stripe go first, so that the file can be hashed while it arrives.
  libtorrent takes pieces of the highest priority in any order, and the rest in order: so only a few
  have the highest.
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
    """Picks pieces of a torrent with `count` pieces; `lacks` are missing. Not thread-safe."""

    def __init__(
        self,
        count: int,
        lacks: Sequence[int],
        *,
        in_order: bool = False,
        stripe: tuple[int, int] | None = None,
        tuning: ClientTuning = TUNING.client,
    ) -> None:
        """`in_order` and `stripe` are as in :class:`~outlast.swarm.client.join.JoinOptions`."""
        self.came: set[int] = set()
        self._count = count
        self._lacks = lacks
        self._tuning = tuning
        self._probation = Probation(lacks, in_order=in_order, tuning=tuning)
        self._stripe = 0, 1
        self._own: deque[int] = deque()
        self._front: set[int] = set()
        self._out: set[int] = set()
        self._yielded: frozenset[int] = frozenset()
        self._helping: frozenset[int] = frozenset()
        self._last_is_near = False
        self._progress = -1, 0.0
        self._seeds_at_first: frozenset[str] = frozenset()
        if stripe is not None:
            self.take_stripe(*stripe)

    def priority(self, index: int) -> int:
        """The priority for libtorrent: from 0 (not requested) to 7."""
        if index in self._out or index in self._yielded or not self._probation.allows(index):
            return 0
        last = index == self._count - 1 and self._last_is_near
        return _FIRST if last or index in self._front or index in self._helping else _LATER

    def priorities(self) -> list[int]:
        """Of all pieces."""
        return [self.priority(index) for index in range(self._count)]

    def note(self, index: int) -> list[int]:
        """A piece was received. Returns the pieces whose priority has changed."""
        self.came.add(index)
        if index not in self._front:
            return []
        self._front.discard(index)
        return self._fill_front()

    def leave_out(self, index: int, *, out: bool) -> None:
        """Sets whether a piece comes from another source, so that no peer is asked for it."""
        (self._out.add if out else self._out.discard)(index)

    def end_probation(self) -> bool:
        """Ends probation if it is time; whether it did."""
        return self._probation.ends(self.came | self._out)

    def take_stripe(self, number: int, count: int) -> bool:
        """Sets the stripe: node `number` of `count` that fetch the file. Whether it is new."""
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
    def may_yield_seeds(self) -> bool:
        """Whether it matters which peers have which pieces: see :meth:`update`."""
        return self._stripe[1] > 1 and self._count <= self._tuning.help_limit_pieces

    def update(
        self, seeds: Collection[str], others: int, copies: Sequence[int], now: float
    ) -> bool:
        """Follows the connected peers: the addresses of `seeds`, the number of `others`, and how
        many peers have each piece (`copies`, empty if unknown), at the time `now` (monotonic
        seconds). Whether the priorities have changed.
        """
        before = self._yielded, self._helping, self._last_is_near, self._probation.pieces
        self._aim_probation(copies)
        # A capsule has its index at the end: it is wanted once a peer that is no seed has it.
        self._last_is_near = self._last_is_near or list(copies[-1:]) > [len(seeds)]
        self._yielded = self._helping = frozenset()
        if copies and self._leaves_seeds(frozenset(seeds), others, now):
            left = [index for index in self._lacking() if copies[index] <= len(seeds)]
            self._helping = self._to_help_with(left)
            number, count = self._stripe
            self._yielded = frozenset(i for i in left if i % count != number) - self._helping
        return before != (self._yielded, self._helping, self._last_is_near, self._probation.pieces)

    def _aim_probation(self, copies: Sequence[int]) -> None:
        """Chooses probation pieces that a peer has: at first a fetcher has only a few."""
        if not copies or all(copies[index] for index in self._probation.pieces - self.came):
            return
        number, count = self._stripe
        there = [index for index in self._lacking() if copies[index]]
        if there:
            self._probation.aim([i for i in there if i % count == number] or there)

    def _leaves_seeds(self, seeds: frozenset[str], others: int, now: float) -> bool:
        """Whether to stop requesting from seeds."""
        if len(self.came) > self._progress[0]:
            self._progress = len(self.came), now
        stuck = now > self._progress[1] + self._tuning.yield_patience_s
        if self._own or self._probation or stuck or not self.may_yield_seeds:
            return False
        self._seeds_at_first = self._seeds_at_first or seeds
        # Otherwise a peer has become a seed, or there is no other peer.
        return seeds <= self._seeds_at_first and others > 0

    def _to_help_with(self, left: list[int]) -> frozenset[int]:
        """Of the pieces that only seeds have, those that this node fetches for slower nodes: the
        last of their stripes, shared among all nodes whose own stripe is complete.
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
