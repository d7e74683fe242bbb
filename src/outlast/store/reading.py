"""Reading a blob, whatever form it has."""

import contextlib
import errno
import hashlib
import io
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, wait
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, TypeVar

from outlast.codec.payload import Form
from outlast.codec.reader import CapsuleReader
from outlast.core.closing import Closing
from outlast.core.digest import Digest
from outlast.core.errors import (
    CorruptError,
    IntegrityError,
    MalformedError,
    NotArchivedError,
    OutlastError,
)
from outlast.store.forms import MAX_LINKS, StoredFile, StoredForm
from outlast.store.soundness.checks import Between, CheckedFile, Soundness, damaged
from outlast.store.soundness.damage import Damage, Why
from outlast.store.soundness.table import Identity, identity_of

T = TypeVar("T")
_CHUNK: Final = 1 << 20
_BUFFER: Final = 4 << 20
_ATTEMPTS: Final = 3


class BlobReader(Closing):
    """The bytes of one blob, at any offset; threads may share it. Close it. No byte is given out
    that was not compared, with its piece or block, since the file changed: what differs raises
    :class:`DamagedError` or :class:`CorruptError`, and is noted as damage of the archive.

    `path` is the plain file, None where a capsule holds the blob; `capsule` is that capsule. The
    files stay open, so that a change of form or a collection meanwhile does no harm.
    """

    def __init__(
        self,
        digest: Digest,
        file: StoredFile,
        checks: Soundness,
        *,
        path: Path | None = None,
        capsule: CapsuleReader | None = None,
        bases: tuple["BlobReader", ...] = (),
        checked: CheckedFile | None = None,
    ) -> None:
        self.digest: Final = digest
        self._checks = checks
        self.path: Final = path
        self.capsule: Final = capsule
        self._file = file
        self._bases = bases
        self._checked: Final = checked
        self._source: Final = capsule or checked or file

    def close(self) -> None:
        self._file.close()
        for base in self._bases:
            base.close()

    @property
    def size(self) -> int:
        """Of the blob, in bytes."""
        return self._source.size

    @property
    def form(self) -> StoredForm:
        if self.capsule is None:
            return StoredForm(Form.PLAIN, self.size, self.size)
        bases = self.capsule.directory.bases
        form = Form.DELTA if bases else Form.CAPSULE
        return StoredForm(form, self.size, self._file.size, bases)

    @property
    def file(self) -> StoredFile:
        """What is on the disk, as it is and not compared: the plain bytes or the capsule's."""
        return self._file

    def is_compared(self, offset: int, length: int) -> bool:
        """Whether :meth:`require` of these bytes has nothing to do, as far as this process
        remembers.
        """
        return self._checked is None or self._checked.is_compared(offset, length)

    def duplicate(self) -> "BlobReader":
        """The same plain file, for another thread; it is closed by itself."""
        file = self._file.duplicate()
        checked = self._checks.plain(self.digest, file)
        return BlobReader(self.digest, file, self._checks, path=self.path, checked=checked)

    def is_unchanged(self, identity: Identity) -> bool:
        """Whether nothing was written to the file since :meth:`require` returned `identity`."""
        return identity_of(self.stat()) == identity

    def require(self, offset: int, length: int, between: Between = bool) -> Identity:
        """Compares those pieces of a range of a plain file that are to be, so that the bytes can be
        sent from the file itself, as long as it `is_unchanged`. Raises as `readinto` does.
        """
        if self._checked is None:
            return identity_of(self.stat())
        return self._checked.require(offset, length, between)

    def check(self, between: Between = bool) -> None:
        """Compares all of the file that is to be compared, and of its bases, whatever the form;
        `between` is told of the bytes that were read. Raises as `readinto` does.
        """
        self.require(0, self.size, between)
        if self.capsule is not None:
            self._checks.capsule(self.digest, self._file, self.capsule, between)
        for base in self._bases:
            base.check(between)

    def fileno(self) -> int:
        """The open file: the plain one where `path` is set, else the capsule."""
        return self._file.fd

    def stat(self) -> os.stat_result:
        """Of the open file; ``st_nlink`` is 0 once it was removed."""
        return os.fstat(self._file.fd)

    def readinto(self, offset: int, buffer: memoryview) -> None:
        """Fills `buffer` with the blob's bytes from `offset` on; they must be there. Raises
        :class:`CorruptError` (naming the block), :class:`MalformedError`, :class:`StorageError`.
        """
        self._source.readinto(offset, buffer)

    def chunks(self, executor: Executor | None = None, ahead: int = 4) -> Iterator[memoryview]:
        """All bytes, in order; each chunk is there until the next is asked for. A capsule is
        decoded block by block, up to `ahead` at once where there is an executor.
        """
        free: list[bytearray] = []

        def read(offset: int, length: int) -> tuple[bytearray, memoryview]:
            buffer = free.pop() if free else bytearray()
            if len(buffer) < length:
                buffer = bytearray(length)
            chunk = memoryview(buffer)[:length]
            self._source.readinto(offset, chunk)
            return buffer, chunk

        for buffer, chunk in _ordered(read, self._extents(), executor, ahead):
            yield chunk
            free.append(buffer)

    def sha256(self, executor: Executor | None = None) -> Digest:
        """What the bytes of today hash to: reads and decodes all of them."""
        hasher = hashlib.sha256()
        for chunk in self.chunks(executor):
            hasher.update(chunk)
        return Digest(hasher.hexdigest())

    def _extents(self) -> Iterator[tuple[int, int]]:
        if self.capsule is not None:
            yield from ((b.offset, b.length) for b in self.capsule.directory.blocks())
        else:
            for offset in range(0, self.size, _CHUNK):
                yield offset, min(_CHUNK, self.size - offset)

    def stream(self) -> io.BufferedReader:
        """The same as a file object; it takes this reader with it when it is closed."""
        return io.BufferedReader(_Stream(self), _BUFFER)


def _ordered(
    read: Callable[[int, int], T],
    extents: Iterable[tuple[int, int]],
    executor: Executor | None,
    ahead: int,
) -> Iterator[T]:
    if executor is None:
        yield from (read(*extent) for extent in extents)
        return
    under_way: deque[Future[T]] = deque()
    try:
        for extent in extents:
            under_way.append(executor.submit(read, *extent))
            if len(under_way) >= ahead:
                yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()
    finally:  # the files may be closed next
        for future in under_way:
            future.cancel()
        wait(under_way)


class _Stream(io.RawIOBase):
    def __init__(self, blob: BlobReader) -> None:
        self._blob = blob
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._require_open()
        starts = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._blob.size}
        if whence not in starts:
            raise ValueError(f"whence is {whence}, and must be 0, 1 or 2")
        if starts[whence] + offset < 0:  # as of a file that is too short to be a zip file
            raise OSError(errno.EINVAL, "a position before the start of the file")
        self._at = starts[whence] + offset
        return self._at

    def _require_open(self) -> None:
        if self.closed:
            raise ValueError("I/O operation on closed file")

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        self._require_open()
        count = max(0, min(len(buffer), self._blob.size - self._at))
        self._blob.readinto(self._at, memoryview(buffer)[:count])
        self._at += count
        return count

    def readall(self) -> bytes:
        """In one go: what Python does here, 8 KiB at a time, decodes each block many times."""
        return self.read(max(0, self._blob.size - self._at)) or b""

    def close(self) -> None:
        if not self.closed:
            self._blob.close()
        super().close()


def open_blob(checks: Soundness, digest: Digest, *, by: str = "read") -> BlobReader:
    """Opens a blob and all of its bases. `by` says who, where damage is noted. Raises
    :class:`DamagedError` where one of them is known to be damaged, :class:`NotArchivedError` where
    one is not here, :class:`MalformedError` where the chain of capsules is a circle or too long.
    """
    opening = _Opening(checks, by)
    for _ in range(_ATTEMPTS - 1):
        # Changes of form between the steps can look like a circle that was never there.
        with contextlib.suppress(MalformedError):
            return opening.blob(digest, ())
    return opening.blob(digest, ())


def open_damaged(checks: Soundness, digest: Digest, form: Form, *, by: str) -> BlobReader:
    """The file that holds a blob in a form (plain or capsule), whatever is known of it: for those
    who look for what of it is right. Pieces and blocks that are not raise as ever.
    """
    opening = _Opening(checks, by, anyway=True)
    try:
        if form is Form.PLAIN:
            return opening.plain(digest)
        return opening.capsule(digest, checks.layout.capsule(digest), ())
    except FileNotFoundError:
        raise _absent(digest) from None


def open_capsule(checks: Soundness, digest: Digest, path: Path) -> BlobReader:
    """What the capsule in the file `path` restores, whatever else holds the blob, and whatever is
    known of that; no damage of it is noted.
    """
    try:
        return _Opening(checks, "read", notes=False).capsule(digest, path, ())
    except FileNotFoundError:
        raise _absent(digest) from None


@dataclass(frozen=True, slots=True)
class _Opening:
    """How files are opened: `by` whom, and whether also those that are known to be damaged."""

    checks: Soundness
    by: str
    anyway: bool = False
    notes: bool = True
    """Whether what proves damaged is noted."""

    def blob(self, digest: Digest, above: tuple[Digest, ...]) -> BlobReader:
        self.refuse_damaged(digest)
        capsule = self.checks.layout.capsule(digest)
        for _ in range(_ATTEMPTS):  # a change of form may come in between
            try:
                plain = self.plain(digest)
            except FileNotFoundError:
                try:
                    return self.capsule(digest, capsule, above)
                except FileNotFoundError:
                    continue
            return self.better(plain, above) if capsule.exists() else plain
        raise _absent(digest)

    def refuse_damaged(self, digest: Digest) -> None:
        damage = () if self.anyway else self.checks.damage.of(digest)
        if damage:
            raise damaged(damage)

    def plain(self, digest: Digest) -> BlobReader:
        path = self.checks.layout.blob(digest)
        file = StoredFile(path)
        checked = self.checks.plain(digest, file, self.by)
        return BlobReader(digest, file, self.checks, path=path, checked=checked)

    def better(self, plain: BlobReader, above: tuple[Digest, ...]) -> BlobReader:
        """The plain file, unless the capsule that is there too says that it was cut short."""
        path = self.checks.layout.capsule(plain.digest)
        try:
            capsule = replace(self, notes=False).capsule(plain.digest, path, above)
        except (FileNotFoundError, OutlastError):
            return plain
        better, other = (plain, capsule) if plain.size == capsule.size else (capsule, plain)
        other.close()
        return better

    def capsule(self, digest: Digest, path: Path, above: tuple[Digest, ...]) -> BlobReader:
        file = StoredFile(path)
        bases: dict[Digest, BlobReader] = {}

        def note(*blocks: int) -> None:
            if self.notes:
                damage = Damage(digest, Form.CAPSULE, Why.ROT, self.by, blocks)
                raise self.checks.note(damage, os.fstat(file.fd))

        try:
            try:
                capsule = CapsuleReader(file, bases, note)
            except IntegrityError:
                note()
                raise
            _check(capsule, digest, above)
            for base in capsule.directory.bases:
                bases[base.sha256] = self.base(digest, base.sha256, (*above, digest))
            below = tuple(bases.values())
            return BlobReader(digest, file, self.checks, capsule=capsule, bases=below)
        except BaseException:
            file.close()
            for opened in bases.values():
                opened.close()
            raise

    def base(self, digest: Digest, base: Digest, above: tuple[Digest, ...]) -> BlobReader:
        try:
            return self.blob(base, above)
        except NotArchivedError as error:
            raise NotArchivedError(
                f"blob {digest.short}… depends on {base}, which is not in the archive",
                hint="pull the base model; or pull this one again, in full",
            ) from error


def _check(capsule: CapsuleReader, digest: Digest, above: tuple[Digest, ...]) -> None:
    """Checks that it is the capsule of `digest`, in a chain not too long and not a circle."""
    if capsule.sha256 != digest:
        raise CorruptError(f"the capsule of {digest} is that of another blob, {capsule.sha256}")
    bases = capsule.directory.bases
    if bases and len(above) >= MAX_LINKS:
        raise MalformedError(
            f"{above[0]} depends on a chain of more than {MAX_LINKS} delta capsules"
        )
    if any(base.sha256 in {*above, digest} for base in bases):
        raise MalformedError(f"{digest} depends on itself")


def _absent(digest: Digest) -> NotArchivedError:
    return NotArchivedError(f"blob {digest.short}… is not in the archive")
