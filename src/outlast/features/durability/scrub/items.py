"""What there is to scrub: every file that holds a blob."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from outlast.codec.payload import Form
from outlast.core.digest import Digest
from outlast.store import disk
from outlast.store.layout import CAPSULE_SUFFIX, Layout


@dataclass(frozen=True, slots=True)
class Item:
    """A file: its `name` in the archive, the blob that it holds in a form (plain or capsule), its
    size in bytes, and when it came (seconds since 1970), or got its last name.
    """

    name: str
    blob: Digest
    form: Form
    size: int
    came: float


def items_of(layout: Layout) -> Iterator[Item]:
    """All files of blobs, in the order of their names."""
    for folder, suffix, form in (
        (layout.blobs, "", Form.PLAIN),
        (layout.capsules, CAPSULE_SUFFIX, Form.CAPSULE),
    ):
        for path in disk.matching(folder, "??", f"*{suffix}"):
            found = _item(layout, path, path.name.removesuffix(suffix), form)
            if found is not None:
                yield found


def _item(layout: Layout, path: Path, name: str, form: Form) -> Item | None:
    if not Digest.is_valid(name):
        return None
    with disk.reporting(path):
        try:
            stat = os.stat(path)
        except FileNotFoundError:  # collected meanwhile
            return None
    return Item(layout.name_of(path), Digest(name), form, stat.st_size, stat.st_ctime)
