"""The files of parity of an archive: written beside the blobs, found again, and removed."""

import contextlib
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from outlast.codec.payload import Form
from outlast.core.digest import Digest
from outlast.core.errors import CorruptError, MalformedError
from outlast.features.durability.parity.encode import encode
from outlast.features.durability.parity.geometry import ParityHead, Share
from outlast.features.durability.parity.mend import ParityMender, read_head
from outlast.store import disk
from outlast.store.archive import Archive
from outlast.store.forms import StoredFile
from outlast.store.reading import BlobReader

DEFAULT_PERCENT: Final = 2.0
_SUFFIX: Final = ".olp"


class ParityFiles:
    """Files of parity below `parity/` of an archive, one for the stored form of a blob each. All of
    them can be deleted: they follow from the blobs.
    """

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._folder = archive.layout.home / "parity"

    def path(self, digest: Digest, form: Form) -> Path:
        kind = "" if form is Form.PLAIN else ".olc"
        return self._folder / digest.hex[:2] / f"{digest.hex}{kind}{_SUFFIX}"

    def write(self, digest: Digest, percent: float = DEFAULT_PERCENT) -> bool:
        """Writes the parity of a blob's stored form, durably; False where it has no bytes. Reads
        all of them, and compares the blob with its sha256. Raises :class:`CorruptError` where it is
        damaged: nothing is written then.
        """
        with self._archive.open_blob(digest) as blob, self._archive.writer() as session:
            if not blob.file.size:
                return False
            form = _stored(blob)
            hasher = hashlib.sha256()
            if form is not Form.PLAIN and blob.sha256() != digest:
                raise CorruptError(f"{digest.short}… is damaged: no parity is made of it")
            head = ParityHead(digest, form, blob.file.size, Share.of_percent(percent))
            final, temp = self.path(digest, form), session.temp()
            with disk.reporting(final):
                disk.write_chunks(temp, encode(blob.file, head, hasher.update))
                if form is Form.PLAIN and hasher.hexdigest() != digest.hex:
                    raise CorruptError(f"{digest.short}… is damaged: no parity is made of it")
                with disk.locked(self._archive.layout.lock, exclusive=False):
                    disk.publish(temp, final)
        return True

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
        try:
            found = _mender(blob, parity)
            yield found if found and found.head.form is form else None
        finally:
            parity.close()

    def sweep(self) -> int:
        """Removes the parity of what is no longer stored in that form; how many bytes that freed.
        Harmless at any time.
        """
        freed = 0
        for path in disk.matching(self._folder, "??", f"*{_SUFFIX}"):
            if self._is_needed(path):
                continue
            with disk.reporting(path), contextlib.suppress(FileNotFoundError):
                size = disk.space_of(os.lstat(path))
                if disk.remove(path):
                    freed += size
        return freed

    def _is_needed(self, path: Path) -> bool:
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
        layout = self._archive.layout
        plain = head.form is Form.PLAIN
        payload = layout.blob(head.blob) if plain else layout.capsule(head.blob)
        try:
            size = os.stat(payload).st_size
        except FileNotFoundError:
            return False
        return size == head.size and path == self.path(head.blob, head.form)


def _stored(blob: BlobReader) -> Form:
    return Form.PLAIN if blob.path is not None else Form.CAPSULE


def _mender(blob: BlobReader, parity: StoredFile) -> ParityMender | None:
    try:
        mender = ParityMender(blob.file, parity)
    except MalformedError:
        return None
    return mender if mender.head.blob == blob.digest else None
