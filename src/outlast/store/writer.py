"""Write sessions: which processes change an archive, and what garbage collection must leave alone.

A session owns a folder below tmp/, with a lock that dies with its process. The blobs that it puts
are leased there (in the file "claims") until a manifest or draft refers to them. Garbage
collection takes the archive's lock exclusively; sessions take it shared, and only for the instant
of a rename. So neither waits for the other's long work.
"""

import contextlib
import itertools
import logging
import os
import shutil
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

from outlast.codec.merkle import Tree
from outlast.codec.payload import Form
from outlast.core.closing import Closing
from outlast.core.digest import Digest
from outlast.core.errors import (
    Cancelled,
    IntegrityError,
    MalformedError,
    NotArchivedError,
    OutlastError,
)
from outlast.store import disk, locks, mounts, reading
from outlast.store.forms import Forms, StoredForm, read_form, stamp_of
from outlast.store.layout import MARKER, Layout
from outlast.store.soundness.checks import Soundness
from outlast.store.soundness.sums import Sums

_log = logging.getLogger(__name__)

_LOCK = "lock"
_LEASES = "claims"


class WriteSession(Closing):
    """Gives out temp files, publishes them, leases blobs. Thread-safe."""

    def __init__(
        self, layout: Layout, forms: Forms | None = None, checks: Soundness | None = None
    ) -> None:
        """Blobs are published with `forms` and `checks`; one that writes small files alone needs
        neither.
        """
        self._layout = layout
        self._checks = checks
        self._forms = forms or Forms(layout)
        self._count = itertools.count()
        self._mutex = threading.Lock()
        self._closed = False
        self.folder = layout.tmp / f"{os.getpid()}-{os.urandom(8).hex()}"
        with disk.reporting(layout.home), disk.locked(layout.lock, exclusive=False):
            os.mkdir(self.folder)
            self._lock = os.open(self.folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            locks.try_lock(self._lock, layout.lock)
            self._leases = os.open(
                self.folder / _LEASES, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600
            )

    def require_one_disk(self) -> None:
        """Raises :class:`StorageError` where a folder of the archive is on another file system."""
        with disk.reporting(self._layout.home):
            mounts.require_one(self._layout, self.folder / _LOCK)

    def close(self) -> None:
        """Gives up the leases and deletes what was not published. Nothing can be put any more."""
        with self._mutex:
            if self._closed:
                return
            self._closed = True
        with disk.locked(self._layout.lock, exclusive=False):
            shutil.rmtree(self.folder, ignore_errors=True)
        os.close(self._leases)
        os.close(self._lock)

    def _lease(self, digest: Digest) -> None:
        """Notes a lease; call with the archive's lock held. The leading newline ends a line that
        a full disk may have torn.
        """
        with self._mutex:
            if self._closed:
                raise Cancelled("the write session is closed")
            disk.append_all(self._leases, b"\n%s\n" % digest.hex.encode())

    def temp(self) -> Path:
        """The name of a temp file that does not exist yet."""
        return self.folder / f"{next(self._count)}.tmp"

    def lease(self, digest: Digest, size: int) -> bool:
        """Keeps a blob and its bases from garbage collection until this session closes;
        whether it is here, in either form.
        """
        path = self._layout.blob(digest)
        with disk.reporting(path), disk.locked(self._layout.lock, exclusive=False):
            self._lease(digest)
            return self._forms.is_here(digest, size)

    def publish_blob(self, temp: Path, digest: Digest, size: int, sums: bytes = b"") -> None:
        """Gives a synced, verified temp file the name of its blob, unless that is here already, in
        either form. One that was damaged is right from then on. `sums` as in `Names`: without them
        the blob is hashed before it is read.
        """
        final = self._layout.blob(digest)
        with disk.reporting(final), disk.locked(self._layout.lock, exclusive=False):
            self._lease(digest)
            if self._forms.is_here(digest, size):
                os.unlink(temp)
            else:
                self._publish_plain(temp, digest, final)
        self._end_damage(digest, Form.CAPSULE)
        if sums:
            self._write_sums(Sums(digest, size, sums))

    def _publish_plain(self, temp: Path, digest: Digest, final: Path) -> None:
        """A file that has other names (a hard link of a user's file) is not ours to touch, and may
        have changed since it was hashed: it is compared before it is read.
        """
        is_ours = os.stat(temp).st_nlink == 1
        if is_ours:  # to the nanosecond, where the kernel counts in ticks: the next write will show
            disk.touch(temp)
        disk.publish(temp, final)
        if is_ours and self._checks is not None:
            self._checks.note_hashed(digest, final)

    def _write_sums(self, sums: Sums) -> None:
        """Beside a plain blob. They are derived: where they cannot be written, the blob is hashed
        before it is read.
        """
        path = self._layout.sums_of(sums.blob)
        try:
            if not path.exists():
                self.write(path, sums.to_bytes())
        except (OutlastError, OSError) as error:
            _log.info("the sums of %s are not written: %s", sums.blob, error)

    def _end_damage(self, digest: Digest, other: Form) -> None:
        """What holds a blob was verified: what is damaged of it in the `other` form can go."""
        damage = self._checks.damage if self._checks is not None else None
        if damage is None or not (found := damage.of(digest)):
            return
        if any(one.form is other for one in found):
            path = self._layout.blob if other is Form.PLAIN else self._layout.capsule
            with disk.locked(self._layout.lock, exclusive=True):
                disk.remove(path(digest))
        damage.clear(digest)

    def publish_capsule(
        self, temp: Path, digest: Digest, size: int, tree: Tree | None = None
    ) -> bool:
        """Takes a synced temp file as the capsule of a blob, unless that is here already, in
        either form; whether it was not. `tree` is that of the capsule's bytes, where it is known.

        The capsule is believed: it must be one that this process encoded from verified bytes (the
        kernels decode and compare each block). For others there is `Archive.take_capsule`.
        Raises :class:`NotArchivedError` and :class:`TooDeepError` as `Forms.check` does.
        """
        form, stamp = self._encoded(temp, digest, size)
        final = self._layout.capsule(digest)
        # Only one at a time may make a chain longer.
        exclusive = bool(form.bases)
        with disk.reporting(final), disk.locked(self._layout.lock, exclusive=exclusive):
            self._lease(digest)
            if self._forms.is_here(digest, size):
                os.unlink(temp)
                return False
            self._forms.check(digest, form.bases)
            disk.publish(temp, final)
        self._end_damage(digest, Form.PLAIN)
        self._note(digest, tree, stamp)
        return True

    def pack(self, temp: Path, digest: Digest, size: int, tree: Tree | None = None) -> bool:
        """Puts a synced temp file, a capsule that was decoded as a whole and found right, in place
        of what holds a blob that is here; False where it was collected meanwhile. Raises as
        `publish_capsule` does.
        """
        form, stamp = self._encoded(temp, digest, size)
        final = self._layout.capsule(digest)
        with disk.reporting(final), disk.locked(self._layout.lock, exclusive=True):
            self._lease(digest)
            if not self._forms.is_here(digest, size):
                os.unlink(temp)
                return False
            self._forms.check(digest, form.bases)
            disk.publish(temp, final)
            disk.remove(self._layout.blob(digest))
            disk.remove(self._layout.sums_of(digest))
        self._note(digest, tree, stamp)
        return True

    def unpack(self, temp: Path, digest: Digest, sums: Sums | None = None) -> None:
        """Puts a synced, verified temp file, the plain bytes of a blob, in place of its capsule."""
        final = self._layout.blob(digest)
        with disk.reporting(final), disk.locked(self._layout.lock, exclusive=True):
            self._lease(digest)
            disk.publish(temp, final)
            disk.remove(self._layout.capsule(digest))
        if sums is not None:
            self._write_sums(sums)

    def settle(self, digest: Digest) -> int:
        """Drops the plain file of a blob that a crash left in both forms; returns its size, 0
        where it has only one, or its capsule cannot replace it: all of that is decoded first.
        """
        path, capsule = self._layout.blob(digest), self._layout.capsule(digest)
        with disk.reporting(path):
            self.lease(digest, self._forms.plain_size(digest) or 0)
            form, stamp = self._proved(digest, capsule)
            with (
                disk.locked(self._layout.lock, exclusive=True),
                contextlib.suppress(FileNotFoundError),  # another process changed the form
            ):
                size = os.stat(path).st_size
                right = form is not None and size == form.size
                if right and stamp == stamp_of(os.stat(capsule)):
                    assert form is not None
                    if self._forms.may_depend(digest, form.bases):
                        disk.remove(path)
                        disk.remove(self._layout.sums_of(digest))
                        return size
        return 0

    def _proved(self, digest: Digest, path: Path) -> tuple[StoredForm | None, str]:
        """What the capsule in the file `path` is, with the stamp of that file; None where it does
        not restore the blob.
        """
        try:
            assert self._checks is not None, "a session that publishes blobs"
            with reading.open_capsule(self._checks, digest, path) as blob:
                right = blob.sha256() == digest
                return blob.form if right else None, stamp_of(blob.stat())
        except (IntegrityError, NotArchivedError):
            return None, ""

    def _note(self, digest: Digest, tree: Tree | None, stamp: str) -> None:
        if tree is not None:
            self._forms.note_tree(digest, Form.CAPSULE, tree, stamp)

    def _encoded(self, temp: Path, digest: Digest, size: int) -> tuple[StoredForm, str]:
        """The form that a temp file gives to a blob, and the stamp that the file keeps when it is
        renamed.
        """
        form = read_form(temp, digest)
        if form is None or form.size != size:
            raise MalformedError(f"what should be the capsule of {digest.short}… is not")
        return form, stamp_of(os.stat(temp))

    def write(self, final: Path, data: bytes, mode: int = disk.READ_ONLY) -> None:
        """Writes a whole small file durably and atomically."""
        with disk.reporting(final):
            temp = self.stage(data, mode)
            with disk.locked(self._layout.lock, exclusive=False):
                disk.publish(temp, final)

    def write_new(self, final: Path, data: bytes, mode: int = disk.READ_ONLY) -> bool:
        """Like `write`, but leaves a file alone that is there already; whether it was not."""
        with disk.reporting(final):
            temp = self.stage(data, mode)
            with disk.locked(self._layout.lock, exclusive=False):
                done = disk.publish_new(temp, final)
            if done is None:  # no hard links: then the lock makes it one step
                with disk.locked(self._layout.lock, exclusive=True):
                    done = not os.path.lexists(final)
                    if done:
                        disk.publish(temp, final)
            return done

    def write_twice(self, final: Path, data: bytes, mode: int, *, new: bool = False) -> None:
        """Like `write`, in two copies. `new`: unless the file is there already."""
        with disk.reporting(final):
            temps = self.stage(data, mode), self.stage(data, mode)
            # Exclusive: else each of two processes could write one of the copies.
            with disk.locked(self._layout.lock, exclusive=True):
                if not (new and final.exists()):  # else the temp files go with this session
                    self.publish_twice(temps, final)

    def write_all_twice(self, files: Mapping[Path, bytes], mode: int) -> None:
        """Like `write_twice` for many files, which takes far fewer waits for the disk. A crash may
        leave some of them written, each as a whole.
        """
        if not files:
            return
        with disk.reporting(next(iter(files))):
            temps = {
                final: (self.stage(data, mode, sync=False), self.stage(data, mode, sync=False))
                for final, data in files.items()
            }
            disk.sync_all(itertools.chain.from_iterable(temps.values()))
            with disk.locked(self._layout.lock, exclusive=True):
                places = {final: self._two_places(final) for final in files}
                for copy in range(2):
                    disk.publish_all((temps[f][copy], places[f][copy]) for f in files)

    def _two_places(self, final: Path) -> tuple[Path, Path]:
        """Where the copies of a file go, in that order. A second copy is never older than the
        first, and never there without it.
        """
        second = self._layout.second_of(final)
        return (second, final) if final.exists() else (final, second)

    def publish_twice(self, temps: tuple[Path, Path], final: Path) -> None:
        """Gives two synced temp files their names; call with the archive's lock held
        exclusively.
        """
        for temp, path in zip(temps, self._two_places(final), strict=True):
            disk.publish(temp, path)

    def stage(self, data: bytes, mode: int, *, sync: bool = True) -> Path:
        """A temp file with `data`, synced unless told otherwise, to be published under the
        archive's lock.
        """
        temp = self.temp()
        disk.write_temp(temp, data, mode, sync=sync)
        return temp


def leased(layout: Layout, *, alone: bool = False) -> set[str]:
    """The hex digests that live sessions hold. Call with the archive's lock held exclusively.
    `alone`: no other process uses the archive, whatever its locks say.
    """
    held: set[str] = set()
    for folder in _folders(layout):
        if not _is_dead(layout, folder, alone=alone):
            try:
                held.update((folder / _LEASES).read_text().split())
            except FileNotFoundError:  # made or deleted this moment; with locks that cannot be
                if not locks.fault(layout.lock):
                    raise
    return held


def create(layout: Layout) -> None:
    """Makes an empty archive; harmless where there is one."""
    with disk.reporting(layout.home):
        layout.make_folders()
        second = layout.second_of(layout.marker)
        # A crash may have left the second copy alone.
        if not layout.marker.exists() and (not second.exists() or second.read_bytes() == MARKER):
            with WriteSession(layout) as writer:
                writer.write_new(second, MARKER)
                writer.write_new(layout.marker, MARKER)


def sweep(layout: Layout, *, alone: bool = False) -> int:
    """Deletes what dead sessions left below tmp/; returns how many. Call with the archive's lock
    held exclusively. `alone` as in `leased`.
    """
    dead = [folder for folder in _folders(layout) if _is_dead(layout, folder, alone=alone)]
    for folder in dead:
        shutil.rmtree(folder, ignore_errors=True)
    return len(dead)


def orphans(layout: Layout, *, alone: bool = False) -> int:
    """How many folders of dead sessions there are. `alone` as in `leased`."""
    return sum(_is_dead(layout, folder, alone=alone) for folder in _folders(layout))


def _folders(layout: Layout) -> Iterator[Path]:
    return (entry for entry in sorted(layout.tmp.iterdir()) if entry.is_dir())


def _is_dead(layout: Layout, folder: Path, *, alone: bool) -> bool:
    """Whether the process of a session ended. Without locks that work, no session counts as dead,
    unless the operator says that this process is alone; its own sessions live.
    """
    if locks.fault(layout.lock):
        return alone and not folder.name.startswith(f"{os.getpid()}-")
    try:
        fd = os.open(folder / _LOCK, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return True
    try:
        return locks.try_lock(fd, layout.lock)
    finally:
        os.close(fd)
