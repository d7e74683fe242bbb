"""Checks the files that hold blobs, from their first byte to their last: by checksums of pieces and
blocks, or by the sha256 of what they restore. What proves damaged is noted in the archive.

Bytes come from the disk and not from memory, as far as the platform lets us say so.
"""

import contextlib
import errno
import hashlib
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Final

from outlast.codec import merkle
from outlast.codec.format import Block
from outlast.codec.merkle import Tree
from outlast.codec.payload import Form
from outlast.core.digest import Digest, Names
from outlast.core.errors import (
    DamagedError,
    IntegrityError,
    MalformedError,
    NotArchivedError,
    StorageError,
)
from outlast.core.threads import one_ahead
from outlast.features.durability.scrub.restored import Judge, TreeJudge, WholeJudge
from outlast.features.durability.scrub.track import Track
from outlast.features.durability.scrub.tuning import TUNING
from outlast.fetch.salvage import noted_tree
from outlast.store import disk, reading
from outlast.store.archive import Archive
from outlast.store.forms import StoredFile
from outlast.store.reading import BlobReader
from outlast.store.soundness import sums
from outlast.store.soundness.checks import Soundness, full_stamp
from outlast.store.soundness.damage import Damage, Why
from outlast.store.soundness.table import Compared, Table

BY: Final = "scrub"
Between = Callable[[int], object]
"""Is told how many bytes of a file were read: it may wait, or raise."""


@dataclass(frozen=True, slots=True)
class Checks:
    """What a check of one file found. `damaged`: bytes are wrong, and it is noted. `frame`: parts
    of a capsule are damaged that it has twice, so that it still reads. `sums`: the sums of a plain
    file were damaged, and are written anew. `problem`: it could not be checked, for a person.
    """

    damaged: bool = False
    frame: tuple[str, ...] = ()
    sums: bool = False
    problem: str = ""


class FileChecks:
    """Checks files of one archive, one at a time. `ahead` reads while a file is hashed."""

    def __init__(self, archive: Archive, ahead: Executor) -> None:
        self._archive = archive
        self._ahead = ahead

    def _fresh(self) -> Soundness:
        """For one file: nothing that was compared before counts, and servers lose nothing of what
        they know.
        """
        archive = self._archive
        return Soundness(
            archive.layout,
            _Nothing(archive),
            archive.damage,
            archive.soundness.write_derived,
            tuning=archive.soundness.tuning,
            table=Table(),
        )

    def plain(self, blob: Digest, between: Between, track: Track, *, full: bool) -> Checks:
        """Checks a plain file. Where the blob is known to be damaged, it is hashed in any case:
        nothing less ends that.
        """
        known = self._archive.damage.of(blob)
        had = self._archive.layout.sums_of(blob).exists()
        size = self._archive.forms.plain_size(blob) or 0
        torn = had and sums.load(self._archive.layout.sums_of(blob), blob, size) is None
        try:
            with reading.open_damaged(self._fresh(), blob, Form.PLAIN, by=BY) as reader:
                _drop_pages(reader.fileno())
                if full or any(one.form is Form.PLAIN for one in known):
                    damaged = self._hash_plain(reader, between, track)
                else:
                    damaged = self._compare_plain(reader, between, track)
                _drop_pages(reader.fileno())
        except NotArchivedError:  # collected, or in another form meanwhile
            return Checks()
        return Checks(damaged=damaged, sums=torn and not damaged)

    def _compare_plain(self, reader: BlobReader, between: Between, track: Track) -> bool:
        began, stat = time.monotonic(), reader.stat()
        damaged, first = False, 0
        sums_path = self._archive.layout.sums_of(reader.digest)
        if sums.load(sums_path, reader.digest, reader.size) is not None:
            first = track.start("sums", full_stamp(stat))
        for index in range(first, merkle.piece_count(reader.size)):
            start = index * merkle.PIECE
            length = min(merkle.PIECE, reader.size - start)
            try:
                # Without sums, the first of these reads all of the file.
                reader.require(start, length, bool if track.resumes else between)
            except DamagedError:
                damaged = True
                self._archive.soundness.forget(reader.digest)
                if os.fstat(reader.fileno()).st_size != stat.st_size:
                    break
            if track.resumes:
                track.reached(index + 1)
                between(length)
        if not (damaged or first):
            compared = Compared(reader.size, began + self._archive.soundness.tuning.recheck)
            compared.set_whole()
            self._archive.soundness.note_right(reader.digest, stat, compared)
        return damaged

    def _hash_plain(self, reader: BlobReader, between: Between, track: Track) -> bool:
        stat, tree = reader.stat(), self._tree_of(reader)
        try:
            if tree is not None:
                return self._hash_pieces(reader, tree, between, track)
            sha256, values = self._hash(reader.file, between)
        except OSError as error:
            if error.errno != errno.EIO:
                raise disk.storage_error(error, reader.file.path) from error
            damage = Damage(reader.digest, Form.PLAIN, Why.UNREADABLE, BY)
            self._archive.soundness.note(damage, stat)
            return True
        needed = values if sums.is_needed(reader.size) else b""
        names = Names(reader.size, sha256, None, None, sums=needed)
        return self._archive.soundness.judge(reader.digest, stat, names, BY) is not None

    def _tree_of(self, reader: BlobReader) -> Tree | None:
        """That of a large blob's plain bytes: by it a check can end within the file."""
        if reader.size <= TUNING.by_tree:
            return None
        return noted_tree(self._archive, reader.digest, reader.size)

    def _hash_pieces(self, reader: BlobReader, tree: Tree, between: Between, track: Track) -> bool:
        """Hashes a plain file by its tree; all pieces that are wrong are noted."""
        blob, stat, soundness = reader.digest, reader.stat(), self._archive.soundness
        first = track.start("tree", full_stamp(stat), self._archive.damage.of(blob))
        judge = TreeJudge(tree, first)
        window = memoryview(bytearray(TUNING.window))
        for start in range(first * merkle.PIECE, reader.size, TUNING.window):
            part = window[: min(TUNING.window, reader.size - start)]
            if not disk.read_exactly(reader.fileno(), part, start):
                raise OSError(errno.EIO, "the file became shorter")
            judge.add(part)
            for index in judge.wrong:
                soundness.damaged(blob, stat, (index,), BY)
            if not judge.wrong:
                track.reached(judge.done)
            between(len(part))
        if not judge.wrong:
            if first:
                self._archive.damage.clear(blob, Form.PLAIN)
            else:
                soundness.note_whole(blob, stat)
        return bool(judge.wrong)

    def _hash(self, file: StoredFile, between: Between) -> tuple[Digest, bytes]:
        """The sha256 and the sums: one thread reads and sums while this one hashes."""
        hasher, values = hashlib.sha256(), bytearray()
        buffers = [memoryview(bytearray(TUNING.window)) for _ in range(2)]

        def read(start: int, turn: int) -> tuple[memoryview, bytes]:
            window = buffers[turn][: min(TUNING.window, file.size - start)]
            if not disk.read_exactly(file.fd, window, start):
                raise OSError(0, "the file became shorter")
            parts = range(0, len(window), merkle.PIECE)
            return window, b"".join(sums.sum_of(window[at : at + merkle.PIECE]) for at in parts)

        starts = range(0, file.size, TUNING.window)
        with contextlib.closing(one_ahead(read, starts, self._ahead)) as windows:
            for window, found in windows:
                hasher.update(window)
                values += found
                between(len(window))
        return Digest(hasher.hexdigest()), bytes(values)

    def capsule(self, blob: Digest, between: Between, track: Track, *, full: bool) -> Checks:
        """Checks a capsule, not what it depends on."""
        known = self._archive.damage.of(blob)
        try:
            with reading.open_damaged(self._fresh(), blob, Form.CAPSULE, by=BY) as reader:
                _drop_pages(reader.fileno())
                if full or any(one.form is Form.CAPSULE for one in known):
                    found = self._decode(reader, between, track)
                else:
                    found = self._compare_capsule(reader, between, track)
                _drop_pages(reader.fileno())
                return found
        except NotArchivedError as error:
            path = self._archive.layout.capsule(blob)
            return Checks(problem=str(error)) if path.exists() else Checks()
        except MalformedError as error:
            return Checks(problem=str(error))
        except IntegrityError:
            return Checks(damaged=True)

    def _compare_capsule(self, reader: BlobReader, between: Between, track: Track) -> Checks:
        assert reader.capsule is not None
        began, stat = time.monotonic(), reader.stat()
        damaged = False
        first = track.start("blocks", full_stamp(stat))
        for block in reader.capsule.directory.blocks():
            if block.number < first:
                continue
            with self._unreadable(reader, block.number):
                try:
                    reader.capsule.compare(block)
                except IntegrityError:
                    damaged = True
            track.reached(block.number + 1)
            between(block.payload_length)
        if damaged:
            self._archive.soundness.forget(reader.digest)
            return Checks(damaged=True)
        if not first:
            compared = Compared(0, began + self._archive.soundness.tuning.recheck)
            compared.set_whole()
            self._archive.soundness.note_right(reader.digest, stat, compared)
        return Checks(frame=tuple(reader.capsule.damaged_frame()))

    def _decode(self, reader: BlobReader, between: Between, track: Track) -> Checks:
        assert reader.capsule is not None
        stat, tree, first = reader.stat(), self._tree_of(reader), 0
        judge: Judge = WholeJudge(reader.digest)
        if tree is not None:
            known = self._archive.damage.of(reader.digest)
            first = track.start("tree", full_stamp(stat), known)
            judge = TreeJudge(tree, first)
        failed = self._judge(reader, first, judge, between, track)
        own = any(True for _ in reader.capsule.damaged_blocks()) if failed else False
        if failed is not None and not own and reader.capsule.directory.bases:
            return Checks()  # its base is damaged, and is checked by itself
        if failed is not None or not judge.is_right():
            if not own:
                damage = Damage(reader.digest, Form.CAPSULE, Why.ROT, BY)
                self._archive.soundness.note(damage, stat)
            self._archive.soundness.forget(reader.digest)
            return Checks(damaged=True)
        if first:
            self._archive.damage.clear(reader.digest, Form.CAPSULE)
        else:
            self._archive.soundness.note_capsule(reader.digest, stat)
        return Checks(frame=tuple(reader.capsule.damaged_frame()))

    def _judge(
        self, reader: BlobReader, first: int, judge: Judge, between: Between, track: Track
    ) -> IntegrityError | None:
        """Gives the judge what the capsule restores from piece `first` on; what failed at last."""
        capsule, buffers = reader.capsule, [bytearray(), bytearray()]
        assert capsule is not None
        begin = first * merkle.PIECE

        def decode(block: Block, turn: int) -> tuple[Block, memoryview, IntegrityError | None]:
            if len(buffers[turn]) < block.length:
                buffers[turn] = bytearray(block.length)
            plain = memoryview(buffers[turn])[: block.length]
            with self._unreadable(reader, block.number):
                try:
                    capsule.decode(block, plain)
                except IntegrityError as error:
                    return block, plain, error
            return block, plain, None

        failed: IntegrityError | None = None
        left = (b for b in capsule.directory.blocks() if b.offset + b.length > begin)
        with contextlib.closing(one_ahead(decode, left, self._ahead)) as blocks:
            for block, plain, error in blocks:
                failed = error or failed
                judge.add(plain[max(0, begin - block.offset) :])
                if failed is None:
                    if judge.spoiled:
                        break
                    track.reached(judge.done)
                between(block.payload_length)
        return failed

    @contextlib.contextmanager
    def _unreadable(self, reader: BlobReader, block: int) -> Iterator[None]:
        """Notes what the disk does not read."""
        try:
            yield
        except StorageError:
            damage = Damage(reader.digest, Form.CAPSULE, Why.UNREADABLE, BY, (block,))
            self._archive.soundness.note(damage, reader.stat())
            raise


class _Nothing:
    """In place of what the index remembers of checked files."""

    def __init__(self, archive: Archive) -> None:
        self._index = archive.index

    def checked_at(self, blob: Digest, stamp: str) -> float | None:
        del blob, stamp
        return None

    def note_sound(self, blob: Digest, stamp: str, when: float) -> None:
        """What is right is noted by the archive's own."""

    def forget_sound(self, blob: Digest) -> None:
        self._index.forget_sound(blob)

    def was_hashed(self, blob: Digest, stamp: str) -> bool:
        return self._index.was_hashed(blob, stamp)


def _drop_pages(fd: int) -> None:
    """Lets the next read come from the disk: what memory holds of the file may be right. And it
    need not hold what no other process reads.
    """
    if hasattr(os, "posix_fadvise"):
        with contextlib.suppress(OSError):
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
