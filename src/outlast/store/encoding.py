"""Writing the capsule of a blob into an archive, while the blob's bytes arrive or afterwards."""

import contextlib
import os
from collections.abc import Sequence
from concurrent.futures import Executor

from outlast.codec.hashing import TreeHasher
from outlast.codec.merkle import Tree
from outlast.codec.writer import Base, CapsuleWriter, Readable
from outlast.core.closing import Closing
from outlast.core.digest import Digest
from outlast.store import disk
from outlast.store.writer import WriteSession

_SYNC_EVERY = 256 << 20


class Encoding(Closing):
    """A capsule in a temp file. A context manager: what was not published is deleted on the way
    out.

    `blob` gives verified bytes, or bytes that are verified before `publish` is called. The caller
    has leased the `bases`.
    """

    def __init__(
        self,
        writer: WriteSession,
        blob: Readable,
        *,
        bases: Sequence[Base] = (),
        executor: Executor | None = None,
    ) -> None:
        self._writer = writer
        self._blob = blob
        self._synced = 0
        self._hasher = TreeHasher(executor)
        self._tree: Tree | None = None
        self.path = writer.temp()
        with disk.reporting(self.path):
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            self._fd = os.open(self.path, flags, disk.PRIVATE)
        try:
            self._capsule = CapsuleWriter(blob, self._write, bases=bases, executor=executor)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        with contextlib.suppress(OSError):
            disk.remove(self.path)

    @property
    def written(self) -> int:
        """Bytes of the capsule so far."""
        return self._capsule.written

    @property
    def tree(self) -> Tree | None:
        """That of the capsule's bytes, once it is finished."""
        return self._tree

    def advance(self, frontier: int) -> None:
        """Encodes what can be, now that the first `frontier` bytes of the blob are there."""
        self._capsule.advance(frontier)

    def finish(self, digest: Digest) -> None:
        """Writes the end, once the whole blob is there. On return the file is on the disk, not yet
        under its name.
        """
        self._capsule.finish(digest)
        self._tree = self._hasher.tree()
        with disk.reporting(self.path):
            disk.set_mode(self._fd, disk.READ_ONLY)
            disk.fsync(self._fd)

    def publish(self, digest: Digest) -> bool:
        """Acknowledges the blob; False where it was here already. Raises as `publish_capsule`."""
        return self._writer.publish_capsule(self.path, digest, self._blob.size, self._tree)

    def _write(self, data: memoryview | bytes) -> None:
        with disk.reporting(self.path):
            disk.append_long(self._fd, data)
            self._hasher.update(data)
            self._synced += len(data)
            if self._synced >= _SYNC_EVERY:
                self._synced = 0
                disk.fsync(self._fd)  # the disk works while we encode
