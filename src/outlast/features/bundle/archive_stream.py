"""The stream of a bundle that is to be written, straight from an archive."""

import bisect
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from outlast.codec.bundle.contents import BundleContents, BundledBlob
from outlast.codec.memory import InMemory, Readable
from outlast.codec.payload import Form
from outlast.core.closing import Closing
from outlast.core.errors import CorruptError, TransientError
from outlast.store.archive import Archive
from outlast.store.forms import StoredFile, StoredForm

if TYPE_CHECKING:
    from outlast.core.digest import Digest
    from outlast.store.reading import BlobReader

_MOST_OPEN: Final = 48
"""Files of the archive that are open at once."""


@dataclass(frozen=True, slots=True)
class Piece:
    """What lies from `start` on in the stream; `payload` is None for contents and records."""

    start: int
    size: int
    data: bytes = b""
    payload: BundledBlob | None = None

    @property
    def end(self) -> int:
        return self.start + self.size


class DamagedPayloadError(Exception):
    """What is archived as `piece` of the stream is damaged; an export says of which file."""

    def __init__(self, message: str, piece: Piece) -> None:
        super().__init__(message)
        self.piece = piece


class ArchiveStream(Closing):
    """The bytes of the stream at any offset, with zeros where nothing lies: a
    :class:`~outlast.codec.memory.Readable`. Not thread-safe.
    """

    def __init__(
        self, archive: Archive, contents: BundleContents, records: Sequence[bytes]
    ) -> None:
        """`records`: the bytes of the records, in their order."""
        self._archive = archive
        base = contents.base
        self.pieces: Final = (
            Piece(0, len(contents.encoded), contents.encoded),
            *(
                Piece(base + record.offset, record.size, data)
                for record, data in zip(contents.records, records, strict=True)
            ),
            *(
                Piece(base + payload.offset, payload.length, payload=payload)
                for payload in contents.payloads
            ),
        )
        self._starts = [piece.start for piece in self.pieces]
        self.size: Final = contents.geometry.stream
        self._open: OrderedDict[Digest, _Source] = OrderedDict()

    def close(self) -> None:
        for source in self._open.values():
            source.close()
        self._open.clear()

    def at(self, offset: int) -> int:
        """The number of the piece that has the byte at `offset`, or is the last one before it."""
        return bisect.bisect_right(self._starts, offset) - 1

    def readinto(self, offset: int, buffer: memoryview) -> None:
        """Raises :class:`DamagedPayloadError` as well."""
        number = self.at(offset)
        while buffer:
            while number + 1 < len(self.pieces) and self.pieces[number + 1].start <= offset:
                number += 1
            piece = self.pieces[number]
            take = min(len(buffer), max(0, piece.end - offset))
            if take:
                self._read(piece, offset - piece.start, buffer[:take])
            else:  # the zeros behind the contents, or behind the end
                if number + 1 < len(self.pieces):
                    take = min(len(buffer), self.pieces[number + 1].start - offset)
                else:
                    take = len(buffer)
                buffer[:take] = bytes(take)
            offset += take
            buffer = buffer[take:]

    def _read(self, piece: Piece, offset: int, buffer: memoryview) -> None:
        try:
            self._source(piece).readinto(offset, buffer)
        except CorruptError as error:
            raise DamagedPayloadError(str(error), piece) from None

    def _source(self, piece: Piece) -> Readable:
        payload = piece.payload
        if payload is None:
            return InMemory(piece.data)
        found = self._open.pop(payload.blob, None)
        if found is None:
            while len(self._open) >= _MOST_OPEN:
                self._open.popitem(last=False)[1].close()
            found = _Source(self._archive, payload)
        self._open[payload.blob] = found
        return found.bytes


class _Source(Closing):
    """One payload, open. Raises :class:`TransientError` if the archive has it in another form by
    now.
    """

    def __init__(self, archive: Archive, payload: BundledBlob) -> None:
        self.bytes: Readable
        self._reader: BlobReader | None = None
        self._file: StoredFile | None = None
        if payload.form is Form.PLAIN:
            self._reader = archive.open_blob(payload.blob)
            self.bytes = self._reader
        else:
            try:
                self._file = StoredFile(archive.layout.capsule(payload.blob))
            except FileNotFoundError:
                raise _changed(payload) from None
            self.bytes = self._file
        if self.bytes.size != payload.length:
            self.close()
            raise _changed(payload)

    def close(self) -> None:
        for opened in (self._reader, self._file):
            if opened is not None:
                opened.close()


def payload_form(held: StoredForm, *, plain: bool) -> tuple[Form, int]:
    """The form of a payload, and its length, for a blob that is held so."""
    if plain or held.form is Form.PLAIN:
        return Form.PLAIN, held.size
    return Form.CAPSULE, held.stored_bytes


def _changed(payload: BundledBlob) -> TransientError:
    return TransientError(
        f"blob {payload.blob.short}… was packed or unpacked while it was exported"
    )
