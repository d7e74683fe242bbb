"""Checks payloads while they go by: a damaged blob must not leave the archive."""

import bisect
import hashlib
from collections.abc import Sequence
from typing import Final, Protocol

from outlast.codec import kernels
from outlast.codec.bundle.contents import BundleContents, BundledBlob
from outlast.codec.format import HEAD, Block
from outlast.codec.payload import Form
from outlast.codec.reader import read_directory
from outlast.core.digest import Digest
from outlast.core.errors import CorruptError
from outlast.features.bundle.archive_stream import ArchiveStream, DamagedPayloadError, Piece
from outlast.store.archive import Archive
from outlast.store.forms import StoredFile
from outlast.store.soundness import sums
from outlast.store.soundness.sums import Summing, Sums

_CHUNK: Final = 1 << 20


class _Check(Protocol):
    def update(self, data: memoryview) -> None:
        """The next bytes of the payload. Raises :class:`CorruptError`."""

    def finish(self) -> None:
        """All of them went by. Raises :class:`CorruptError`."""


class PayloadChecks:
    """Takes the bytes of the stream in their order, from wherever they come, and compares each
    payload with its name. What is left out between two calls is read from the archive, as far as
    the payload needs it that goes on behind it. Raises :class:`DamagedPayloadError`.
    """

    def __init__(
        self, archive: Archive, contents: BundleContents, records: Sequence[bytes]
    ) -> None:
        self._archive = archive
        self._stream = ArchiveStream(archive, contents, records)
        self._pieces = [piece for piece in self._stream.pieces if piece.payload is not None]
        self._ends = [piece.end for piece in self._pieces]
        self._number = 0
        self._reached = 0
        self._check: _Check | None = None

    def close(self) -> None:
        self._stream.close()

    def update(self, offset: int, data: memoryview) -> None:
        """The bytes from `offset` of the stream on."""
        if offset > self._reached:
            self._skip(offset)
        end = self._reached = offset + len(data)
        while self._number < len(self._pieces):
            piece = self._pieces[self._number]
            if piece.start >= end and piece.end != end:
                return
            try:
                self._feed(piece, data[max(0, piece.start - offset) : max(0, piece.end - offset)])
                if piece.end > end:
                    return
                self._finish()
            except CorruptError as error:
                raise DamagedPayloadError(str(error), piece) from None
            self._number += 1

    def _feed(self, piece: Piece, data: memoryview) -> None:
        assert piece.payload is not None
        if self._check is None:
            self._check = _check_of(self._archive, piece.payload)
        self._check.update(data)

    def _finish(self) -> None:
        assert self._check is not None
        self._check.finish()
        self._check = None

    def _skip(self, offset: int) -> None:
        """Goes on at `offset`: only a payload that lies across it is still to be judged."""
        self._check = None
        self._number = bisect.bisect_right(self._ends, offset)
        if self._number == len(self._pieces):
            return
        piece = self._pieces[self._number]
        at = piece.start
        while at < offset:
            data = memoryview(bytearray(min(_CHUNK, offset - at)))
            self._stream.readinto(at, data)
            self._feed(piece, data)
            at += len(data)


def _check_of(archive: Archive, payload: BundledBlob) -> _Check:
    if payload.form is not Form.PLAIN:
        return _CapsuleCheck(archive, payload)
    known = sums.load(archive.layout.sums_of(payload.blob), payload.blob, payload.size)
    return _HashCheck(payload.blob) if known is None else _SumsCheck(known)


class _SumsCheck:
    """Compares each piece of a plain file with its sum, from the pass that hashed it: that tells
    rot, and takes a sixth of the time of a sha256. Who reads the bundle compares that anyway.
    """

    def __init__(self, known: Sums) -> None:
        self._known = known
        self._summing = Summing()

    def update(self, data: memoryview) -> None:
        self._summing.update(data)

    def finish(self) -> None:
        found = self._summing.of(self._known.blob)
        if found != self._known:
            raise CorruptError(f"blob {self._known.blob} is damaged: its sums differ")


class _HashCheck:
    """Hashes a plain file that has no sums: it is of one piece, or they are lost."""

    def __init__(self, blob: Digest) -> None:
        self._blob = blob
        self._hash = hashlib.sha256()

    def update(self, data: memoryview) -> None:
        self._hash.update(data)

    def finish(self) -> None:
        if self._hash.hexdigest() != self._blob.hex:
            raise CorruptError(f"blob {self._blob} is damaged: its sha256 is not its name")


class _CapsuleCheck:
    """Compares each block of a capsule with its checksum, which the directory has."""

    def __init__(self, archive: Archive, payload: BundledBlob) -> None:
        self._blob = payload.blob
        file = StoredFile(archive.layout.capsule(payload.blob))
        try:
            directory = read_directory(file)
        finally:
            file.close()
        if directory.sha256 != payload.blob or directory.size != payload.size:
            raise CorruptError(f"the capsule of {payload.blob} is that of another blob")
        self._end = directory.payload_end
        self._tail = directory.pack_end()
        self._blocks = directory.blocks()
        self._next: Block | None = next(self._blocks, None)
        self._at = 0
        self._held = bytearray()

    def update(self, data: memoryview) -> None:
        """Holds what lies from the start of the next block on."""
        self._held += data
        if not self._at and not self._held.startswith(HEAD[: len(self._held)]):
            raise self._damaged("the head of its capsule")
        while self._next is not None:
            skip = self._next.payload_offset - self._at
            end = skip + self._next.payload_length
            if len(self._held) < end:
                return
            with memoryview(self._held) as held, held[skip:end] as payload:
                is_right = kernels.xxh3(payload) == self._next.checksum
            if not is_right:
                raise self._damaged(f"block {self._next.number} of its capsule")
            del self._held[:end]
            self._at += end
            self._next = next(self._blocks, None)

    def finish(self) -> None:
        if self._next is not None or bytes(self._held[self._end - self._at :]) != self._tail:
            raise self._damaged("the end of its capsule")

    def _damaged(self, what: str) -> CorruptError:
        return CorruptError(f"blob {self._blob} is damaged: {what}")
