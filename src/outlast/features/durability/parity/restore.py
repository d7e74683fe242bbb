"""Writes a damaged file of a blob anew, from what of it is right here and its parity: not one byte
comes from elsewhere.
"""

import contextlib
import logging
from collections.abc import Iterator

from outlast.codec import merkle
from outlast.codec.payload import Form
from outlast.core.cancel import Cancel
from outlast.core.digest import Digest
from outlast.core.errors import CorruptError, DiskFullError, IntegrityError, NotArchivedError
from outlast.features.durability.parity.files import RESERVE, ParityFiles
from outlast.features.durability.parity.mend import ParityMender, read_head
from outlast.fetch.salvage import noted_tree
from outlast.store import disk
from outlast.store.archive import Archive
from outlast.store.forms import StoredFile
from outlast.store.soundness import sums
from outlast.store.writer import WriteSession

_log = logging.getLogger(__name__)
_BEYOND = (IntegrityError, NotArchivedError)
"""More is lost than parity restores, or a base of the capsule is."""


def restore(archive: Archive, digest: Digest, cancel: Cancel) -> bool:
    """Mends what is noted as damaged of a blob, as far as it has parity: whether all is right now.
    The damaged file is only read: the right one takes its name once all of it was hashed. Raises
    :class:`DiskFullError`, :class:`StorageError`, :class:`Cancelled`.
    """
    for form in sorted({one.form for one in archive.damage.of(digest)}):
        try:
            _restore(archive, digest, form, cancel)
        except FileNotFoundError:
            _log.info("%s has no parity", digest)
        except _BEYOND as error:
            _log.info("%s is not mended from its parity: %s", digest, error)
    return not archive.damage.of(digest)


def _restore(archive: Archive, digest: Digest, form: Form, cancel: Cancel) -> None:
    layout, plain = archive.layout, form is Form.PLAIN
    payload = _Payload(StoredFile(layout.blob(digest) if plain else layout.capsule(digest)))
    with contextlib.ExitStack() as stack:
        stack.enter_context(contextlib.closing(payload.file))
        parity = StoredFile(ParityFiles(archive).path(digest, form))
        stack.enter_context(contextlib.closing(parity))
        head = read_head(parity)
        if (head.blob, head.form) != (digest, form):
            raise CorruptError("the parity is that of another file")
        payload.size = head.size
        if disk.free_bytes(layout.home) < head.size + RESERVE:
            raise DiskFullError(
                f"no room to mend blob {digest.short}…: {head.size + RESERVE:,} bytes are needed"
            )
        session = stack.enter_context(archive.writer())
        pieces = _Pieces(ParityMender(payload, parity), cancel)
        publish = _publish_plain if plain else _publish_capsule
        publish(archive, session, digest, pieces)


class _Payload:
    """The damaged file, as long as it should be: what is behind its end cannot be read."""

    def __init__(self, file: StoredFile) -> None:
        self.file = file
        self.size = file.size

    def readinto(self, offset: int, buffer: memoryview) -> None:
        self.file.readinto(offset, buffer)


class _Pieces:
    """The restored pieces, in order, and their sums."""

    def __init__(self, mender: ParityMender, cancel: Cancel) -> None:
        self._mender = mender
        self._cancel = cancel
        self.size = mender.head.size
        self.sums = bytearray()

    def __iter__(self) -> Iterator[memoryview]:
        for number in range(merkle.piece_count(self.size)):
            self._cancel.check()
            piece = memoryview(self._mender.piece(number))
            self.sums += sums.sum_of(piece)
            yield piece


def _publish_plain(
    archive: Archive, session: WriteSession, digest: Digest, pieces: _Pieces
) -> None:
    temp, size = session.temp(), pieces.size
    with disk.reporting(temp):
        found = disk.write_chunks(temp, pieces)
    if found != digest.hex:
        raise CorruptError(f"parity restores other bytes than those of {digest.short}…")
    tree = noted_tree(archive, digest, size)
    session.publish_blob(temp, digest, size, bytes(pieces.sums) if sums.is_needed(size) else b"")
    if tree is not None:  # of these bytes, in whatever file they were
        archive.forms.note_tree(digest, Form.PLAIN, tree)


def _publish_capsule(
    archive: Archive, session: WriteSession, digest: Digest, pieces: _Pieces
) -> None:
    temp = session.temp()
    with disk.reporting(temp):
        disk.write_chunks(temp, pieces)
    with archive.open_unverified(digest, temp) as capsule:
        size = capsule.size
        if capsule.sha256() != digest:
            raise CorruptError(f"parity restores another capsule than that of {digest.short}…")
    session.publish_capsule(temp, digest, size)
