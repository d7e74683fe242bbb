"""The first pieces of a torrent, before anybody is known to be honest.

What several peers sent together cannot be blamed on one of them: libtorrent gives a part of the
blame to each, and the more such pieces are wrong at once, the more honest peers are banned with a
liar. So few are asked for at first; when those are wrong, each peer has to send whole ones.
"""

import random
import time
from collections.abc import Collection, Sequence

from outlast.swarm.tuning import TUNING, ClientTuning


class Probation:
    """Over when its pieces are right, or a while after it began, for maybe nobody has them. Not
    thread-safe.
    """

    def __init__(
        self,
        lacks: Sequence[int],
        *,
        in_order: bool = False,
        tuning: ClientTuning = TUNING.client,
    ) -> None:
        """`lacks` are the pieces to choose from: where they are few there is no trial. `in_order`:
        somebody reads the file meanwhile; formats say what is in it at its start or at its end.
        """
        self._ends_at = time.monotonic() + tuning.probation_s
        if len(lacks) <= 2 * tuning.probation_pieces:
            self._pieces = frozenset[int]()
        elif in_order:
            self._pieces = frozenset((lacks[0], lacks[-1]))
        else:
            self._pieces = frozenset(random.sample(lacks, tuning.probation_pieces))

    def __bool__(self) -> bool:
        """Whether it is still going on."""
        return bool(self._pieces)

    def allows(self, index: int) -> bool:
        """Whether a piece may be asked for now."""
        return not self._pieces or index in self._pieces

    @property
    def pieces(self) -> frozenset[int]:
        """What may be asked for while it goes on."""
        return self._pieces

    def aim(self, lacks: Sequence[int]) -> None:
        """Goes on with some of these: nobody has the others."""
        self._pieces = frozenset((lacks[0], lacks[-1]))

    def ends(self, done: Collection[int]) -> bool:
        """Whether it ends now that the pieces `done` came; says so once."""
        late = time.monotonic() > self._ends_at
        if not self._pieces or not (late or self._pieces <= set(done)):
            return False
        self._pieces = frozenset()
        return True
