"""What this process has compared already: by file, as its inode tells, in bounded memory."""

import os
import threading
from collections import OrderedDict
from typing import Final

from outlast.codec import merkle
from outlast.core.digest import Digest
from outlast.store.soundness.sums import Sums
from outlast.store.soundness.tuning import TUNING

Identity = tuple[int, int, int, int, int]
"""Of an open file: device, inode, size, and the times of its last changes in ns."""
_ENTRY: Final = 300


def identity_of(stat: os.stat_result) -> Identity:
    """Changes with every write to a file, and with every change of its names."""
    return stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns


class Compared:
    """Which pieces of a file were compared, until a moment (`time.monotonic`) when that is too long
    ago. Thread-safe: a bit that gets lost between two threads costs another comparison.
    """

    def __init__(self, size: int, until: float, sums: Sums | None = None) -> None:
        """`sums` is None of a blob of one piece."""
        self.until = until
        self.sums = sums
        self.whole = False
        self._count = merkle.piece_count(size)
        self._left = self._count
        self._done = bytearray(self._count)
        self._lock = threading.Lock()

    def has(self, first: int, last: int) -> bool:
        """Whether the pieces from `first` to `last` were compared."""
        return self.whole or all(self._done[first : last + 1])

    def note(self, index: int) -> bool:
        """Piece `index` is right; whether that was the last one of them."""
        with self._lock:
            if self.whole or self._done[index]:
                return False
            self._done[index] = 1
            self._left -= 1
            if self._left:
                return False
            self.set_whole()
            return True

    def set_whole(self) -> None:
        """All pieces are right: which they are need not be remembered any more."""
        self.whole = True
        self.sums = None
        self._done = bytearray()

    @property
    def cost(self) -> int:
        """Bytes of memory, about."""
        return _ENTRY + len(self._done) + (0 if self.sums is None else len(self.sums.values))


class Table:
    """The files that were compared, in `room` bytes: those that were asked for last."""

    def __init__(self, room: int = TUNING.table) -> None:
        self._room = room
        self._lock = threading.Lock()
        self._files: OrderedDict[tuple[Digest, Identity], tuple[Compared, int]] = OrderedDict()
        self._cost = 0

    def get(self, blob: Digest, identity: Identity) -> Compared | None:
        with self._lock:
            found = self._files.get((blob, identity))
            if found is None:
                return None
            self._files.move_to_end((blob, identity))
            return found[0]

    def put(self, blob: Digest, identity: Identity, compared: Compared) -> None:
        """Remembers a file, in place of what was remembered of it."""
        with self._lock:
            self._drop((blob, identity))
            self._files[blob, identity] = compared, compared.cost
            self._cost += compared.cost
            while self._cost > self._room and len(self._files) > 1:
                self._drop(next(iter(self._files)))

    def forget(self, blob: Digest) -> None:
        """What was compared of the files of a blob counts no more."""
        with self._lock:
            for key in [key for key in self._files if key[0] == blob]:
                self._drop(key)

    def _drop(self, key: tuple[Digest, Identity]) -> None:
        found = self._files.pop(key, None)
        if found is not None:
            self._cost -= found[1]


TABLE: Final = Table()
"""That of the process: archives that are opened one after the other share it."""
