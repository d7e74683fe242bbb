"""Part files on a medium: written once, in order, and taken up again after a crash only if every
block of them is what its sum says.
"""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from outlast.codec.bundle.documents import PartSum
from outlast.codec.bundle.geometry import HEADER_BYTES
from outlast.codec.bundle.part import BlockSums, PartHeader
from outlast.core.closing import Closing
from outlast.core.digest import Digest
from outlast.features.bundle.buffers import Lent
from outlast.features.bundle.ordered import InOrder
from outlast.store import disk
from outlast.store.write_behind import WriteBehind

UNFINISHED: Final = ".unfinished"
"""Ends the names of files that are being written."""


class PartFile(Closing):
    """One part that is being written below `folder`. `finish` gives it its name; without that,
    closing it deletes it.
    """

    def __init__(self, folder: Path, head: PartHeader) -> None:
        self._path = folder / head.geometry.name(head.part)
        self._head = head
        self._sums = BlockSums(head.bundle, head.part)
        self._temp = self._path.with_name(self._path.name + UNFINISHED)
        self._row = 0
        self._hash = hashlib.sha256()
        with disk.reporting(self._path):
            disk.make_dir(self._path.parent)
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
            self._fd = os.open(self._temp, flags, 0o644)
        self._file = WriteBehind(self._fd)
        self._hashing = InOrder[Lent](self._update, "part", after=Lent.done)
        self._write(Lent(memoryview(self._head.pack())))

    def add(self, block: Lent) -> bytes:
        """Appends the next block, which is hashed in the background. Returns its sum."""
        found = self._sums.of(self._row, block.data)
        self._row += 1
        self._write(block)
        self._write(Lent(memoryview(found)))
        return found

    def finish(self) -> PartSum:
        """Writes the end, waits for the medium, and gives the file its name."""
        self._write(Lent(memoryview(self._head.pack())))
        with disk.reporting(self._path):
            self._file.sync()
        self._hashing.close()
        with disk.reporting(self._path):
            self._file.close()
            size = os.fstat(self._fd).st_size
            os.close(self._fd)
            self._fd = -1
            disk.publish(self._temp, self._path)
        return PartSum(self._head.part, size, Digest(self._hash.hexdigest()))

    def _write(self, block: Lent) -> None:
        self._hashing.put(block.keep())
        with disk.reporting(self._path):
            self._file.append(block.data)

    def _update(self, block: Lent) -> None:
        self._hash.update(block.data)

    def close(self) -> None:
        self._hashing.abandon()
        self._file.close()
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
            disk.remove(self._temp)


class WrittenPart:
    """A part that an earlier run left on a medium. Reading all of `blocks` proves it; then `sum`
    has its size and sha256.
    """

    def __init__(self, folder: Path, head: PartHeader) -> None:
        self._path = folder / head.geometry.name(head.part)
        self._head = head
        self.sum: PartSum | None = None

    def blocks(self) -> Iterator[tuple[Lent, bytes]]:
        """Its blocks with their sums, as long as they are right."""
        cut, part = self._head.geometry, self._head.part
        size, head = cut.part_size(part), self._head.pack()
        sums, hasher = BlockSums(self._head.bundle, part), hashlib.sha256()
        frame = memoryview(bytearray(cut.frame_at(1) - cut.frame_at(0)))
        try:
            file = self._path.open("rb")
        except FileNotFoundError:
            return
        with disk.reporting(self._path), file:
            if os.fstat(file.fileno()).st_size != size or file.read(HEADER_BYTES) != head:
                return
            hasher.update(head)
            for row in range(cut.rows_of(part)):
                if file.readinto(frame) != len(frame) or not sums.holds(row, frame):
                    return
                hasher.update(frame)
                block = memoryview(bytes(frame[: cut.layout.block]))
                yield Lent(block), bytes(frame[cut.layout.block :])
            if file.read(HEADER_BYTES) != head:
                return
            hasher.update(head)
        self.sum = PartSum(part, size, Digest(hasher.hexdigest()))

    def remove(self) -> None:
        with disk.reporting(self._path):
            disk.remove(self._path)
