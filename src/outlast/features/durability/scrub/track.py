"""How far the check of one file has come, so that the next scrub goes on there."""

from outlast.core.digest import Digest
from outlast.features.durability.scrub.cursor import Partway, ScrubCursor
from outlast.store.soundness.damage import Damages


class Track:
    """Follows the check of a file. Only what can be gone on with is noted, and ended early."""

    def __init__(self, cursor: ScrubCursor, name: str) -> None:
        self._cursor = cursor
        self._name = name
        self._stamp = ""
        self._before = 0
        self._first = 0
        self._advanced = False
        self.size = 0
        """Bytes that were read so far, those of earlier scrubs left out."""

    @property
    def resumes(self) -> bool:
        """Whether the next check of the file can go on where this one ends."""
        return bool(self._stamp)

    @property
    def advanced(self) -> bool:
        """Whether it would go on further than this one did: a check that ends before is never
        through.
        """
        return self._advanced

    @property
    def before(self) -> int:
        """Bytes that earlier scrubs read of the file."""
        return self._before

    def start(self, check: str, stamp: str, known: Damages = ()) -> int:
        """How many parts of a file with this `stamp` need not be checked any more, as the same
        `check` with the same damage in view has done it. From now on the check can be ended.
        """
        seen = "".join(f"{one.form} {one.seen} {one.parts}" for one in known)
        self._stamp = f"{check} {stamp} {Digest.of(seen.encode()).hex[:16]}"
        where = self._cursor.partway(self._name)
        if where.stamp != self._stamp:
            return 0
        self._before, self._first = where.size, where.done
        return where.done

    def read(self, count: int) -> None:
        """So many bytes were read."""
        self.size += count

    def reached(self, done: int) -> None:
        """The first `done` parts are checked."""
        if self._stamp and done > self._first:
            self._advanced = True
            where = Partway(self._stamp, done, self._before + self.size)
            self._cursor.note_partway(self._name, where)
