"""The files of parity of an archive: written beside the blobs, compared, used, and removed."""

import contextlib
import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from outlast.codec.payload import Form
from outlast.core.digest import Digest
from outlast.core.errors import DiskFullError, MalformedError
from outlast.features.durability.parity.encode import encode
from outlast.features.durability.parity.geometry import ParityHead, Share
from outlast.features.durability.parity.mend import ParityMender, read_head
from outlast.features.durability.parity.sound import is_sound
from outlast.store import disk
from outlast.store.archive import Archive
from outlast.store.forms import StoredFile
from outlast.store.layout import PARITY_SUFFIX, Layout
from outlast.store.reading import BlobReader
from outlast.store.soundness.damage import Damage, Why

DEFAULT_PERCENT: Final = 2.0
RESERVE: Final = 64 << 20
"""Bytes of the disk that parity leaves free: downloads leave as much."""
_BY: Final = "parity"
Between = Callable[[int], object]
"""Is told how many bytes were read: it may wait, or raise."""


class ParityFiles:
    """Files of parity below `parity/` of an archive, one for the stored form of a blob each. All of
    them can be deleted: they follow from the blobs.
    """

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._layout = archive.layout

    def path(self, digest: Digest, form: Form) -> Path:
        return self._layout.parity_of(self._payload(digest, form))

    def _payload(self, digest: Digest, form: Form) -> Path:
        plain = form is Form.PLAIN
        return self._layout.blob(digest) if plain else self._layout.capsule(digest)

    def write(self, digest: Digest, share: Share, between: Between = bool) -> int:
        """Writes the parity of a blob's stored form, durably; how many bytes it has, 0 where the
        blob has none. Reads all of the blob, and compares it with its sha256. Raises
        :class:`DamagedError` where it is damaged: that is noted, and nothing is written; and
        :class:`DiskFullError` before the last room of the disk is used.
        """
        with self._archive.open_blob(digest, by=_BY) as blob, self._archive.writer() as session:
            if not blob.file.size:
                return 0
            form = _stored(blob)
            head = ParityHead(digest, form, blob.file.size, share)
            if disk.free_bytes(self._layout.home) < head.file_size + RESERVE:
                raise DiskFullError(
                    f"no room for parity of blob {digest.short}…: {head.file_size:,} bytes are "
                    f"needed, and {RESERVE:,} stay free"
                )
            if form is not Form.PLAIN:
                self._require(digest, blob, between)
            hasher = hashlib.sha256()

            def seen(data: memoryview) -> None:
                hasher.update(data)
                between(len(data))

            final, temp = self.path(digest, form), session.temp()
            with disk.reporting(final):
                disk.write_chunks(temp, encode(blob.file, head, seen))
                if form is Form.PLAIN and hasher.hexdigest() != digest.hex:
                    raise self._archive.soundness.damaged(digest, blob.stat(), (), _BY)
                with disk.locked(self._layout.lock, exclusive=False):
                    disk.publish(temp, final)
        return head.file_size

    def _require(self, digest: Digest, blob: BlobReader, between: Between) -> None:
        """A capsule is right if it restores the blob."""
        hasher = hashlib.sha256()
        for chunk in blob.chunks():
            hasher.update(chunk)
            between(0)
        if hasher.hexdigest() != digest.hex:
            damage = Damage(digest, Form.CAPSULE, Why.ROT, _BY)
            raise self._archive.soundness.note(damage, blob.stat())

    def is_sound(self, digest: Digest, form: Form, between: Between = bool) -> bool:
        """Reads a file of parity, and compares it with its own sums. Raises
        :class:`FileNotFoundError` where there is none.
        """
        with contextlib.closing(StoredFile(self.path(digest, form))) as parity:
            try:
                head = read_head(parity)
            except MalformedError:
                return False
            return (head.blob, head.form) == (digest, form) and is_sound(parity, head, between)

    def remove(self, digest: Digest, form: Form) -> None:
        path = self.path(digest, form)
        with disk.reporting(path):
            disk.remove(path)

    @contextlib.contextmanager
    def mender(self, blob: BlobReader) -> Iterator[ParityMender | None]:
        """What restores pieces of the file that holds `blob`; None where it has no parity, or none
        that can be used.
        """
        form = _stored(blob)
        try:
            parity = StoredFile(self.path(blob.digest, form))
        except FileNotFoundError:
            yield None
            return
        with contextlib.closing(parity):
            yield mender_of(blob.file, parity, blob.digest, form)

    def sweep(self) -> int:
        """Removes the parity of what is no longer stored in that form; how many bytes that freed.
        Harmless at any time.
        """
        freed = 0
        for path in _paths(self._layout):
            if self._is_needed(path):
                continue
            with disk.reporting(path), contextlib.suppress(FileNotFoundError):
                size = disk.space_of(os.lstat(path))
                if disk.remove(path):
                    freed += size
        return freed

    def _is_needed(self, path: Path) -> bool:
        """Whether the payload is there, whatever its bytes are now: the parity may be what mends
        them.
        """
        try:
            parity = StoredFile(path)
        except FileNotFoundError:
            return True  # another process removed it
        try:
            head = read_head(parity)
        except MalformedError:
            return False
        finally:
            parity.close()
        return self._payload(head.blob, head.form).exists() and (
            path == self.path(head.blob, head.form)
        )


def room_of(layout: Layout) -> tuple[int, int]:
    """How many files of parity there are, and how many bytes of the disk they take."""
    count = size = 0
    for path in _paths(layout):
        with disk.reporting(path), contextlib.suppress(FileNotFoundError):
            size += disk.space_of(os.lstat(path))
            count += 1
    return count, size


def _paths(layout: Layout) -> list[Path]:
    return disk.matching(layout.parity, "??", f"*{PARITY_SUFFIX}")


def _stored(blob: BlobReader) -> Form:
    return Form.PLAIN if blob.path is not None else Form.CAPSULE


def mender_of(
    payload: StoredFile, parity: StoredFile, digest: Digest, form: Form
) -> ParityMender | None:
    """None where the parity is that of another file, or cannot be used."""
    try:
        mender = ParityMender(payload, parity)
    except MalformedError:
        return None
    return mender if (mender.head.blob, mender.head.form) == (digest, form) else None
