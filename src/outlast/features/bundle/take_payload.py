"""One payload of a bundle becomes a blob of the archive, once its bytes are what its name says.

That takes two steps, so that two threads can be at work: `receive` copies, and has all hashed;
`keep` waits for the hashes and the disk, decodes what is a capsule, and publishes.
"""

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from outlast.codec import merkle
from outlast.codec.bundle.contents import BundledBlob
from outlast.codec.hashing import GIT_LIMIT, BlobHasher
from outlast.codec.memory import Readable
from outlast.codec.payload import Form
from outlast.core.closing import Closing
from outlast.core.control import Control
from outlast.core.digest import Names
from outlast.core.errors import CorruptError, MalformedError, NotArchivedError, TooDeepError
from outlast.core.events import Progress
from outlast.features.bundle.buffers import Buffers, Lent
from outlast.features.bundle.ordered import InOrder
from outlast.features.bundle.tuning import Tuning
from outlast.intake.local_file import hash_blob
from outlast.sources.bundle.opened import OpenBundle
from outlast.store import disk
from outlast.store.archive import Archive
from outlast.store.write_behind import WriteBehind
from outlast.store.writer import WriteSession


class TempFile(Closing):
    """A new file that is written in order; `close` deletes it, unless it has another name by then.
    It stays open: what the disk says of writing it is heard by `sync` alone.
    """

    def __init__(self, path: Path) -> None:
        self.path: Final = path
        with disk.reporting(path):
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            self._fd = os.open(path, flags, disk.PRIVATE)
        self._file = WriteBehind(self._fd)

    def append(self, data: memoryview) -> None:
        with disk.reporting(self.path):
            self._file.append(data)

    def sync(self) -> None:
        """Waits until all of it is on the disk itself; it is read-only from then on."""
        with disk.reporting(self.path):
            disk.set_mode(self._fd, disk.READ_ONLY)
            self._file.sync()

    def close(self) -> None:
        if self._fd >= 0:
            self._file.close()
            os.close(self._fd)
            self._fd = -1
            disk.remove(self.path)


@dataclass(frozen=True, slots=True)
class Received(Closing):
    """A payload in a file, which may not be on the disk itself yet. What is plain is being hashed:
    nothing is known of it before that is done.
    """

    payload: BundledBlob
    file: TempFile
    hashing: "_Hashing | None"

    def close(self) -> None:
        if self.hashing is not None:
            self.hashing.close()
        self.file.close()


def receive(
    temp: Path,
    bundle: OpenBundle,
    payload: BundledBlob,
    buffers: Buffers,
    *,
    control: Control,
    tuning: Tuning,
) -> Received:
    """Copies a payload to the new file `temp`, which other threads hash meanwhile and go on with.
    Raises :class:`CorruptError` where the bundle does not give all of it, :class:`MalformedError`
    for a bomb, and leaves no file then.
    """
    if payload.form is not Form.PLAIN:
        _refuse_bomb(payload, tuning)
    with contextlib.ExitStack() as undone:
        file, hashing = undone.enter_context(TempFile(temp)), None
        if payload.form is Form.PLAIN:
            hashing = undone.enter_context(_Hashing(payload.size))
        _copy(bundle.span(payload), file, buffers, control, hashing)
        undone.pop_all()
    return Received(payload, file, hashing)


def keep(archive: Archive, writer: WriteSession, received: Received, control: Control) -> Names:
    """Archives what a payload restores, in the form that it has, and returns its names: it is on
    the disk then. Raises :class:`CorruptError` and :class:`MalformedError` where it is not what it
    should be, :class:`NotArchivedError` where a base is not here. The temp file is gone afterwards.
    """
    with received:
        file, hashing = received.file, received.hashing
        file.sync()
        if hashing is None:
            names = _keep_capsule(archive, writer, file.path, received.payload, control)
        else:
            names = hashing.names()
            _refuse_other(received.payload, names)
            writer.publish_blob(file.path, names.sha256, names.size, names.sums)
        archive.note_names(names)
        return names


def _copy(
    source: Readable,
    file: TempFile,
    buffers: Buffers,
    control: Control,
    hashing: "_Hashing | None",
) -> None:
    """Copies all of `source`, which other threads hash meanwhile."""
    for at in range(0, source.size, merkle.PIECE):
        control.cancel.check()
        with buffers.take(min(merkle.PIECE, source.size - at)) as piece:
            source.readinto(at, piece.data)
            if hashing is not None:
                hashing.put(piece.keep())
            file.append(piece.data)
            control.emit(Progress("bundle", len(piece.data)))


class _Hashing(Closing):
    """All names of a blob of `size` bytes, from its pieces in order, in two threads; of one piece
    at once.
    """

    def __init__(self, size: int) -> None:
        hasher = self._hasher = BlobHasher(size, git=size <= GIT_LIMIT)
        self._threads: tuple[InOrder[Lent], InOrder[tuple[Lent, bytes]]] | None = None
        if hasher.size > merkle.PIECE:
            self._threads = (
                InOrder[Lent](self._leaves, "leaves", after=Lent.done),
                InOrder[tuple[Lent, bytes]](
                    lambda job: hasher.update(job[0].data, job[1]),
                    "sha256",
                    after=lambda job: job[0].done(),
                ),
            )

    def put(self, piece: Lent) -> None:
        if self._threads is not None:
            self._threads[0].put(piece)
        else:
            self._hasher.update(piece.data)
            piece.done()

    def _leaves(self, piece: Lent) -> None:
        assert self._threads is not None
        found = merkle.piece_hash(piece.data)
        self._threads[1].put((piece.keep(), found))

    def names(self) -> Names:
        """Waits until all that was put is hashed."""
        for thread in self._threads or ():
            thread.settle()
        return self._hasher.names()

    def close(self) -> None:
        for thread in self._threads or ():
            thread.abandon()


def _keep_capsule(
    archive: Archive, writer: WriteSession, temp: Path, payload: BundledBlob, control: Control
) -> Names:
    """All of a capsule is decoded and compared before it is kept. Where it would make a chain of
    deltas too long here, the blob becomes a plain file.
    """
    for base in payload.bases:
        if archive.forms.of(base) is None:
            raise NotArchivedError(
                f"it depends on {base}, which is neither here nor in the bundle",
                hint="import the bundle that this one builds on first",
            )
    with archive.open_unverified(payload.blob, temp) as reader:
        if reader.size != payload.size:
            raise MalformedError(f"its capsule restores {reader.size} bytes, not {payload.size}")
        names = hash_blob(reader, control.cancel)
        _refuse_other(payload, names)
        try:
            writer.publish_capsule(temp, names.sha256, names.size)
        except TooDeepError:
            with TempFile(writer.temp()) as plain:
                _copy(reader, plain, Buffers(merkle.PIECE, 1), control, None)
                plain.sync()
                writer.publish_blob(plain.path, names.sha256, names.size, names.sums)
    return names


def _refuse_other(payload: BundledBlob, names: Names) -> None:
    if names.sha256 != payload.blob:
        raise CorruptError(f"its sha256 is {names.sha256.short}…, not {payload.blob.short}…")


def _refuse_bomb(payload: BundledBlob, tuning: Tuning) -> None:
    """Before anything is decoded: a capsule of few bytes may claim to restore any number."""
    ratio = tuning.most_restored_delta if payload.bases else tuning.most_restored
    if payload.size > tuning.restored_slack + ratio * payload.length:
        raise MalformedError(
            f"a capsule of {payload.length} bytes claims to restore {payload.size}"
        )
