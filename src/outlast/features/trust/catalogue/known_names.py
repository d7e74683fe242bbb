"""The names that an archive knows beside its own: those that followed catalogues list, and the
publishers whose keys are pinned. They are compared with new names; nothing is trusted for them, so
the lists are not verified for it.
"""

import os
from collections.abc import Iterator

from outlast.core.names import KnownName
from outlast.features.trust.catalogue.folders import followed_folder, followed_names
from outlast.features.trust.catalogue.index import INDEX_FILE, read_index
from outlast.features.trust.keys.pins import EVERYTHING, PinRole, Pins
from outlast.store.archive import Archive


class TrustedNames:
    """Implements :class:`outlast.core.names.KnownNames`."""

    def __init__(self, archive: Archive) -> None:
        self._home = archive.layout.home
        self._pins = Pins(archive)

    def stamp(self) -> object:
        return self._pins.stamp, tuple(map(self._stamp_of, followed_names(self._home)))

    def names(self) -> Iterator[KnownName]:
        for pin in self._pins.all():
            if pin.role is PinRole.PUBLISHER and pin.namespace != EVERYTHING:
                yield KnownName(pin.namespace, "a publisher whose key is pinned", trusted=True)
        for catalogue in followed_names(self._home):
            found = read_index(followed_folder(self._home, catalogue))
            paths = (path for one in found.lists.values() for path in one.paths)
            # Without the revision: what it may consist of was checked when the index was made.
            for name in dict.fromkeys(path.rpartition("/")[0] for path in paths):
                yield KnownName(name, f"listed by {catalogue}")

    def _stamp_of(self, catalogue: str) -> tuple[str, int, int]:
        try:
            stat = os.stat(followed_folder(self._home, catalogue) / INDEX_FILE)
        except FileNotFoundError:
            return catalogue, 0, 0
        return catalogue, stat.st_mtime_ns, stat.st_ino
