"""What the operator shares by name: .torrent files of revisions, below ``shared/``.

That one is there is the operator's word that running nodes seed it.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from outlast.store import disk
from outlast.store.records.records import Records
from outlast.store.writer import WriteSession

_SUFFIX: Final = ".torrent"
_MOST: Final = 256 * 1024 * 1024
_HEX: Final = frozenset("0123456789abcdef")


class Shares:
    """The registered torrents of an archive, by infohash in hex: 64 digits of version 2, else 40 of
    version 1.
    """

    def __init__(self, records: Records) -> None:
        self._records = records
        self._folder = records.layout.shared

    @disk.reported
    def put(self, writer: WriteSession, infohash: str, torrent: bytes) -> None:
        self._records.write(writer, self.path(infohash), torrent)

    @disk.reported
    def get(self, infohash: str) -> bytes | None:
        """A .torrent file, as it was put; it is not believed. Raises
        :class:`DamagedRecordError`.
        """
        try:
            return self._records.read(self.path(infohash), _MOST)
        except FileNotFoundError:
            return None

    @disk.reported
    def delete(self, infohash: str) -> bool:
        """False where there was none."""
        return disk.remove(self.path(infohash))

    @disk.reported
    def stamps(self) -> dict[str, tuple[int, int]]:
        """All that are there, with what changes whenever one is written anew; reads none."""
        return dict(sorted(self._found()))

    def _found(self) -> Iterator[tuple[str, tuple[int, int]]]:
        if not self._folder.is_dir():
            return
        for path in self._folder.iterdir():
            name = path.name.removesuffix(_SUFFIX)
            if path.name != name and len(name) in {40, 64} and set(name) <= _HEX:
                with contextlib.suppress(FileNotFoundError):  # no longer shared
                    stat = path.stat()
                    yield name, (stat.st_ino, stat.st_mtime_ns)

    def path(self, infohash: str) -> Path:
        """The file of a registered torrent."""
        return self._folder / f"{infohash}{_SUFFIX}"
