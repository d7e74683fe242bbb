"""What a record that cannot be read protects: every blob that was here when it was noticed.

Which blobs such a record named is not known. Their times do not tell either: `pack` and `unpack`
write new files, copies of an archive get new times, and clocks jump. So the collection that
first finds such a record notes the names of all blobs that are here; later ones cannot be the
record's. The note counts as long as the record cannot be read. It carries a checksum and
the size and time of the record: where one of them differs, what is here then is added.
"""

import contextlib
import hashlib
import os
from collections.abc import Callable, Collection
from typing import Final

from outlast.core.errors import StorageError
from outlast.store import disk
from outlast.store.garbage.evidence import Unreadable
from outlast.store.garbage.tuning import LONGEST_NOTE
from outlast.store.layout import Layout

_TYPE: Final = "outlast-unreadable-v1"
_SUM: Final = "sha256 "
_SUFFIX: Final = ".txt"


class Census:
    """The notes of an archive. Use it with the archive's lock held exclusively."""

    def __init__(self, layout: Layout, here: Callable[[], Collection[str]], *, dry: bool) -> None:
        """`here` gives the sha256 in hex of all blobs; `dry`: nothing is written."""
        self._layout = layout
        self._here = here
        self._dry = dry
        self._seen: set[str] = set()

    def protected(self, record: Unreadable) -> frozenset[str]:
        """The blobs that may not go because of this record."""
        name = hashlib.sha256(os.fsencode(record.path)).hexdigest() + _SUFFIX
        self._seen.add(name)
        stamp = self._stamp(record)
        noted = self._noted(name, record.path)
        if noted is not None and noted[0] == stamp:
            return noted[1] | record.names
        names = frozenset(self._here()) | record.names | (noted[1] if noted else frozenset())
        if not self._dry:
            self._write(name, record.path, stamp, names)
        return names

    def tidy(self) -> None:
        """Deletes the notes of records that :meth:`protected` was not asked for."""
        if not self._dry:
            for name in disk.listed(self._layout.unreadable):
                if name.endswith(_SUFFIX) and name not in self._seen:
                    disk.remove(self._layout.unreadable / name)

    def _stamp(self, record: Unreadable) -> str:
        """Changes when something is appended to a damaged draft."""
        stat = os.stat(self._layout.home / record.path)
        return f"{stat.st_size}:{stat.st_mtime_ns}"

    def _noted(self, name: str, path: str) -> tuple[str, frozenset[str]] | None:
        """The stamp and the names of a note; None where there is none that can be believed."""
        place = self._layout.unreadable / name
        with disk.reporting(place):
            try:
                with open(place, "rb") as file:
                    data = file.read(LONGEST_NOTE + 1)
            except FileNotFoundError:
                return None
        body, _, last = data.removesuffix(b"\n").rpartition(b"\n")
        if len(data) > LONGEST_NOTE or last != _sum(body + b"\n"):
            return None
        kind, stamp, noted, *names = body.decode(errors="replace").split("\n")
        if kind != _TYPE or noted != _quoted(path):
            return None
        return stamp, frozenset(names)

    def _write(self, name: str, path: str, stamp: str, names: Collection[str]) -> None:
        """Where it cannot be written, as on a full disk, the next collection begins anew: what is
        here then is more than what is here now, but for what this one deletes, and that is none
        of `names`.
        """
        body = "\n".join([_TYPE, stamp, _quoted(path), *sorted(names)]).encode() + b"\n"
        place = self._layout.unreadable / name
        temp = place.with_suffix(".tmp")
        with contextlib.suppress(StorageError), disk.reporting(place):
            disk.make_dir(place.parent)
            disk.remove(temp)
            disk.write_temp(temp, body + _sum(body) + b"\n", disk.READ_ONLY)
            disk.publish(temp, place)


def _sum(body: bytes) -> bytes:
    return f"{_SUM}{hashlib.sha256(body).hexdigest()}".encode()


def _quoted(path: str) -> str:
    return ascii(path)
