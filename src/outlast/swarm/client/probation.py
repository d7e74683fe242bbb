"""The first pieces of a torrent, while no peer is known to be honest.

When a piece that several peers sent is wrong, libtorrent counts it against each of them. The more
such pieces are wrong at once, the more honest peers are banned along with a liar. So only a few are
requested at first; if those are wrong, each peer has to send whole pieces.
"""

import random
import time
from collections.abc import Collection, Sequence

from outlast.swarm.tuning import TUNING, ClientTuning


class Probation:
    """Ends when its pieces are right, or after some seconds: maybe no peer has them. Not
    thread-safe.
    """

    def __init__(
        self,
        lacks: Sequence[int],
        *,
        in_order: bool = False,
        tuning: ClientTuning = TUNING.client,
    ) -> None:
        """`lacks` are the missing pieces to choose from; if they are few, there is no probation.
        `in_order`: a client reads the file meanwhile; most formats have their index at the start or
        at the end.
        """
        self._seconds = tuning.probation_s
        self.put_off()
        if len(lacks) <= tuning.few_pieces:
            self._pieces = frozenset[int]()
        elif in_order:
            self._pieces = frozenset((lacks[0], lacks[-1]))
        else:
            self._pieces = frozenset(random.sample(lacks, tuning.probation_pieces))

    def __bool__(self) -> bool:
        """Whether it is still going on."""
        return bool(self._pieces)

    def allows(self, index: int) -> bool:
        """Whether a piece may be requested now."""
        return not self._pieces or index in self._pieces

    @property
    def pieces(self) -> frozenset[int]:
        """The pieces that may be requested while it goes on."""
        return self._pieces

    def put_off(self) -> None:
        """Its time begins anew: so far it is not known whether a peer has its pieces."""
        self._ends_at = time.monotonic() + self._seconds

    def aim(self, lacks: Sequence[int]) -> None:
        """Chooses among these pieces instead: no peer has the others."""
        self._pieces = frozenset((lacks[0], lacks[-1]))

    def ends(self, done: Collection[int]) -> bool:
        """Whether it ends now, with the pieces `done` received; True once."""
        late = time.monotonic() > self._ends_at
        if not self._pieces or not (late or self._pieces <= set(done)):
            return False
        self._pieces = frozenset()
        return True
