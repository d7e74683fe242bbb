"""Working copies: plain files of what is held as capsules, for programs that need a path.

A copy is a cache. It is made as durably as a blob, and goes again when others need its room: the
one that was used longest ago first, and none that is in use. A copy is in use while a live
write session leases it, while it has a second name (a hard link that was given out), and while a
noted symbolic link leads to it.
"""

import contextlib
import os
import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from outlast.core.digest import Digest
from outlast.core.errors import DiskFullError, StorageError
from outlast.store import disk
from outlast.store.forms import stamp_of
from outlast.store.layout import Layout
from outlast.store.records.sealed import check_of
from outlast.store.writer import WriteSession, leased, sweep

_TEMP: Final = ".copy"
_NOTES: Final = ".links"
_CHECK: Final = 32
"""Digits of the check in front of a note."""
_MB: Final = 1e6
_MOST: Final = 100 * 10**9


@dataclass(frozen=True, slots=True)
class Copy:
    """A working copy: `size` in bytes, `used` in nanoseconds since 1970."""

    digest: Digest
    path: Path
    size: int
    used: int
    names: int

    @property
    def is_linked(self) -> bool:
        """Whether a link to it was given out that is still there."""
        if self.names > 1:
            return True
        # A note that is damaged may have been of a link that is still there.
        return any(link is None or _leads_to(link, self.path) for link in _noted(self.path))


def default_budget(layout: Layout) -> int:
    """Half of the disk that copies have or could have, and at most 100 GB; in bytes."""
    held = sum(copy.size for copy in all_copies(layout))
    return min(_MOST, (held + disk.free_bytes(layout.home)) // 2)


class Copies:
    """The working copies of an archive, for one write session: what it takes or makes stays until
    the session closes. All copies together have at most `budget` bytes.
    """

    def __init__(self, layout: Layout, writer: WriteSession, budget: int) -> None:
        self._layout = layout
        self._writer = writer
        self._budget = budget

    def take(self, digest: Digest, size: int) -> Path | None:
        """The copy of a blob of that size, if there is one."""
        self._writer.lease(digest, size)
        path = self._layout.copy(digest)
        with disk.reporting(path):
            try:
                stat = os.stat(path)
            except FileNotFoundError:
                return None
            if stat.st_size != size:
                disk.remove(path)
                return None
            os.utime(path, ns=(time.time_ns(), stat.st_mtime_ns))
            return path

    def reserve(self, wanted: Sequence[tuple[Digest, int]]) -> list[Path]:
        """Temp files for copies of blobs (their names and sizes), as long as the blobs and empty
        otherwise; the room for all of them is there. Raises :class:`StorageError` where the budget
        does not allow for it, :class:`DiskFullError` where the disk does not.
        """
        layout = self._layout
        need = sum(size for _, size in wanted)
        with disk.reporting(layout.copies), disk.locked(layout.lock, exclusive=True):
            sweep(layout)  # what dead processes were making
            self._make_room(need)
            if need > (free := disk.free_bytes(layout.home)):
                raise DiskFullError(
                    f"{need / _MB:.1f} MB of working copies do not fit the disk: "
                    f"{free / _MB:.1f} MB are free"
                )
            return [self._temp(digest, size) for digest, size in wanted]

    def _temp(self, digest: Digest, size: int) -> Path:
        path = self._writer.folder / f"{digest.hex}{_TEMP}"
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, disk.PRIVATE)
        try:
            os.ftruncate(fd, size)
        finally:
            os.close(fd)
        return path

    def publish(self, temp: Path, digest: Digest) -> Path:
        """Gives a synced, verified temp file the name of its copy."""
        final = self._layout.copy(digest)
        with disk.reporting(final), disk.locked(self._layout.lock, exclusive=False):
            disk.publish(temp, final)
        return final

    def drop(self, digest: Digest) -> None:
        """Deletes a copy that proved damaged."""
        with disk.reporting(self._layout.copies):
            disk.remove(self._layout.copy(digest))

    def note_link(self, digest: Digest, link: Path) -> None:
        """Keeps a copy for as long as the symbolic link at `link` leads to it."""
        notes = _notes(self._layout.copy(digest))
        with disk.reporting(notes):
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
            fd = os.open(notes, flags, disk.PRIVATE)
            try:
                disk.append_all(fd, _note(notes, os.fsencode(link.absolute())) + b"\0")
            finally:
                os.close(fd)

    def _make_room(self, need: int) -> None:
        """Deletes copies until `need` bytes fit the budget; all or none of what that takes."""
        copies = sorted(all_copies(self._layout), key=lambda copy: copy.used)
        held = leased(self._layout)
        spare = [c for c in copies if c.digest.hex not in held and not c.is_linked]
        total = sum(copy.size for copy in copies) + _under_way(self._layout)
        excess = total + need - self._budget
        if excess > sum(copy.size for copy in spare):
            used = total - sum(copy.size for copy in spare)
            raise StorageError(
                f"{need / _MB:.1f} MB of working copies are needed; the budget is "
                f"{self._budget / _MB:.1f} MB, of which {used / _MB:.1f} MB are in use",
                hint="a larger --budget, or 'outlast unpack', which keeps the plain form",
            )
        for copy in spare:
            if excess <= 0:
                return
            _remove(copy)
            excess -= copy.size


def all_copies(layout: Layout) -> Iterator[Copy]:
    """Every working copy."""
    for path in disk.matching(layout.copies, "??", "*"):
        if Digest.is_valid(path.name):
            with contextlib.suppress(FileNotFoundError):  # dropped meanwhile
                stat = path.stat()
                digest = Digest(path.name)
                yield Copy(digest, path, stat.st_size, stat.st_atime_ns, stat.st_nlink)


def garbage(layout: Layout, keep: Collection[str], *, dry_run: bool) -> Iterator[tuple[str, int]]:
    """Drops the copies of blobs (by their sha256 in hex) that are not to be kept, and those of
    blobs that are plain by now and not in use; yields name and size of each. Call with the
    archive's lock held exclusively.
    """
    held = leased(layout)
    for copy in all_copies(layout):
        name = copy.digest.hex
        doubled = layout.blob(copy.digest).exists() and name not in held and not copy.is_linked
        if name not in keep or doubled:
            if not dry_run:
                _remove(copy)
            yield name, copy.size


def drop_damaged(layout: Layout, digest: Digest, stamp: str) -> bool:
    """Deletes a copy that proved damaged when its file had this `stamp`; False where it is gone or
    another one by now. Links that were noted stay noted: they lead to the copy that comes next.
    """
    path = layout.copy(digest)
    with disk.reporting(path), disk.locked(layout.lock, exclusive=True):
        try:
            return stamp_of(os.stat(path)) == stamp and disk.remove(path)
        except FileNotFoundError:
            return False


def _under_way(layout: Layout) -> int:
    """Bytes of the copies that are being made."""
    total = 0
    for path in disk.matching(layout.tmp, "*", f"*{_TEMP}"):
        with contextlib.suppress(FileNotFoundError):
            total += path.stat().st_size
    return total


def _remove(copy: Copy) -> None:
    disk.remove(copy.path)
    disk.remove(_notes(copy.path))


def _notes(path: Path) -> Path:
    return path.with_name(path.name + _NOTES)


def _noted(path: Path) -> Iterator[Path | None]:
    """The links that were noted; None stands for one that cannot be read."""
    notes = _notes(path)
    try:
        data = notes.read_bytes()
    except FileNotFoundError:
        return
    for note in filter(None, data.split(b"\0")):
        # Without a check, it is of an older version, if it starts as a path does.
        name = note if note.startswith(b"/") else note[_CHECK:]
        whole = name is note or note == _note(notes, name)
        yield Path(os.fsdecode(name)) if whole else None


def _note(notes: Path, link: bytes) -> bytes:
    """What is written down of a link: its check, and its path."""
    return check_of("/".join(notes.parts[-3:]), link).encode() + link


def _leads_to(link: Path, path: Path) -> bool:
    try:
        return os.path.samefile(link, path)
    except OSError:
        return False
