"""Capsules on their way into the archive: encoded while the bytes arrive."""

import contextlib
import functools
import logging
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final, Protocol

from outlast.codec import format as fmt
from outlast.codec import merkle
from outlast.codec.memory import InMemory, Readable
from outlast.codec.writer import Base
from outlast.core.digest import Digest, Names
from outlast.core.errors import (
    NotArchivedError,
    OutlastError,
    TooDeepError,
    TransientError,
)
from outlast.core.manifest import FileEntry
from outlast.intake.form_policy import (
    PLAIN,
    FormChoice,
    FormWishes,
    choose,
    container_of,
)
from outlast.intake.tuning import TUNING, Tuning
from outlast.store import disk
from outlast.store.archive import Archive
from outlast.store.encoding import Encoding
from outlast.store.reading import BlobReader
from outlast.store.writer import WriteSession

_log = logging.getLogger(__name__)

_BEHIND: Final = 6 * (2 << 20)
"""Bytes before the frontier that blocks under way, of up to 2 MiB each, may still need."""
_HEADER_PIECES: Final = 112
"""Pieces (1 MiB) in which a header must end: the longest has 100 MB."""
_WORKERS: Final = max(1, min(4, os.cpu_count() or 1))


class FindsBases(Protocol):
    """Finds the bases of a blob."""

    def of(self, blob: Readable, ready: int) -> Sequence[BlobReader]:
        """Blobs that resemble `blob`, of which the first `ready` bytes are here. Close them."""


@dataclass(frozen=True, slots=True)
class Intake:
    """How files come in: into which archive, in which form, with which bases."""

    archive: Archive
    writer: WriteSession
    wishes: FormWishes = PLAIN
    base_finder: FindsBases | None = None
    tuning: Tuning = TUNING


class CapsuleFile:
    """A capsule of `blob` in a temp file, encoded on all cores. Publish it, or only close it."""

    def __init__(self, writer: WriteSession, blob: Readable, bases: Sequence[Base] = ()) -> None:
        self._pool = ThreadPoolExecutor(_WORKERS, thread_name_prefix="encode")
        self._encoding = Encoding(writer, blob, bases=bases, executor=self._pool)

    @property
    def started(self) -> bool:
        """Whether the header was understood, and is not read again."""
        return self.size > len(fmt.HEAD)

    @property
    def size(self) -> int:
        """Bytes of the capsule so far."""
        return self._encoding.written

    def advance(self, frontier: int) -> None:
        """Encodes what can be, now that the first `frontier` bytes of the blob are there."""
        self._encoding.advance(frontier)

    def finish(self, sha256: Digest) -> None:
        """Writes the rest, durably. The blob is all there, and `sha256` is its name."""
        self._encoding.finish(sha256)

    def publish(self, sha256: Digest) -> bool:
        """Makes the capsule part of the archive; False where a base of it went away."""
        try:
            self._encoding.publish(sha256)
        except (NotArchivedError, TooDeepError):
            return False
        return True

    def close(self) -> None:
        """Ends the work; deletes what was not published."""
        self._pool.shutdown(cancel_futures=True)
        self._encoding.close()


class OpenFile:
    """The bytes of an open file of `size` bytes."""

    def __init__(self, fd: int, size: int) -> None:
        self.fd: Final = fd
        self.size: Final = size

    def readinto(self, offset: int, buffer: memoryview) -> None:
        if not disk.read_exactly(self.fd, buffer, offset):
            raise TransientError("a file became shorter while it was read")


class _Window:
    """The last pieces of a file that is read once, from its beginning."""

    def __init__(self, size: int) -> None:
        self.size: Final = size
        self._pieces: dict[int, memoryview] = {}

    def __len__(self) -> int:
        return len(self._pieces)

    def add(self, offset: int, piece: memoryview) -> None:
        self._pieces[offset // merkle.PIECE] = piece

    def drop(self, below: int) -> None:
        """Forgets the pieces that end at `below` or before."""
        for index in [i for i in self._pieces if (i + 1) * merkle.PIECE <= below]:
            del self._pieces[index]

    def readinto(self, offset: int, buffer: memoryview) -> None:
        while buffer:
            index, skip = divmod(offset, merkle.PIECE)
            found = self._pieces[index][skip : skip + len(buffer)]
            if not found:
                raise EOFError
            buffer[: len(found)] = found
            offset += len(found)
            buffer = buffer[len(found) :]


class CapsuleSink:
    """The capsule of a file that is read once: just the bytes that are hashed are encoded."""

    def __init__(
        self, writer: WriteSession, size: int, bases: Sequence[Base], wishes: FormWishes
    ) -> None:
        self._window = _Window(size)
        self._wishes = wishes
        self._capsule = CapsuleFile(writer, self._window, bases)
        self._over = False

    @property
    def most(self) -> int:
        if self._over:
            return 0
        return _BEHIND // merkle.PIECE + 2 if self._capsule.started else _HEADER_PIECES

    def take(self, offset: int, piece: memoryview) -> int:
        end = offset + len(piece)
        if not self._over:
            self._window.add(offset, piece)
            self._capsule.advance(end)
            begun = self._capsule.started
            stuck = not begun and len(self._window) >= _HEADER_PIECES
            self._over = stuck or not self._wishes.keeps(self._capsule.size, self._window.size)
        if self._over:
            return end
        needed = max(0, end - _BEHIND) if begun else 0
        self._window.drop(needed)
        return needed

    def publish(self, names: Names) -> bool:
        """Makes the capsule part of the archive; False where it is not to be kept."""
        if self._over:
            return False
        self._capsule.finish(names.sha256)
        kept = self._wishes.keeps(self._capsule.size, names.size)
        return kept and self._capsule.publish(names.sha256)

    def close(self) -> None:
        self._capsule.close()


def held_bytes(archive: Archive, entries: Iterable[FileEntry]) -> int:
    """Bytes of the disk that the files of these blobs take, each counted once."""
    blobs = {entry.sha256 for entry in entries if entry.sha256 is not None}
    return sum(map(archive.forms.space_of, blobs))


@contextlib.contextmanager
def chosen(intake: Intake, blob: Readable, ready: int) -> Iterator[FormChoice]:
    """The form for a blob of which the first `ready` bytes are here; its bases stay
    open for as long as the context lasts.
    """
    with contextlib.ExitStack() as stack:
        readers = intake.base_finder.of(blob, ready) if intake.base_finder is not None else ()
        for reader in readers:
            stack.callback(reader.close)
        bases = [Base(reader.digest, reader) for reader in readers]
        yield choose(blob, ready, intake.wishes, bases)


def put(intake: Intake, data: bytearray, names: Names) -> None:
    """Stores a small verified blob in the form that pays."""
    blob = InMemory(data)
    if intake.wishes.tries(names.size):
        with chosen(intake, blob, names.size) as choice:
            if choice.encode and _put_capsule(intake, blob, names, choice):
                return
    intake.archive.put(intake.writer, data, names)


def _put_capsule(intake: Intake, blob: Readable, names: Names, choice: FormChoice) -> bool:
    with contextlib.closing(CapsuleFile(intake.writer, blob, choice.bases)) as capsule:
        capsule.finish(names.sha256)
        return intake.wishes.keeps(capsule.size, names.size) and capsule.publish(names.sha256)


@contextlib.contextmanager
def _closed_on_error(capsule: CapsuleFile | None) -> Iterator[None]:
    try:
        yield
    except BaseException:
        if capsule is not None:
            capsule.close()
        raise


class _StoppedError(Exception):
    """The capsule is not wanted any more."""


class _RestartedError(Exception):
    """The bytes were wrong: others come in their place."""


class Follower:
    """Encodes a file behind the hashing of it, out of the page cache. What goes wrong here costs
    the capsule, never the file: then the plain form is kept.

    The beginning of the file says what to begin with. The whole has the last word: where it asks
    for another form, the file is encoded once more. So the form is that which `add` and `pack`
    choose.
    """

    def __init__(
        self,
        intake: Intake,
        blob: Readable,
        has_room: Callable[[int], bool],
        cards: threading.Event | None = None,
    ) -> None:
        """`has_room` says whether so many bytes of the disk are not needed otherwise; it is asked
        once. `cards`, if any, is set once all is known that names bases.
        """
        self._intake = intake
        self._wishes = intake.wishes
        self._blob = blob
        self._has_room = functools.cache(lambda: has_room(blob.size))
        self._cards = cards
        self._state = threading.Condition()
        self._frontier = 0
        self._epoch = 0
        self._stopped = False
        self._names: Names | None = None
        self._capsule: CapsuleFile | None = None
        self._over = not intake.wishes.tries(blob.size)
        self._thread = threading.Thread(target=self._run, daemon=True)
        if not self._over:
            self._thread.start()

    # Called by the thread that hashes

    def advance(self, frontier: int) -> None:
        """The first `frontier` bytes are here, and not known to be wrong."""
        with self._state:
            self._frontier = frontier
            self._state.notify_all()

    def restart(self) -> None:
        """Some of them were not: what was made from them is void."""
        with self._state:
            self._epoch += 1
            self._frontier = 0
            self._state.notify_all()

    def finish(self, names: Names, check: Callable[[], None]) -> CapsuleFile | None:
        """All bytes are verified: the capsule, if it is to be kept. `check` may end the waiting
        with an error.
        """
        with self._state:
            self._names = names
            self._frontier = names.size
            self._state.notify_all()
            while not self._over:
                self._state.wait(0.5)
                check()
            return self._capsule

    def close(self) -> None:
        """Ends the work and drops its result."""
        with self._state:
            self._stopped = True
            self._state.notify_all()
        if self._thread.ident is not None:
            self._thread.join()
        if self._capsule is not None:
            self._capsule.close()

    # The thread

    def _run(self) -> None:
        try:
            while True:
                with self._state:
                    epoch = self._epoch
                try:
                    self._capsule = self._encode(epoch)
                except _RestartedError:
                    continue
                return
        except (_StoppedError, OutlastError, OSError):
            return
        finally:
            with self._state:
                self._over = True
                self._state.notify_all()

    def _wait(self, epoch: int, needed: int) -> int:
        """The frontier, once it is at `needed` or beyond."""
        with self._state:
            while True:
                if self._stopped:
                    raise _StoppedError
                if self._epoch != epoch:
                    raise _RestartedError
                if self._frontier >= needed:
                    return self._frontier
                self._state.wait(0.5)

    def _encode(self, epoch: int) -> CapsuleFile | None:
        """The finished capsule of the verified file; None if it is to stay plain."""
        size = self._blob.size
        with contextlib.ExitStack() as stack:
            ready = self._wait(epoch, min(size, self._intake.tuning.prefix_bytes))
            choice = stack.enter_context(self._chosen(epoch, ready))
            capsule = self._follow(epoch, choice)
            if ready < size:
                with _closed_on_error(capsule):
                    self._wait(epoch, size)
                    last = stack.enter_context(self._chosen(epoch, size))
                if not last.agrees_with(choice):
                    _log.debug("the whole file asks for another form than its beginning")
                    if capsule is not None:
                        capsule.close()
                    capsule = self._follow(epoch, last)
            with _closed_on_error(capsule):
                names = self._verified(epoch)  # wrong bytes say nothing of the right ones
                if capsule is not None:
                    capsule.finish(names.sha256)
            if capsule is not None and not self._wishes.keeps(capsule.size, size):
                capsule.close()
                return None
            return capsule

    @contextlib.contextmanager
    def _chosen(self, epoch: int, ready: int) -> Iterator[FormChoice]:
        if self._needs_cards(ready):
            while self._cards is not None and not self._cards.wait(0.5):
                self._wait(epoch, 0)
        with chosen(self._intake, self._blob, ready) as choice:
            yield choice

    def _needs_cards(self, ready: int) -> bool:
        """Whether the file may have a base that a card names, which is not here yet."""
        if self._cards is None or self._cards.is_set() or not self._wishes.uses_bases:
            return False
        container = container_of(self._blob, ready)
        return container is not None and bool(container.tensors)

    def _follow(self, epoch: int, choice: FormChoice) -> CapsuleFile | None:
        """A capsule with all of the file's blocks; None where it does not pay, or has no room."""
        size, at = self._blob.size, 0
        if not choice.encode or not self._has_room():
            return None
        capsule = CapsuleFile(self._intake.writer, self._blob, choice.bases)
        with _closed_on_error(capsule):
            while at < size:
                at = min(self._wait(epoch, at + 1), at + self._intake.tuning.step_bytes)
                capsule.advance(at)
                if not self._wishes.keeps(capsule.size, size):
                    capsule.close()
                    return None
        return capsule

    def _verified(self, epoch: int) -> Names:
        """The names of the whole, once it was found right."""
        while True:
            self._wait(epoch, self._blob.size)
            with self._state:
                if self._names is not None:
                    return self._names
                self._state.wait(0.5)
