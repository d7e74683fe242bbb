"""Reading and writing the small files of an archive that are sealed as a whole.

What is not derivable from anything else has a second copy, below ``second/`` and under the same
name. It is never older than the first, and never there without it.
"""

import errno
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from outlast.core.errors import DamagedRecordError
from outlast.store import disk
from outlast.store.layout import FORMAT, Layout
from outlast.store.records import sealed
from outlast.store.writer import WriteSession

LIMIT: Final = 1024 * 1024
"""Bytes of a small file, at most."""
_MODE: Final = 0o644


class Records:
    """The sealed files of an archive. Thread-safe."""

    def __init__(self, layout: Layout) -> None:
        self.layout: Final = layout
        self._strict = False

    @property
    def strict(self) -> bool:
        """Whether a file without a check is a damaged one: in archives of format 3. Once it is so
        it stays so, whatever becomes of the marker.
        """
        self._strict = self._strict or self.layout.version() >= FORMAT
        return self._strict

    def read(self, path: Path, limit: int = LIMIT) -> bytes:
        """The body of the file `path`. Raises :class:`DamagedRecordError` where it does not pass
        its check, has more than `limit` bytes, or is gone while its second copy is here, and
        FileNotFoundError where there is none.
        """
        data = disk.read_plain(path, limit + 1)
        if data is None:
            if self.layout.second_of(path).exists() and self.strict and not path.exists():
                raise self.damaged(path, "it is missing, and its second copy is here")
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
        body = sealed.unseal(self.layout.name_of(path), data) if len(data) <= limit else None
        if body is not None:
            return body
        if len(data) > limit or self.strict:
            raise self.damaged(path, "it does not pass its check")
        return data

    def read_second(self, path: Path, limit: int = LIMIT) -> bytes | None:
        """The body of the second copy of `path`, where that is intact."""
        data = disk.read_plain(self.layout.second_of(path), limit + 1)
        if data is None:
            return None
        return sealed.unseal(self.layout.name_of(path), data) if len(data) <= limit else None

    def write(self, writer: WriteSession, path: Path, body: bytes) -> None:
        """Writes a file durably with its check."""
        writer.write(path, sealed.seal(self.layout.name_of(path), body), _MODE)

    def write_twice(
        self, writer: WriteSession, path: Path, body: bytes, *, new: bool = False
    ) -> None:
        """The same with a second copy; `new`: unless the file is there already."""
        data = sealed.seal(self.layout.name_of(path), body)
        writer.write_twice(path, data, _MODE, new=new)

    def write_all_twice(self, writer: WriteSession, bodies: Mapping[Path, bytes]) -> None:
        """Many files with a second copy each."""
        names = {path: self.layout.name_of(path) for path in bodies}
        files = {path: sealed.seal(names[path], body) for path, body in bodies.items()}
        writer.write_all_twice(files, _MODE)

    def publish_twice(self, writer: WriteSession, path: Path, body: bytes) -> None:
        """Like `write_twice`, with the archive's lock held exclusively already."""
        data = sealed.seal(self.layout.name_of(path), body)
        writer.publish_twice((writer.stage(data, _MODE), writer.stage(data, _MODE)), path)

    def delete(self, path: Path) -> bool:
        """Deletes a file and its second copy; False where there was neither."""
        second = self.layout.second_of(path)
        with disk.reporting(path):
            had = disk.remove_durably(second)  # first: it would bring the other one back
            disk.remove_empty_parents(second, self.layout.second)
            return disk.remove_durably(path) or had

    def names(self, folder: Path) -> list[str]:
        """The names of files in `folder` that are there in either copy, sorted."""
        return sorted({*_files(folder), *_files(self.layout.second_of(folder))})

    def damaged(self, path: Path, why: str) -> DamagedRecordError:
        """The error of a damaged file."""
        return DamagedRecordError(f"the file {self.layout.name_of(path)!r} is damaged: {why}")


def _files(folder: Path) -> Iterator[str]:
    try:
        entries = list(os.scandir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return
    yield from (entry.name for entry in entries if entry.is_file())
