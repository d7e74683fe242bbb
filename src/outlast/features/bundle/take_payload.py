"""One payload of a bundle becomes a blob of the archive, once its bytes are what its name says."""

import os
from pathlib import Path

from outlast.codec import merkle
from outlast.codec.bundle.contents import BundledBlob
from outlast.codec.hashing import GIT_LIMIT, BlobHasher
from outlast.codec.memory import Readable
from outlast.codec.payload import Form
from outlast.core.control import Control
from outlast.core.digest import Names
from outlast.core.errors import CorruptError, MalformedError, NotArchivedError, TooDeepError
from outlast.core.events import Progress
from outlast.features.bundle.ordered import InOrder
from outlast.features.bundle.tuning import Tuning
from outlast.intake.local_file import hash_blob
from outlast.sources.bundle.opened import OpenBundle
from outlast.store import disk
from outlast.store.archive import Archive
from outlast.store.writer import WriteSession


def take(
    archive: Archive,
    writer: WriteSession,
    bundle: OpenBundle,
    payload: BundledBlob,
    *,
    control: Control,
    tuning: Tuning,
) -> Names:
    """Archives what a payload restores, in the form that it has, and returns its names. Raises
    :class:`CorruptError` and :class:`MalformedError` where it is not what it should be,
    :class:`NotArchivedError` where a base is not here.
    """
    temp = writer.temp()
    span = bundle.span(payload)
    try:
        if payload.form is Form.PLAIN:
            hasher = BlobHasher(payload.size, git=payload.size <= GIT_LIMIT)
            _copy(span, temp, hasher, control)
            names = hasher.names()
            _refuse_other(payload, names)
            writer.publish_blob(temp, names.sha256, names.size, names.sums)
        else:
            _refuse_bomb(payload, tuning)
            _copy(span, temp, None, control)
            names = _take_capsule(archive, writer, temp, payload, control)
        archive.note_names(names)
        return names
    finally:
        disk.remove(temp)


def _copy(source: Readable, temp: Path, hasher: BlobHasher | None, control: Control) -> None:
    """Copies all of `source` to a new file, durably. It is hashed in a thread of its own."""
    hashing = None
    if hasher is not None:
        hashing = InOrder[tuple[memoryview, bytes]](lambda job: hasher.update(*job), "sha256")
    try:
        with disk.reporting(temp):
            fd = os.open(temp, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, disk.PRIVATE)
            try:
                for at in range(0, source.size, merkle.PIECE):
                    control.cancel.check()
                    piece = memoryview(bytearray(min(merkle.PIECE, source.size - at)))
                    source.readinto(at, piece)
                    if hashing is not None:
                        hashing.put((piece, merkle.piece_hash(piece)))
                    disk.append_all(fd, piece)
                    control.emit(Progress("bundle", len(piece)))
                disk.set_mode(fd, disk.READ_ONLY)
                disk.fsync(fd)
            finally:
                os.close(fd)
        if hashing is not None:
            hashing.close()
    finally:
        if hashing is not None:
            hashing.abandon()


def _take_capsule(
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
            plain = writer.temp()
            _copy(reader, plain, None, control)
            writer.publish_blob(plain, names.sha256, names.size, names.sums)
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
