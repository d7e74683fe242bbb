"""Checked reading of plain files: a piece is compared with its sum before its first use since the
file changed, or lay unread for long.

What was compared is remembered in this process (`table`), and of a file that was compared as a
whole in the index. Bytes are used from the memory in which they were compared, or else the file is
looked at once more after they were read: it must be the same, to the nanosecond.
"""

import contextlib
import errno
import hashlib
import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final, NoReturn, Protocol

from outlast.codec import merkle
from outlast.codec.memory import scratch
from outlast.codec.payload import Form
from outlast.codec.reader import CapsuleReader
from outlast.core.cancel import Cancel
from outlast.core.digest import Digest, Names
from outlast.core.errors import CorruptError, DamagedError, OutlastError, TransientError
from outlast.store import disk
from outlast.store.forms import StoredFile, stamp_of
from outlast.store.layout import Layout
from outlast.store.soundness import sums
from outlast.store.soundness.damage import Damage, DamageNotes, Why
from outlast.store.soundness.sums import Sums
from outlast.store.soundness.table import TABLE, Compared, Identity, Table, identity_of
from outlast.store.soundness.tuning import TUNING, SoundnessTuning

_log = logging.getLogger(__name__)
_ATTEMPTS: Final = 3
_MOST_LOCKS: Final = 64

Between = Callable[[int], object]
"""Is told of the bytes that were read, between two reads: it may wait, or raise."""


class SoundCache(Protocol):
    """Remembers which files were compared as a whole; may forget it at any time."""

    def checked_at(self, blob: Digest, stamp: str) -> float | None: ...

    def note_sound(self, blob: Digest, stamp: str, when: float) -> None: ...

    def forget_sound(self, blob: Digest) -> None: ...

    def was_hashed(self, blob: Digest, stamp: str) -> bool: ...


class Soundness:
    """Checks the plain blobs of an archive. Thread-safe."""

    def __init__(
        self,
        layout: Layout,
        cache: SoundCache,
        damage: DamageNotes,
        write: Callable[[Path, bytes], object],
        *,
        tuning: SoundnessTuning = TUNING,
        table: Table = TABLE,
    ) -> None:
        self.tuning = tuning
        self.damage: Final = damage
        self.write_derived: Final = write
        self.layout: Final = layout
        self._cache = cache
        self._table = table
        self._cancel: Final = Cancel()
        self._hashing: Final = [threading.Lock() for _ in range(_MOST_LOCKS)]

    def close(self) -> None:
        """Ends the reading of whole files that is under way; it raises :class:`Cancelled`."""
        self._cancel.set()

    def recheck_after(self, seconds: float) -> None:
        """What the operator chose; counts for what is opened from now on."""
        self.tuning = replace(self.tuning, recheck=seconds)

    def plain(self, blob: Digest, file: StoredFile, by: str = "read") -> "CheckedFile":
        """The open plain file of a blob, to be read checked. `by` says who notes damage."""
        return CheckedFile(self, blob, file, by)

    def forget(self, blob: Digest) -> None:
        """What was compared of a blob counts no more."""
        self._table.forget(blob)
        self._cache.forget_sound(blob)

    def note_whole(self, blob: Digest, stat: os.stat_result) -> None:
        """All of the plain file with this `stat`, which was taken before it was read, was hashed
        and is right: the damage that was noted of it is gone.
        """
        compared = Compared(stat.st_size, time.monotonic() + self.tuning.recheck)
        compared.set_whole()
        self.note_right(blob, stat, compared)
        self.damage.clear(blob, Form.PLAIN)

    def note_capsule(self, blob: Digest, stat: os.stat_result) -> None:
        """The same of a capsule that was decoded as a whole."""
        compared = Compared(0, time.monotonic() + self.tuning.recheck)
        compared.set_whole()
        self.note_right(blob, stat, compared)
        self.damage.clear(blob, Form.CAPSULE)

    def judge(
        self, blob: Digest, stat: os.stat_result, names: Names, by: str
    ) -> DamagedError | None:
        """A plain file with this `stat`, which was taken before, was read wholly and has these
        `names`: notes what follows, and returns the error where that is damage.
        """
        known = sums.load(self.layout.sums_of(blob), blob, stat.st_size)
        if names.sha256 == blob:
            if names.sums and (known is None or known.values != names.sums):
                self._write(blob, Sums(blob, stat.st_size, names.sums))
            self.note_whole(blob, stat)
            return None
        return self.damaged(blob, stat, () if known is None else known.differing(names.sums), by)

    def note_right(self, blob: Digest, stat: os.stat_result, compared: Compared) -> None:
        """All pieces of a file were compared, some of them perhaps some time ago."""
        if self.is_settled(stat):
            self._table.put(blob, identity_of(stat), compared)
            if stat.st_size > self.tuning.unnoted:
                age = self.tuning.recheck - (compared.until - time.monotonic())
                self._cache.note_sound(blob, full_stamp(stat), time.time() - age)

    def note_hashed(self, blob: Digest, path: Path) -> None:
        """The bytes of the file `path` were hashed while this process wrote them: a node that is
        started next, or again, reads none of them before it gives them out.
        """
        with contextlib.suppress(FileNotFoundError):
            stat = os.stat(path)
            if stat.st_size > self.tuning.unnoted:
                self._cache.note_sound(blob, full_stamp(stat), time.time())

    def is_settled(self, stat: os.stat_result) -> bool:
        """Whether the next write to the file will show in its times."""
        return abs(time.time() - stat.st_ctime) > self.tuning.settle

    def raw_capsule(self, blob: Digest, file: StoredFile, between: Between) -> Identity:
        """Compares all of the open capsule of a blob, so that it can be sent as it is, as long as
        it stays as it is. Raises :class:`CorruptError`, :class:`MalformedError`.
        """
        stat = os.fstat(file.fd)

        def note(*blocks: int) -> NoReturn:
            raise self.note(Damage(blob, Form.CAPSULE, Why.ROT, "peer", blocks), stat)

        capsule = CapsuleReader(file, damaged=note)
        self.capsule(blob, file, capsule, between)
        for part in capsule.damaged_frame():
            raise CorruptError(f"{part} of the capsule of {blob} is damaged")
        return identity_of(stat)

    def capsule(
        self, blob: Digest, file: StoredFile, capsule: CapsuleReader, between: Between
    ) -> None:
        """Compares all blocks of an open capsule, unless that was done since it changed. Raises
        what its reader raises.
        """
        stat = os.fstat(file.fd)
        known = self.known(blob, stat)
        if known is None or not known.whole:
            compared = Compared(0, time.monotonic() + self.tuning.recheck)
            for block in capsule.directory.blocks():
                capsule.compare(block)
                between(block.payload_length)
            compared.set_whole()
            self.note_right(blob, stat, compared)

    def remembered(self, blob: Digest, stat: os.stat_result) -> Compared | None:
        """What this process compared of a file."""
        found = self._table.get(blob, identity_of(stat))
        return found if found is not None and time.monotonic() < found.until else None

    def known(self, blob: Digest, stat: os.stat_result) -> Compared | None:
        """What was compared of a file, as this process or the index knows."""
        found = self.remembered(blob, stat)
        if found is not None:
            return found
        now, recheck = time.monotonic(), self.tuning.recheck
        if stat.st_size <= self.tuning.unnoted:
            return None
        when = self._cache.checked_at(blob, full_stamp(stat))
        # By a clock that was set back, it was checked in the future: then it counts for nothing.
        age = None if when is None else time.time() - when
        if age is not None and 0 <= age < recheck:
            found = Compared(stat.st_size, now + recheck - age)
            found.set_whole()
            self._table.put(blob, identity_of(stat), found)
            return found
        return None

    def begin(
        self, blob: Digest, file: StoredFile, stat: os.stat_result, by: str, between: Between
    ) -> Compared:
        """The same, or the beginning of it. Where the file has no sums, all of it is hashed now,
        and they are written. Raises :class:`DamagedError`.
        """
        with self._hashing[int(blob.hex[:8], 16) % _MOST_LOCKS]:
            known = self.known(blob, stat)  # another thread may have hashed it
            if known is None:
                known = self._begun(blob, file, stat, by, between)
                if self.is_settled(stat):
                    self._table.put(blob, identity_of(stat), known)
        return known

    def _begun(
        self, blob: Digest, file: StoredFile, stat: os.stat_result, by: str, between: Between
    ) -> Compared:
        until = time.monotonic() + self.tuning.recheck
        if not sums.is_needed(stat.st_size):
            return Compared(stat.st_size, until)
        known = sums.load(self.layout.sums_of(blob), blob, stat.st_size)
        if known is None:
            return self._hashed(blob, file, stat, by, between)
        return Compared(stat.st_size, until, known)

    def _hashed(
        self, blob: Digest, file: StoredFile, stat: os.stat_result, by: str, between: Between
    ) -> Compared:
        """Hashes all of a file that has no sums: an archive of an older version has none."""
        _log.info("hashing %s: its sums are missing, damaged or of another size", blob)
        started = time.monotonic()
        found = self._hash(blob, file, by, between)
        if found[0] != blob:
            raise self.damaged(blob, stat, (), by)
        self._write(blob, Sums(blob, stat.st_size, found[1]))
        compared = Compared(stat.st_size, started + self.tuning.recheck)
        if identity_of(os.fstat(file.fd)) != identity_of(stat):
            raise _changing(blob)
        compared.set_whole()
        self.note_right(blob, stat, compared)
        return compared

    def _hash(
        self, blob: Digest, file: StoredFile, by: str, between: Between
    ) -> tuple[Digest, bytes]:
        """The sha256 of a file, and the sums of its pieces."""
        hasher, values = hashlib.sha256(), bytearray()
        with scratch(merkle.PIECE) as buffer:
            for index in range(merkle.piece_count(file.size)):
                self._cancel.check()
                piece = buffer[: min(merkle.PIECE, file.size - index * merkle.PIECE)]
                self.read(blob, file, index, piece, by)
                hasher.update(piece)
                values += sums.sum_of(piece)
                between(len(piece))
        return Digest(hasher.hexdigest()), bytes(values)

    def read(self, blob: Digest, file: StoredFile, index: int, piece: memoryview, by: str) -> None:
        """Reads piece `index`; notes it where the disk cannot, or the file ends before."""
        with disk.reporting(file.path):
            try:
                whole = disk.read_exactly(file.fd, piece, index * merkle.PIECE)
            except OSError as error:
                if error.errno != errno.EIO:
                    raise
                damage = Damage(blob, Form.PLAIN, Why.UNREADABLE, by, (index,))
                raise self.note(damage, os.fstat(file.fd)) from error
            if not whole:
                damage = Damage(blob, Form.PLAIN, Why.TRUNCATED, by)
                raise self.note(damage, os.fstat(file.fd))

    def _write(self, blob: Digest, found: Sums) -> None:
        """Writes sums, if that can be done: without them the blob is hashed again."""
        try:
            self.write_derived(self.layout.sums_of(blob), found.to_bytes())
        except (OutlastError, OSError) as error:
            _log.info("the sums of %s are not written: %s", blob, error)

    def damaged(
        self, blob: Digest, stat: os.stat_result, parts: tuple[int, ...], by: str
    ) -> DamagedError:
        """Notes damage of a plain file; the error that says so."""
        why = Why.ROT
        if sums.size_in(self.layout.sums_of(blob)) > stat.st_size:
            why = Why.TRUNCATED
        elif stat.st_nlink > 1 and not self._cache.was_hashed(blob, stamp_of(stat)):
            why = Why.CHANGED
        return self.note(Damage(blob, Form.PLAIN, why, by, parts), stat)

    def note(self, damage: Damage, stat: os.stat_result) -> DamagedError:
        """The same of any damage. `stat` is that of the file: of one that is not the blob's any
        more none is noted.
        """
        layout, blob = self.layout, damage.blob
        path = layout.blob(blob) if damage.form is Form.PLAIN else layout.capsule(blob)
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(stat, os.stat(path)):
                self.damage.note(damage)
                self.forget(blob)
        return damaged([damage])


class CheckedFile:
    """An open plain file whose bytes are right where it gives them out. Threads may share it.
    Raises :class:`DamagedError`, and :class:`TransientError` where a program writes to the file
    all the while.
    """

    def __init__(self, checks: Soundness, blob: Digest, file: StoredFile, by: str) -> None:
        self._checks = checks
        self._blob = blob
        self._file = file
        self._by = by
        self._last: tuple[Identity, Compared] | None = None

    @property
    def size(self) -> int:
        return self._file.size

    def readinto(self, offset: int, buffer: memoryview) -> None:
        """Fills `buffer` with the bytes from `offset` on; they must be there."""
        if not buffer:
            return
        end = offset + len(buffer)
        if offset < 0 or end > self.size:
            raise ValueError("beyond the end of the blob")
        for _ in range(_ATTEMPTS):
            stat = os.fstat(self._file.fd)
            compared = self._compared(stat, bool)
            if compared.has(offset // merkle.PIECE, (end - 1) // merkle.PIECE):
                self._file.readinto(offset, buffer)
            else:
                self._read_compared(offset, buffer, compared, stat)
            if identity_of(os.fstat(self._file.fd)) == identity_of(stat):
                return
        raise _changing(self._blob)

    def is_compared(self, offset: int, length: int) -> bool:
        """Whether :meth:`require` of these bytes has nothing to do, as far as this process
        remembers.
        """
        if not length:
            return True
        stat = os.fstat(self._file.fd)
        known = self._last_compared(stat) or self._checks.remembered(self._blob, stat)
        if known is None or stat.st_size != self.size:
            return False
        return known.has(offset // merkle.PIECE, (offset + length - 1) // merkle.PIECE)

    def is_unchanged(self, identity: Identity) -> bool:
        """Whether nothing was written to the file since :meth:`require` returned `identity`."""
        return identity_of(os.fstat(self._file.fd)) == identity

    def require(self, offset: int, length: int, between: Between = bool) -> Identity:
        """Compares the pieces of a range that were not compared yet, so that the bytes can be sent
        from the file itself; returns what `is_unchanged` is asked with just before.
        """
        for _ in range(_ATTEMPTS):
            stat = os.fstat(self._file.fd)
            identity = identity_of(stat)
            if length:
                compared = self._compared(stat, between)
                for index in range(offset // merkle.PIECE, -(-(offset + length) // merkle.PIECE)):
                    if not compared.has(index, index):
                        count = min(merkle.PIECE, self.size - index * merkle.PIECE)
                        with scratch(count) as piece:
                            self._compare(index, piece, compared, stat)
                        between(count)
            if self.is_unchanged(identity):
                return identity
        raise _changing(self._blob)

    def _last_compared(self, stat: os.stat_result) -> Compared | None:
        """What is remembered of the file as it is: the quick way."""
        last = self._last
        if last is None or last[0] != identity_of(stat) or time.monotonic() >= last[1].until:
            return None
        return last[1]

    def _compared(self, stat: os.stat_result, between: Between) -> Compared:
        if stat.st_size != self.size:
            why = Why.CHANGED if stat.st_nlink > 1 else Why.TRUNCATED
            raise self._checks.note(Damage(self._blob, Form.PLAIN, why, self._by), stat)
        found = self._last_compared(stat)
        if found is None:
            found = self._checks.begin(self._blob, self._file, stat, self._by, between)
            self._last = identity_of(stat), found
        return found

    def _read_compared(
        self, offset: int, buffer: memoryview, compared: Compared, stat: os.stat_result
    ) -> None:
        """Reads by whole pieces; what is used was compared in memory."""
        while buffer:
            index, skip = divmod(offset, merkle.PIECE)
            length = min(merkle.PIECE, self.size - index * merkle.PIECE)
            take = min(length - skip, len(buffer))
            if compared.has(index, index):
                self._file.readinto(offset, buffer[:take])
            elif take == length:
                self._compare(index, buffer[:take], compared, stat)
            else:
                with scratch(length) as piece:
                    self._compare(index, piece, compared, stat)
                    buffer[:take] = piece[skip : skip + take]
            buffer = buffer[take:]
            offset += take

    def _compare(
        self, index: int, piece: memoryview, compared: Compared, stat: os.stat_result
    ) -> None:
        """Reads piece `index` into `piece`, and compares it; once more where it differs: a program
        may have written to it, or a bit have flipped on the way.
        """
        for _ in range(2):
            self._checks.read(self._blob, self._file, index, piece, self._by)
            if self._is_right(index, piece, compared):
                break
        else:
            raise self._checks.damaged(self._blob, stat, (index,), self._by)
        settled = self._checks.is_settled(stat) and self.is_unchanged(identity_of(stat))
        if settled and compared.note(index):
            self._checks.note_right(self._blob, stat, compared)

    def _is_right(self, index: int, piece: memoryview, compared: Compared) -> bool:
        known = compared.sums
        if known is not None:
            return known.is_right(index, piece)
        # All of it is one piece; or another thread has just compared the last one.
        return compared.whole or Digest.of(piece) == self._blob


def damaged(found: Sequence[Damage]) -> DamagedError:
    """The error of reading a blob of which this is known."""
    what = "; ".join(one.describe() for one in found)
    return DamagedError(f"blob {found[0].blob.short}… is damaged: {what}")


def full_stamp(stat: os.stat_result) -> str:
    """Changes with every change of a file or of its names."""
    return ":".join(map(str, identity_of(stat)))


def _changing(blob: Digest) -> TransientError:
    return TransientError(f"blob {blob.short}… changes while it is read")
