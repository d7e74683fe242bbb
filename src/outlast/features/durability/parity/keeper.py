"""Sees to it that the blobs of an archive have the parity that its operator wants."""

import logging
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from outlast.codec.payload import Form
from outlast.core.errors import IntegrityError, NotArchivedError, TransientError
from outlast.features.durability.parity.files import ParityFiles
from outlast.features.durability.parity.geometry import ParityHead, Share
from outlast.features.durability.scrub.found import UNTOUCHED, DamagedPart, FoundDamage
from outlast.features.durability.scrub.items import Item
from outlast.store.archive import Archive

_log = logging.getLogger(__name__)
_OFF: Final = "it is removed: no parity is wanted"
_LATER: Final = (IntegrityError, NotArchivedError, TransientError)
"""Why parity of a file cannot be made now: it is damaged, changes, or is gone."""


@dataclass(slots=True)
class ParityAccount:
    """What was written: files, and their bytes; and how many files still lack parity."""

    files: int = 0
    size: int = 0
    lacking: int = 0


class ParityKeeper:
    """Writes parity where it is lacking, and anew where it is damaged. Not thread-safe."""

    def __init__(self, archive: Archive, share: Share | None, *, changes: bool = True) -> None:
        """`share`: how much parity is wanted; None: none, but what is there is kept and used.
        `changes`: whether anything may be written.
        """
        self.files: Final = ParityFiles(archive)
        self.account: Final = ParityAccount()
        self._archive = archive
        self._share = share
        self._changes = changes

    def check(self, item: Item, between: Callable[[int], object]) -> FoundDamage | None:
        """Compares the parity of a file, if it has any, and mends or removes what is damaged."""
        try:
            if self.files.is_sound(item.blob, item.form, between):
                return None
        except FileNotFoundError:
            return None
        path = self.files.path(item.blob, item.form)
        name, problem, why_not = self._archive.layout.name_of(path), "damaged", UNTOUCHED
        if self._changes:
            why_not = ""
            if self._share is None:
                problem = f"damaged; {_OFF}"
                self.files.remove(item.blob, item.form)
            elif not self._written(item, self._share, between):
                why_not = "the file that it is of cannot be read now"
        return FoundDamage(DamagedPart.PARITY, name, problem, mended=not why_not, why_not=why_not)

    def complete(
        self,
        items: Iterable[Item],
        between: Callable[[int], object],
        is_late: Callable[[], bool] = lambda: False,
    ) -> None:
        """Writes what parity is lacking of `items`, until it `is_late`; what is begun is finished.
        Raises :class:`DiskFullError` where the disk has no room for it.
        """
        if self._share is None:
            return
        lacking = [item for item in items if self._lacks(item, self._share)]
        self.account.lacking = len(lacking)
        for item in lacking:
            if not self._changes or is_late():
                return
            self._written(item, self._share, between)

    def sweep(self) -> None:
        """Removes parity of what is no longer stored in that form."""
        if self._changes:
            self.files.sweep()

    def _lacks(self, item: Item, share: Share) -> bool:
        """By its size, so that no file is read: parity of another share has another one."""
        if not item.size or self._archive.damage.of(item.blob):
            return False
        if item.form is not Form.PLAIN and self._archive.layout.blob(item.blob).exists():
            return False  # a crash left both forms: this one is about to go
        head = ParityHead(item.blob, item.form, item.size, share)
        try:
            return os.stat(self.files.path(item.blob, item.form)).st_size != head.file_size
        except FileNotFoundError:
            return True

    def _written(self, item: Item, share: Share, between: Callable[[int], object]) -> bool:
        try:
            size = self.files.write(item.blob, share, between)
        except _LATER as error:
            _log.info("no parity of %s now: %s", item.name, error)
            return False
        self.account.files += 1
        self.account.size += size
        self.account.lacking = max(0, self.account.lacking - 1)
        return True
