"""Bytes of a stored file in their order, as they are or proven piece by piece."""

from outlast.codec.memory import Readable
from outlast.codec.merkle import PIECE, Tree
from outlast.core.errors import DamagedThereError, IntegrityError


class StoredRange:
    """The bytes `start` to `stop` of a blob; they may be wrong."""

    def __init__(self, blob: Readable, start: int, stop: int) -> None:
        self.start = start
        self._blob = blob
        self._at = start
        self._stop = stop

    def readinto(self, buffer: memoryview) -> int:
        count = max(0, min(len(buffer), self._stop - self._at))
        self._blob.readinto(self._at, buffer[:count])
        self._at += count
        return count

    def close(self) -> None:
        """Nothing stays open."""


class ProvenRange:
    """The same; no byte comes out of it that was not compared with `tree`, with the rest of its
    piece. Raises :class:`DamagedThereError` for a piece that is wrong or cannot be restored;
    `what` names the file in it.
    """

    def __init__(self, blob: Readable, start: int, stop: int, tree: Tree, what: str) -> None:
        self.start = start
        self._blob = blob
        self._at = start
        self._stop = stop
        self._tree = tree
        self._what = what
        self._held = memoryview(b"")
        """What is proven and not given out yet."""

    def readinto(self, buffer: memoryview) -> int:
        if not self._held:
            self._prove()
        count = min(len(buffer), len(self._held))
        buffer[:count] = self._held[:count]
        self._held = self._held[count:]
        self._at += count
        return count

    def _prove(self) -> None:
        if self._at >= self._stop:
            return
        index = self._at // PIECE
        begin = index * PIECE
        piece = memoryview(bytearray(self._tree.length(index)))
        try:
            self._blob.readinto(begin, piece)
        except IntegrityError as error:
            text = f"{self._what} is damaged: {error}"
            raise DamagedThereError(text, piece=index) from None
        if not self._tree.matches(index, piece):
            text = f"{self._what} is damaged: piece {index} is wrong"
            raise DamagedThereError(text, piece=index)
        self._held = piece[self._at - begin : self._stop - begin]

    def close(self) -> None:
        self._held = memoryview(b"")
