"""Checks what a capsule restores: decoded and hashed while its pieces come."""

from typing import TYPE_CHECKING, Final

from outlast.codec import merkle
from outlast.core.cancel import Cancel
from outlast.core.closing import Closing
from outlast.core.errors import CorruptError, MalformedError
from outlast.fetch.download import Download
from outlast.intake.local_file import Rereading
from outlast.store.archive import Archive

if TYPE_CHECKING:
    from outlast.core.digest import Names
    from outlast.store.reading import BlobReader

_NO_NAME: Final = "it names no sha256"


class CapsuleCheck(Closing):
    """The file of a download that comes as a capsule. Not thread-safe.

    `names`: the digests of the file, once all of it is hashed. `problem`: why the capsule does not
    restore that file, as soon as this is known.
    """

    def __init__(self, archive: Archive, download: Download) -> None:
        self.names: Names | None = None
        self.problem: str | None = None if download.entry.sha256 is not None else _NO_NAME
        self._archive = archive
        self._download = download
        self._entry = download.entry
        self._reader: BlobReader | None = None
        self._reading: Rereading | None = None
        self._try_at = 0

    def close(self) -> None:
        if self._reader is not None:
            self._reader.close()

    def advance(self, pieces: int, cancel: Cancel) -> None:
        """So many pieces of the capsule are verified, from its start on."""
        if self.problem is not None:
            return
        verified = min(pieces * merkle.PIECE, self._download.size)
        try:
            self._open(verified)
            self._read(verified, cancel)
        except (CorruptError, MalformedError) as error:
            self.problem = str(error)

    def _open(self, verified: int) -> None:
        """Opens the capsule as soon as its end is here, which has the directory."""
        whole = verified == self._download.size
        if self._reader is not None or self._entry.sha256 is None:
            return
        if not whole and (verified < self._try_at or not self._download.shows_end()):
            return
        self._try_at = 2 * verified
        try:
            self._reader = self._archive.open_unverified(
                self._entry.sha256, self._download.partial.path
            )
        except (CorruptError, MalformedError):
            if whole:
                raise
            return  # a large directory, of which a part is missing
        if self._reader.size != self._entry.size:
            raise MalformedError(f"it restores {self._reader.size} bytes")
        self._reading = Rereading(self._reader)

    def _read(self, verified: int, cancel: Cancel) -> None:
        if self._reading is None or self._reader is None or self._reader.capsule is None:
            return
        directory = self._reader.capsule.directory
        while not self._reading.is_done:
            cancel.check()
            last = directory.block(directory.block_at(self._reading.end - 1))
            if last.payload_offset + last.payload_length > verified:
                return
            self._reading.step()
        if self.names is None:
            self.names = self._reading.names()
            self.problem = self._entry.mismatch(self.names)
