"""Who lied, where several peers sent blocks of a wrong piece: each is asked alone for a while.

libtorrent has two faults there. Of a torrent of version 2 it asks for the hashes of the blocks, and
may count an old block against the peer that sent it again, rightly. And it lets none of the senders
complete a piece of which another has sent blocks, so that all of them wait for ever.
"""

import time
from collections.abc import Collection, Sequence

from outlast.swarm.settings import HostPort
from outlast.swarm.tuning import TUNING, ClientTuning


class Turns:
    """Which suspects are asked, and when the torrent is to be joined again. Not thread-safe."""

    def __init__(self, tuning: ClientTuning = TUNING.client) -> None:
        self._tuning = tuning
        self._waiting: list[HostPort] = []
        self._now: HostPort | None = None
        self._all: list[HostPort] = []
        self._pause = tuning.stuck_s
        self._moved = self._began = time.monotonic()
        self._right = 0

    @property
    def held_back(self) -> list[HostPort]:
        """The suspects that wait for their turns, or had them."""
        return [peer for peer in self._all if self._now not in {None, peer}]

    def moved(self) -> None:
        """Bytes came, or there is no peer that they could come from."""
        self._moved = time.monotonic()

    def right(self) -> None:
        """A piece came, and is right."""
        self._right += 1
        self._pause = self._tuning.stuck_s

    def ends(
        self, suspects: Sequence[HostPort], liars: Collection[HostPort], *, wrong: bool
    ) -> bool:
        """Whether the torrent is to be joined again now, for the next turn or for the first;
        `wrong`: other peers are banned than those that should be.
        """
        now = time.monotonic()
        if self._now is not None and not set(self.held_back) - set(liars):
            self._now = None  # no other suspect waits
        if self._now is not None:
            late = now > self._began + self._tuning.turn_s
            return late or self._now in liars or self._right >= self._tuning.probation_pieces
        stuck = bool(suspects) and now > self._moved + self._pause
        return wrong or stuck

    def next(self, suspects: Sequence[HostPort]) -> None:
        """The torrent is joined again: a suspect has its turn, or all of them after the last."""
        if self._now is None:
            self._pause = min(2 * self._pause, self._tuning.stuck_most_s)
            self._all = list(suspects) if len(suspects) > 1 else []
            self._waiting = list(self._all)
        self._now = self._waiting.pop(0) if self._waiting else None
        self._right = 0
        self._moved = self._began = time.monotonic()
